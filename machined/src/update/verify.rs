//! Reading a slot back, past every cache of this machine: what lies there is what the manifest says, or the slot is
//! not put on trial.

use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use update::{Manifest, Target as Release};
use verity::{BLOCK_BYTES, Hash, HashTree, LeavesError};

use super::{
    device::{Target, bytes, leaves, pieces},
    fetch::{Meter, Partitions},
};

/// Why a slot does not hold its release.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read back.
    #[error("cannot read {partition} of the slot back")]
    Read {
        /// Which.
        partition: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The UKI is another one.
    #[error("the slot does not hold the UKI that was written")]
    Uki,
    /// The root is another one.
    #[error("the slot does not hold the root that was written")]
    Root,
    /// The hash tree behind the root is another one.
    #[error("the slot does not hold the hash tree that was written")]
    Tree,
    /// What was read back has no tree.
    #[error("the root in the slot has no hash tree")]
    Leaves(#[source] LeavesError),
}

/// Reads everything back. Of a release that nobody has a manifest of any more, the UKI alone is known.
pub async fn verify(
    release: &Release,
    partitions: &Partitions<Target>,
    meter: &Meter,
) -> Result<(), VerifyError> {
    let root_blocks = release.manifest.as_ref().map_or(0, |manifest| manifest.root.data_blocks);
    meter.begin_reading(release.uki_bytes.div_ceil(BLOCK_BYTES as u64).saturating_add(root_blocks));
    verify_uki(release, &partitions.boot, meter).await?;
    match &release.manifest {
        Some(manifest) => verify_root(manifest, &partitions.root, meter).await,
        None => Ok(()),
    }
}

async fn verify_uki(release: &Release, boot: &Target, meter: &Meter) -> Result<(), VerifyError> {
    let mut digest = Context::new(&SHA256);
    let blocks = release.uki_bytes.div_ceil(BLOCK_BYTES as u64);
    let mut left = usize::try_from(release.uki_bytes).unwrap_or(usize::MAX);
    for (begin, blocks) in pieces(0, blocks) {
        let part = left.min(bytes(blocks));
        left -= part;
        let mut so_far = digest;
        let read = boot.read(begin, blocks, move |data| {
            so_far.update(data.get(..part).unwrap_or_default());
            so_far
        });
        digest =
            read.await.map_err(|source| VerifyError::Read { partition: "the boot partition", source })?;
        meter.read_back(blocks);
    }
    if digest.finish().as_ref() == release.uki_sha256 { Ok(()) } else { Err(VerifyError::Uki) }
}

async fn verify_root(manifest: &Manifest, root: &Target, meter: &Meter) -> Result<(), VerifyError> {
    let failed = |source| VerifyError::Read { partition: "the root partition", source };
    let image = &manifest.root;
    let mut file = Vec::new();
    for (begin, blocks) in pieces(0, image.data_blocks) {
        let salt = image.salt;
        let hashes = root.read(begin, blocks, move |data| leaves(&salt, &data).collect::<Vec<Hash>>());
        file.extend_from_slice(hashes.await.map_err(failed)?.as_flattened());
        meter.read_back(blocks);
    }
    file.resize(file.len().next_multiple_of(BLOCK_BYTES), 0);
    let tree = HashTree::from_leaves(&file, image.data_blocks, &image.salt).map_err(VerifyError::Leaves)?;
    drop(file);
    if tree.root != image.root_hash {
        return Err(VerifyError::Root);
    }
    for (begin, blocks) in pieces(0, (tree.blocks.len() / BLOCK_BYTES) as u64) {
        let expected = tree.blocks.get(bytes(begin)..bytes(begin + blocks)).unwrap_or_default();
        let found = root.read(image.data_blocks + begin, blocks, |data| data).await.map_err(failed)?;
        if *found != *expected {
            return Err(VerifyError::Tree);
        }
    }
    Ok(())
}

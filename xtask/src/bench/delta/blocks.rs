//! What our own method fetches, by the same plan that nodes make.

use std::{
    fs::{self, File},
    io::{BufReader, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use image::erofs::SALT;
use update::Index;
use verity::{BLOCK_BYTES, Hash};

/// What is fetched of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Blocks that are not there yet.
    pub blocks_bytes: u64,
    /// Requests for them.
    pub ranges: u64,
    /// The leaves by which they are known.
    pub leaves_bytes: u64,
}

/// What is fetched of `new` where `old` is, of both their first blocks only.
pub fn fetched(old: &Path, old_blocks: u64, new: &Path, new_blocks: u64) -> Result<Fetched> {
    let (old, new) = (leaves(old, old_blocks)?, leaves(new, new_blocks)?);
    let zero = verity::leaf(&SALT, &[0; BLOCK_BYTES]);
    let plan = update::plan(&new, &|_| false, &Index::new(&old), &zero);
    let blocks: u64 = plan.fetches.iter().map(|range| range.blocks).sum();
    Ok(Fetched {
        blocks_bytes: blocks * BLOCK_BYTES as u64,
        ranges: plan.fetches.len() as u64,
        leaves_bytes: verity::leaves_bytes(new_blocks),
    })
}

/// Blocks of a file, the last one padded with zeros.
pub fn count(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path)?.len().div_ceil(BLOCK_BYTES as u64))
}

fn leaves(path: &Path, blocks: u64) -> Result<Vec<Hash>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut leaves = Vec::new();
    for _ in 0..blocks {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        reader.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        block.resize(BLOCK_BYTES, 0);
        leaves.push(verity::leaf(&SALT, &block.try_into().unwrap_or([0; BLOCK_BYTES])));
    }
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_that_are_nowhere_are_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let image = |name: &str, blocks: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, blocks.iter().flat_map(|byte| [*byte; BLOCK_BYTES]).collect::<Vec<_>>())
                .unwrap();
            path
        };
        // The first has moved, the zeros cost nothing, 7 and 8 are new and lie apart.
        let (old, new) = (image("old", &[1, 2, 3]), image("new", &[7, 1, 0, 8, 3]));
        let expected =
            Fetched { blocks_bytes: 2 * BLOCK_BYTES as u64, ranges: 2, leaves_bytes: BLOCK_BYTES as u64 };
        assert_eq!(fetched(&old, 3, &new, 5).unwrap(), expected);
        fs::write(&old, [1; BLOCK_BYTES + 1]).unwrap();
        assert_eq!(count(&old).unwrap(), 2);
    }
}

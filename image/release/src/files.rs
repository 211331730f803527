//! The files of one release.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::digest;
use bootstate::ReleaseVersion;
use image::erofs::RootImage;
use update::{Image, KubernetesVersion, MANIFEST_FORMAT, Manifest, UkiImage, Ukis};
use verity::{BLOCK_BYTES, HashTree};

/// The manifest's name in a release's folder; all other names stand in it.
pub const MANIFEST: &str = "manifest.json";
const ARCHITECTURE: &str = "x86_64";
const SBOM: &str = "sbom.spdx.json";

/// What a release is made of.
#[derive(Clone, Debug)]
pub struct Release<'a> {
    /// Its version.
    pub version: ReleaseVersion,
    /// Kubernetes inside.
    pub kubernetes: KubernetesVersion,
    /// Kernel inside.
    pub kernel: &'a str,
    /// When its sources were written, in seconds since 1970.
    pub created_s: u64,
    /// Earliest time that its nodes believe, in seconds since 1970.
    pub time_floor_s: u64,
    /// Releases below are refused once this one is confirmed; unknown for none.
    pub rollback_floor: ReleaseVersion,
    /// Root file system with its hash tree.
    pub root: &'a Path,
    /// What the kernel is told about it.
    pub facts: &'a RootImage,
    /// Slot A's UKI.
    pub a: &'a Path,
    /// Slot B's UKI.
    pub b: &'a Path,
    /// Bill of materials, SPDX in JSON.
    pub sbom: &'a [u8],
}

impl Release<'_> {
    /// Writes the release's files into a folder that is there and empty.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let root = self.write_root(folder)?;
        let ukis = Ukis { a: self.write_uki(folder, "a", self.a)?, b: self.write_uki(folder, "b", self.b)? };
        fs::write(folder.join(SBOM), self.sbom)?;
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            version: self.version,
            kubernetes: self.kubernetes,
            kernel: self.kernel.to_owned(),
            architecture: ARCHITECTURE.into(),
            created_s: self.created_s,
            time_floor_s: self.time_floor_s,
            rollback_floor: self.rollback_floor,
            root,
            ukis,
            sbom: update::File {
                path: SBOM.into(),
                length_bytes: self.sbom.len() as u64,
                sha256: sha256(self.sbom),
            },
        };
        let text = serde_json::to_vec_pretty(&manifest)?;
        ensure!(Manifest::parse(&text)? == manifest, "the manifest does not read as it was written");
        Ok(fs::write(folder.join(MANIFEST), text)?)
    }

    fn write_root(&self, folder: &Path) -> Result<Image> {
        let (path, leaves) = ("root.img".to_owned(), "root.leaves".to_owned());
        fs::copy(self.root, folder.join(&path))
            .with_context(|| format!("cannot copy {}", self.root.display()))?;
        let data_blocks = self.facts.data_blocks;
        let tree = tree_of(File::open(folder.join(&path))?, data_blocks)?;
        fs::write(folder.join(&leaves), tree.leaves_file())?;
        ensure!(
            hex::encode(tree.root) == self.facts.root_hash,
            "{} is not what its facts say",
            self.root.display()
        );
        Ok(Image { path, leaves, data_blocks, salt: image::erofs::SALT, root_hash: tree.root })
    }

    fn write_uki(&self, folder: &Path, name: &str, uki: &Path) -> Result<UkiImage> {
        let (path, leaves) = (format!("{name}.efi"), format!("{name}.leaves"));
        let mut content = fs::read(uki).with_context(|| format!("cannot read {}", uki.display()))?;
        let (length_bytes, sha256) = (content.len() as u64, sha256(&content));
        content.resize(content.len().next_multiple_of(BLOCK_BYTES), 0);
        let data_blocks = (content.len() / BLOCK_BYTES) as u64;
        let tree = tree_of(content.as_slice(), data_blocks)?;
        fs::write(folder.join(&path), content)?;
        fs::write(folder.join(&leaves), tree.leaves_file())?;
        let image = Image { path, leaves, data_blocks, salt: image::erofs::SALT, root_hash: tree.root };
        Ok(UkiImage { image, length_bytes, sha256 })
    }
}

/// Checks that every file of a release is what its manifest says.
pub(crate) fn check(folder: &Path, manifest: &Manifest) -> Result<()> {
    let root = &manifest.root;
    let with_tree = (root.data_blocks + verity::tree_blocks(root.data_blocks)) * BLOCK_BYTES as u64;
    check_image(folder, root, with_tree)?;
    for uki in [&manifest.ukis.a, &manifest.ukis.b] {
        check_image(folder, &uki.image, uki.image.data_bytes())?;
        let mut content = fs::read(folder.join(&uki.image.path))?;
        content.truncate(usize::try_from(uki.length_bytes)?);
        ensure!(sha256(&content) == uki.sha256, "{} has another digest", uki.image.path);
    }
    let sbom = fs::read(folder.join(&manifest.sbom.path))?;
    ensure!(
        sbom.len() as u64 == manifest.sbom.length_bytes && sha256(&sbom) == manifest.sbom.sha256,
        "{} has another length or digest",
        manifest.sbom.path
    );
    Ok(())
}

fn check_image(folder: &Path, image: &Image, length_bytes: u64) -> Result<()> {
    let path = folder.join(&image.path);
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(file.metadata()?.len() == length_bytes, "{} has another length", path.display());
    let leaves = fs::read(folder.join(&image.leaves))?;
    let tree = HashTree::from_leaves(&leaves, image.data_blocks, &image.salt)?;
    if tree.root != image.root_hash {
        bail!("{} does not lead to the root hash", image.leaves);
    }
    ensure!(tree_of(file, image.data_blocks)? == tree, "{} differs from its leaves", path.display());
    Ok(())
}

fn tree_of(data: impl io::Read, blocks: u64) -> Result<HashTree> {
    let mut reader = io::BufReader::with_capacity(1 << 20, data);
    let blocks = (0..blocks).map(|_| {
        let mut block = [0; BLOCK_BYTES];
        reader.read_exact(&mut block).map(|()| block)
    });
    Ok(HashTree::build(blocks, &image::erofs::SALT)?)
}

fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    hash
}

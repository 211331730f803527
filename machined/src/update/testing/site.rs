//! A release repository in a folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bootstate::ReleaseVersion;
use image::erofs::{RootImage, SALT};
use jiff::{SignedDuration, Timestamp};
use release::{
    channels::Changes,
    files::Release,
    keys::Keys,
    repository::{Validity, publish},
};
use tempfile::TempDir;
use update::{ChannelRelease, KubernetesVersion, Manifest};
use verity::{BLOCK_BYTES, HashTree};

pub const CHANNEL: &str = "stable-k1.37";
/// What timestamps are good for.
pub const VALIDITY: SignedDuration = SignedDuration::from_hours(24);

/// The time at which everything is signed.
pub fn now() -> Timestamp {
    "2026-12-01T00:00:00Z".parse().unwrap()
}

/// That time in seconds since 1970.
pub fn now_s() -> u64 {
    now().as_second().try_into().unwrap()
}

/// A folder with keys, images and a repository.
pub struct Site {
    pub folder: TempDir,
    pub keys: Keys,
}

impl Site {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::make(&folder.path().join("keys"), a_year_on()).unwrap();
        Self { folder, keys }
    }

    /// The repository's folder.
    pub fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// What an image of now trusts.
    pub fn anchor(&self) -> Vec<u8> {
        self.keys.anchor().unwrap().as_bytes().to_vec()
    }

    /// Adds a release with these blocks as its root; its UKIs have three blocks that are its own.
    pub fn publish(&self, version: &str, root: &[u8]) {
        self.publish_at(version, root, "1.37.2", now());
    }

    /// As that, with another Kubernetes and at another time.
    pub fn publish_at(&self, version: &str, root: &[u8], kubernetes: &str, at: Timestamp) {
        let (path, facts) = sealed(self.folder.path(), root);
        let [a, b] = ["a", "b"].map(|slot| {
            let path = self.folder.path().join(slot);
            fs::write(&path, uki(version, slot)).unwrap();
            path
        });
        let version = ReleaseVersion::new(version).unwrap();
        let release = Release {
            version,
            kubernetes: KubernetesVersion::new(kubernetes).unwrap(),
            kernel: "6.18.1",
            created_s: 1_800_000_000,
            time_floor_s: 1_790_000_000,
            rollback_floor: ReleaseVersion::UNKNOWN,
            root: &path,
            facts: &facts,
            a: &a,
            b: &b,
            sbom: b"{}",
        };
        let entry = ChannelRelease { version, begin_s: 0, spread_s: 0, paused: false, poisoned: false };
        let scheduled = vec![(CHANNEL.to_owned(), entry)];
        self.sign(&[release], &Changes { scheduled, poisoned: Vec::new() }, at);
    }

    /// Signs everything anew.
    pub fn sign_again(&self, at: Timestamp) {
        self.sign(&[], &Changes::default(), at);
    }

    fn sign(&self, releases: &[Release<'_>], changes: &Changes, at: Timestamp) {
        let validity = Validity {
            timestamp: VALIDITY,
            snapshot: SignedDuration::from_hours(48),
            targets: SignedDuration::from_hours(72),
        };
        let (repository, keys) = (self.repository(), self.keys.clone());
        std::thread::scope(|scope| {
            // It brings a runtime of its own.
            let publish = || publish(&repository, &keys, releases, changes, validity, at).unwrap();
            scope.spawn(publish).join().unwrap();
        });
    }

    /// Replaces all keys.
    pub fn rotate_keys(&mut self, name: &str) {
        self.keys = self.keys.replace(&self.folder.path().join(name), a_year_on()).unwrap();
    }

    /// Keeps the repository as it is now; gives the copy's folder.
    pub fn photograph(&self, name: &str) -> PathBuf {
        let copy = self.folder.path().join(name);
        copy_tree(&self.repository(), &copy);
        copy
    }

    /// The manifest of a release.
    pub fn manifest(&self, version: &str) -> Manifest {
        let path = self.repository().join("targets/releases").join(version).join("manifest.json");
        Manifest::parse(&fs::read(path).unwrap()).unwrap()
    }

    /// A file of a release.
    pub fn file(&self, version: &str, name: &str) -> Vec<u8> {
        fs::read(self.repository().join("targets/releases").join(version).join(name)).unwrap()
    }
}

/// A UKI of a release and a slot, not of whole blocks.
pub fn uki(version: &str, slot: &str) -> Vec<u8> {
    let mut uki = blocks(&[version, slot]);
    uki.resize(2 * BLOCK_BYTES + 100, 0xee);
    uki
}

/// One block for each text, different for different ones; zeros for an empty one.
pub fn blocks(texts: &[impl AsRef<str>]) -> Vec<u8> {
    let block = |text: &str| {
        let mut block = text.as_bytes().repeat(BLOCK_BYTES / text.len().max(1) + 1);
        block.resize(BLOCK_BYTES, 0);
        block
    };
    texts.iter().flat_map(|text| block(text.as_ref())).collect()
}

/// The root with its hash tree, in a file.
fn sealed(folder: &Path, root: &[u8]) -> (PathBuf, RootImage) {
    let tree = tree(root);
    let path = folder.join("root");
    fs::write(&path, [root, &tree.blocks].concat()).unwrap();
    let facts = RootImage {
        root_hash: hex::encode(tree.root),
        salt: hex::encode(SALT),
        data_blocks: tree.data_blocks,
        hash_start_block: tree.data_blocks,
        size_bytes: (root.len() + tree.blocks.len()) as u64,
    };
    (path, facts)
}

/// The hash tree over whole blocks.
pub fn tree(data: &[u8]) -> HashTree {
    let blocks = data.chunks(BLOCK_BYTES).map(Ok::<_, std::convert::Infallible>);
    HashTree::build(blocks, &SALT).unwrap()
}

fn a_year_on() -> Timestamp {
    now() + SignedDuration::from_hours(24 * 365)
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

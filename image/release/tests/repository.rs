//! Repositories as nodes and their admins meet them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bootstate::ReleaseVersion;
use image::erofs::{RootImage, SALT};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use release::{
    channels::Changes,
    files::Release,
    keys::Keys,
    repository::{Contents, Validity, publish, verify},
};
use tempfile::TempDir;
use update::{ChannelRelease, KubernetesVersion};
use verity::{BLOCK_BYTES, HashTree};

const CHANNEL: &str = "stable-k1.37";
const VALIDITY: Validity = Validity {
    timestamp: SignedDuration::from_hours(24),
    snapshot: SignedDuration::from_hours(48),
    targets: SignedDuration::from_hours(72),
};

fn now() -> Timestamp {
    "2026-12-01T00:00:00Z".parse().unwrap()
}

/// A folder with keys, images and a repository.
struct Site {
    folder: TempDir,
    keys: Keys,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let expires = now() + SignedDuration::from_hours(24 * 365);
        let keys = Keys::make(&folder.path().join("keys"), expires).unwrap();
        Self { folder, keys }
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn publish(&self, version: &str, content: u8, changes: &Changes) -> anyhow::Result<()> {
        let (root, facts) = root(self.folder.path(), content);
        let (a, b) = (self.folder.path().join("a"), self.folder.path().join("b"));
        fs::write(&a, vec![content; 5000]).unwrap();
        fs::write(&b, vec![content; 4096]).unwrap();
        let release = Release {
            version: ReleaseVersion::new(version).unwrap(),
            kubernetes: KubernetesVersion::new("1.37.2").unwrap(),
            kernel: "6.12.1",
            created_s: 1_800_000_000,
            time_floor_s: 1_790_000_000,
            rollback_floor: ReleaseVersion::UNKNOWN,
            root: &root,
            facts: &facts,
            a: &a,
            b: &b,
            sbom: b"{}",
        };
        publish(&self.repository(), &self.keys, &[release], changes, VALIDITY, now())
    }

    fn verify(&self) -> anyhow::Result<Contents> {
        verify(&self.repository(), self.keys.anchor()?.as_bytes(), now())
    }
}

/// 200 blocks with their tree behind them.
fn root(folder: &Path, content: u8) -> (PathBuf, RootImage) {
    let mut data: Vec<u8> = (0..200_u8).flat_map(|block| [content ^ block; BLOCK_BYTES]).collect();
    let tree = HashTree::build(data.chunks(BLOCK_BYTES).map(Ok::<_, std::io::Error>), &SALT).unwrap();
    data.extend(&tree.blocks);
    let path = folder.join("root");
    fs::write(&path, &data).unwrap();
    let facts = RootImage {
        root_hash: hex::encode(tree.root),
        salt: hex::encode(SALT),
        data_blocks: 200,
        hash_start_block: 200,
        size_bytes: data.len() as u64,
    };
    (path, facts)
}

fn scheduled(version: &str) -> Changes {
    let version = ReleaseVersion::new(version).unwrap();
    let release = ChannelRelease { version, begin_s: 7, spread_s: 9, paused: false, poisoned: false };
    Changes { scheduled: vec![(CHANNEL.to_owned(), release)], poisoned: Vec::new() }
}

fn versions(contents: &Contents) -> Vec<&str> {
    contents.releases.iter().map(|manifest| manifest.version.as_str()).collect()
}

#[test]
fn releases_and_channels_add_up() {
    let site = Site::new();
    site.publish("0.10.0", 1, &scheduled("0.10.0")).unwrap();
    site.publish("0.9.0", 2, &Changes::default()).unwrap();
    let contents = site.verify().unwrap();
    assert_eq!(versions(&contents), ["0.9.0", "0.10.0"]);
    assert_eq!(contents.channels[0].releases.len(), 1);
    assert_eq!(contents.expires, now() + VALIDITY.timestamp);
    let manifest = &contents.releases[0];
    assert_eq!((manifest.root.data_blocks, manifest.ukis.a.image.data_blocks), (200, 2));
    assert_eq!(manifest.ukis.a.length_bytes, 5000);
    let left: Vec<_> = fs::read_dir(site.repository().join("metadata")).unwrap().flatten().collect();
    assert_eq!(left.len(), 5, "four files of metadata and the lock, but {left:?}");
}

#[test]
fn a_release_never_changes() {
    let site = Site::new();
    site.publish("0.9.0", 1, &Changes::default()).unwrap();
    site.publish("0.9.0", 1, &scheduled("0.9.0")).unwrap();
    let before = site.verify().unwrap();
    let error = site.publish("0.9.0", 2, &Changes::default()).unwrap_err();
    assert!(error.to_string().contains("never changes"), "{error:#}");
    assert_eq!(site.verify().unwrap(), before);
}

#[test]
fn other_keys_neither_add_nor_verify() {
    let (site, other) = (Site::new(), Site::new());
    site.publish("0.9.0", 1, &Changes::default()).unwrap();
    let before = site.verify().unwrap();
    assert!(verify(&site.repository(), other.keys.anchor().unwrap().as_bytes(), now()).is_err());
    let stranger = Site { folder: site.folder, keys: other.keys };
    assert!(stranger.publish("0.9.1", 1, &Changes::default()).is_err());
    assert!(!stranger.repository().join("targets/releases/0.9.1").exists());
    let owner = Site { folder: stranger.folder, keys: site.keys };
    assert_eq!(owner.verify().unwrap(), before);
}

#[test]
fn nodes_follow_to_new_keys() {
    let mut site = Site::new();
    site.publish("0.9.0", 1, &Changes::default()).unwrap();
    let old = site.keys.anchor().unwrap().to_owned();
    let expires = now() + SignedDuration::from_hours(24 * 365);
    site.keys = site.keys.replace(&site.folder.path().join("new"), expires).unwrap();
    site.publish("0.9.1", 2, &Changes::default()).unwrap();
    let followed = verify(&site.repository(), old.as_bytes(), now()).unwrap();
    assert_eq!(versions(&followed), ["0.9.0", "0.9.1"]);
    assert_eq!(site.verify().unwrap(), followed);
}

#[test]
fn metadata_expire_and_are_signed_anew() {
    let site = Site::new();
    site.publish("0.9.0", 1, &Changes::default()).unwrap();
    let (folder, later) = (site.repository(), now() + SignedDuration::from_hours(25));
    let root = site.keys.anchor().unwrap().as_bytes();
    assert!(verify(&folder, root, later).unwrap_err().to_string().contains("expired"));
    publish(&folder, &site.keys, &[], &Changes::default(), VALIDITY, later).unwrap();
    assert_eq!(versions(&verify(&folder, root, later).unwrap()), ["0.9.0"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_flipped_bit_of_a_release_goes_unseen(file in 0..8_usize, at in any::<prop::sample::Index>(), bit in 0..8) {
        let site = Site::new();
        site.publish("0.9.0", 1, &Changes::default()).unwrap();
        let name = [
            "root.img", "root.leaves", "a.efi", "a.leaves", "b.efi", "b.leaves", "sbom.spdx.json", "manifest.json",
        ][file];
        let path = site.repository().join("targets/releases/0.9.0").join(name);
        let mut content = fs::read(&path).unwrap();
        // A root's own tree is not fetched: what is checked is its data.
        let covered = if name == "root.img" { 200 * BLOCK_BYTES } else { content.len() };
        content[at.index(covered)] ^= 1_u8 << bit;
        fs::write(&path, content).unwrap();
        prop_assert!(site.verify().is_err(), "{name}");
    }
}

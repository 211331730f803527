//! Release repositories of a test's own, signed with the keys that the tests' nodes trust.

use std::{convert::Infallible, fs, path::Path};

use bootstate::ReleaseVersion;
use image::erofs::{RootImage, SALT};
use jiff::{SignedDuration, Timestamp};
use release::{
    channels::Changes,
    files::Release,
    keys::Keys,
    repository::{Validity, publish},
};
use update::KubernetesVersion;
use verity::{BLOCK_BYTES, HashTree};

const VALID: SignedDuration = SignedDuration::from_hours(24 * 365);
const VALIDITY: Validity = Validity { timestamp: VALID, snapshot: VALID, targets: VALID };

/// Makes a repository in `folder` with a release that would not boot: one block of root, one of UKI.
pub fn with_release(folder: &Path, keys: &Path, version: &str) {
    fs::create_dir_all(folder).unwrap();
    let (root, uki) = (folder.join("root"), folder.join("uki"));
    let block = vec![7; BLOCK_BYTES];
    let tree = HashTree::build([Ok::<_, Infallible>(&block)], &SALT).unwrap();
    fs::write(&root, [block.as_slice(), &tree.blocks].concat()).unwrap();
    fs::write(&uki, &block).unwrap();
    let facts = RootImage {
        root_hash: hex::encode(tree.root),
        salt: hex::encode(SALT),
        data_blocks: 1,
        hash_start_block: 1,
        size_bytes: (BLOCK_BYTES + tree.blocks.len()) as u64,
    };
    let release = Release {
        version: ReleaseVersion::new(version).unwrap(),
        kubernetes: KubernetesVersion::new("1.37.2").unwrap(),
        kernel: "6.18.1",
        created_s: 0,
        time_floor_s: 0,
        rollback_floor: ReleaseVersion::UNKNOWN,
        root: &root,
        facts: &facts,
        a: &uki,
        b: &uki,
        sbom: b"{}",
    };
    let keys = Keys::open(keys).unwrap();
    publish(folder, &keys, &[release], &Changes::default(), VALIDITY, Timestamp::now()).unwrap();
}

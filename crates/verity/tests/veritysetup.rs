//! Our trees against those of cryptsetup's `veritysetup`: always by recorded vectors, and by generated cases
//! where the program is at hand (in PATH, or as a command line in VERITYSETUP).

use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use proptest::prelude::*;
use verity::{BLOCK_BYTES, Block, Error, HashTree, Superblock};

/// Made with `veritysetup format --salt SALT --uuid UUID DATA HASH`, DATA as [`data`] gives it.
struct Vector {
    data_blocks: u64,
    salt: &'static str,
    uuid: &'static str,
    root_hash: &'static str,
    /// Of everything that veritysetup wrote.
    hash_area_sha256: &'static str,
}

const VECTORS: [Vector; 6] = [
    Vector {
        data_blocks: 1,
        salt: "",
        uuid: "00000000-0000-0000-0000-000000000001",
        root_hash: "d24ac44c83cce842b67a82d2f77bcbe5e41dbd555605c92832d609e29c5a997c",
        hash_area_sha256: "347a2102327e5fd27b61dc49354b669af8ea8be7458f14f1c7a645f583d2dd83",
    },
    Vector {
        data_blocks: 2,
        salt: "0000000000000000000000000000000000000000000000000000000000000000",
        uuid: "00000000-0000-0000-0000-000000000002",
        root_hash: "de5bea7345fc5fb4aa591a479e2d77ea14925c1e7640ca5cb57d73e6863f0c5a",
        hash_area_sha256: "62a9e426d39f2c1410b7d4eadaf327f52134c7634784c5f9fe0cc5dc664cc661",
    },
    Vector {
        data_blocks: 128,
        salt: "ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12",
        uuid: "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
        root_hash: "a01ed247774a4777364e9f42a6e6d37c4e2bfc0a55edeb0017d08e355d55849b",
        hash_area_sha256: "1987f95dc729939cafca2dd1599cffa5f83aee5727399137f1723784504aa37e",
    },
    Vector {
        data_blocks: 129,
        salt: "ab",
        uuid: "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
        root_hash: "d29f334cba804bd575fd023e5db81f94b2409187a7f3f151d344ce5ebe1b455b",
        hash_area_sha256: "9a91d2e10afe72419730f38b58e02dd381dba8e20a6896683c3bda2c28e22256",
    },
    Vector {
        data_blocks: 1000,
        salt: "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
        uuid: "ffffffff-ffff-ffff-ffff-ffffffffffff",
        root_hash: "ece872bcd7cc9827309b9b4bd7e7ef7e61a630a4fcabf8c34a44cfe392dd736c",
        hash_area_sha256: "e645cd5b1f3a74cce0cf07f6984b8491502547c7b8149a3b32af32e659f9c5ba",
    },
    Vector {
        data_blocks: 16385,
        salt: "ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12",
        uuid: "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
        root_hash: "e1d4d8615b58e3b4f13fff3e75385c35d90ef1a79b6160ee7efc01f3e007b870",
        hash_area_sha256: "d8efc97bc003c8ddb9756122baa31c0687492a6b3dc08bb55239547fa9cb19f4",
    },
];

/// Every fourth block is zero; the others differ.
fn data(data_blocks: u64) -> impl Iterator<Item = Block> {
    (0..data_blocks).map(|number| {
        let mut block = [0; BLOCK_BYTES];
        if number % 4 != 3 {
            for (index, byte) in block.iter_mut().enumerate() {
                *byte = (number as usize * 31 + index * 7 + (index >> 8)) as u8;
            }
        }
        block
    })
}

fn tree(data_blocks: u64, salt: &str, uuid: &str) -> HashTree {
    let uuid = bytes(&uuid.replace('-', "")).try_into().expect("a UUID has 16 bytes");
    let superblock = Superblock::new(uuid, &bytes(salt)).expect("salt fits");
    HashTree::build(superblock, data(data_blocks).map(Ok::<_, Error>)).expect("builds")
}

fn hash_area(tree: &HashTree) -> Vec<u8> {
    tree.blocks().flatten().collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex digits"))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn recorded_vectors() {
    for vector in &VECTORS {
        let tree = tree(vector.data_blocks, vector.salt, vector.uuid);
        assert_eq!(hex(&tree.root_hash()), vector.root_hash, "{} blocks", vector.data_blocks);
        let sum = digest(&SHA256, &hash_area(&tree));
        assert_eq!(hex(sum.as_ref()), vector.hash_area_sha256, "{} blocks", vector.data_blocks);
    }
}

/// The program as words, if it can be started.
fn veritysetup() -> Option<Vec<String>> {
    let line = std::env::var("VERITYSETUP").unwrap_or_else(|_| "veritysetup".to_owned());
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let (program, args) = words.split_first()?;
    let started = Command::new(program).args(args).arg("--version").output();
    started.is_ok_and(|output| output.status.success()).then_some(words)
}

/// Runs `veritysetup format` and returns its root hash and what it wrote.
fn format(program: &[String], data_blocks: u64, salt: &str, uuid: &str) -> (String, Vec<u8>) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let (data_path, hash_path) = (directory.path().join("data"), directory.path().join("hash"));
    std::fs::write(&data_path, data(data_blocks).flatten().collect::<Vec<u8>>()).expect("data written");
    let output = Command::new(&program[0])
        .args(&program[1..])
        .args(["format", "--salt", if salt.is_empty() { "-" } else { salt }, "--uuid", uuid])
        .args([&data_path, &hash_path])
        .output()
        .expect("veritysetup starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let root_hash = text.lines().find_map(|line| line.strip_prefix("Root hash:")).expect("root hash printed");
    (root_hash.trim().to_owned(), std::fs::read(&hash_path).expect("hash area read"))
}

#[test]
fn generated_cases() {
    let Some(program) = veritysetup() else {
        eprintln!("skipped: no veritysetup in PATH and VERITYSETUP is not set; recorded vectors still hold");
        return;
    };
    let cases = ProptestConfig { cases: 24, ..ProptestConfig::default() };
    proptest!(cases, |(
        data_blocks in prop_oneof![1u64..5, 120u64..140, 250u64..400],
        salt in "([0-9a-f]{2}){0,256}",
        uuid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    )| {
        let (root_hash, expected) = format(&program, data_blocks, &salt, &uuid);
        let tree = tree(data_blocks, &salt, &uuid);
        prop_assert_eq!(hex(&tree.root_hash()), root_hash);
        prop_assert!(hash_area(&tree) == expected, "hash area differs at {} blocks", data_blocks);
    });
}

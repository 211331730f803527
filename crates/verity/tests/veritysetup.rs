//! Our trees against those of cryptsetup's `veritysetup`: always by recorded vectors, and by generated cases
//! where the program is at hand (in PATH, or as a command line in VERITYSETUP).

use std::{convert::Infallible, process::Command};

use aws_lc_rs::digest::{SHA256, digest};
use proptest::prelude::*;
use verity::{BLOCK_BYTES, HashTree};

/// Made with `veritysetup format --no-superblock --salt SALT DATA HASH`, DATA as [`data`] gives it.
struct Vector {
    data_blocks: u64,
    salt: &'static str,
    root_hash: &'static str,
    /// Of everything that veritysetup wrote.
    tree_sha256: &'static str,
}

const VECTORS: [Vector; 6] = [
    Vector {
        data_blocks: 1,
        salt: "",
        root_hash: "d24ac44c83cce842b67a82d2f77bcbe5e41dbd555605c92832d609e29c5a997c",
        tree_sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    },
    Vector {
        data_blocks: 2,
        salt: "0000000000000000000000000000000000000000000000000000000000000000",
        root_hash: "de5bea7345fc5fb4aa591a479e2d77ea14925c1e7640ca5cb57d73e6863f0c5a",
        tree_sha256: "198e8b62a0a18b7add024172dc20bb66f8a3c02e7cc67575edc072612e7be39d",
    },
    Vector {
        data_blocks: 128,
        salt: "ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12",
        root_hash: "a01ed247774a4777364e9f42a6e6d37c4e2bfc0a55edeb0017d08e355d55849b",
        tree_sha256: "1a21f5f9f77e6cd81df4171922face7e412f1fd48df1b77d7cd22a7a5768ad0e",
    },
    Vector {
        data_blocks: 129,
        salt: "ab",
        root_hash: "d29f334cba804bd575fd023e5db81f94b2409187a7f3f151d344ce5ebe1b455b",
        tree_sha256: "7970f752188494e69bcd1060fc787d9df03d953d370af733c0cfbef77786a823",
    },
    Vector {
        data_blocks: 1000,
        salt: "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
        root_hash: "ece872bcd7cc9827309b9b4bd7e7ef7e61a630a4fcabf8c34a44cfe392dd736c",
        tree_sha256: "fd3b69f700dd03d471d9826a2b68aa8461eee65f0650a90761c4463c463bc0aa",
    },
    Vector {
        data_blocks: 16385,
        salt: "ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12ca12",
        root_hash: "e1d4d8615b58e3b4f13fff3e75385c35d90ef1a79b6160ee7efc01f3e007b870",
        tree_sha256: "1050222f18f2e2e28e5311e61515ed68c65d47f5448c9725771c7803fa1e4161",
    },
];

/// Every fourth block is zero; the others differ.
fn data(data_blocks: u64) -> impl Iterator<Item = [u8; BLOCK_BYTES]> {
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

fn tree(data_blocks: u64, salt: &str) -> HashTree {
    let salt: Vec<u8> = salt
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    HashTree::build(data(data_blocks).map(Ok::<_, Infallible>), &salt).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn recorded_vectors() {
    for vector in &VECTORS {
        let tree = tree(vector.data_blocks, vector.salt);
        assert_eq!(hex(&tree.root), vector.root_hash, "{} blocks", vector.data_blocks);
        let sum = digest(&SHA256, &tree.blocks);
        assert_eq!(hex(sum.as_ref()), vector.tree_sha256, "{} blocks", vector.data_blocks);
    }
}

/// The program as words, if it can be started.
fn veritysetup() -> Option<Vec<String>> {
    let line = std::env::var("VERITYSETUP").unwrap_or_else(|_| "veritysetup".to_owned());
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let (program, arguments) = words.split_first()?;
    let started = Command::new(program).args(arguments).arg("--version").output();
    started.is_ok_and(|output| output.status.success()).then_some(words)
}

/// Runs `veritysetup format` and returns its root hash and what it wrote.
fn format(program: &[String], data_blocks: u64, salt: &str) -> (String, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let (data_path, hash_path) = (folder.path().join("data"), folder.path().join("hash"));
    std::fs::write(&data_path, data(data_blocks).flatten().collect::<Vec<u8>>()).unwrap();
    let output = Command::new(&program[0])
        .args(&program[1..])
        .args(["format", "--no-superblock", "--salt", if salt.is_empty() { "-" } else { salt }])
        .args([&data_path, &hash_path])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let root_hash = text.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
    (root_hash.to_owned(), std::fs::read(&hash_path).unwrap())
}

#[test]
fn generated_cases() {
    let Some(program) = veritysetup() else {
        eprintln!("skipped: no veritysetup in PATH and VERITYSETUP is not set; recorded vectors still hold");
        return;
    };
    let config = ProptestConfig { cases: 24, ..ProptestConfig::default() };
    proptest!(config, |(
        data_blocks in prop_oneof![1u64..5, 120u64..140, 250u64..400],
        salt in "([0-9a-f]{2}){0,256}",
    )| {
        let (root_hash, expected) = format(&program, data_blocks, &salt);
        let tree = tree(data_blocks, &salt);
        prop_assert_eq!(hex(&tree.root), root_hash);
        prop_assert!(tree.blocks == expected, "the tree differs at {} blocks", data_blocks);
    });
}

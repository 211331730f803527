use std::{fs::OpenOptions, process::Command};

use proptest::prelude::*;

use super::*;
use crate::volumes::mark::mark;

const SIZE_BYTES: u64 = 20 * MIB + 512;

/// A disk with these bytes at these places, zero elsewhere.
fn content(parts: &[(u64, &[u8])]) -> Content {
    let file = tempfile::tempfile().unwrap();
    file.set_len(SIZE_BYTES).unwrap();
    for (offset, bytes) in parts {
        file.write_all_at(bytes, *offset).unwrap();
    }
    Content::read(&file).unwrap()
}

fn id() -> VolumeId {
    VolumeId::from_random([9; 16])
}

#[test]
fn zeros_are_nothing_and_the_middle_is_not_looked_at() {
    let nothing = Content { mark: None, holds: Holds::Nothing };
    assert_eq!(content(&[]), nothing);
    assert_eq!(content(&[(MIB, &[1]), (SIZE_BYTES - MIB - 513, &[1])]), nothing);
}

#[test]
fn signatures_are_named() {
    for (offset, signature, name) in SIGNATURES {
        let found = content(&[(offset as u64, signature)]);
        assert_eq!(found, Content { mark: None, holds: Holds::Other(name) });
    }
    for (offset, signature, name) in [
        (128 << 10, ZFS_MAGIC, "a member of a ZFS pool"),
        (SIZE_BYTES - 512 - (64 << 10), MD_MAGIC, "a member of an md array"),
        (SIZE_BYTES - 512, b"EFI PART".as_slice(), "the backup of a partition table (GPT)"),
        (510, &[0x55, 0xaa], "a partition table (MBR)"),
        (MIB - 1, &[1], "data"),
        (SIZE_BYTES - 1, &[1], "data"),
    ] {
        assert_eq!(content(&[(offset, signature)]).holds, Holds::Other(name));
    }
}

#[test]
fn a_mark_is_found_whatever_else_the_file_system_has() {
    let at = file_system_bytes(SIZE_BYTES);
    assert_eq!(at, 19 * MIB);
    let marked = content(&[(at, &mark(id()))]);
    assert_eq!(marked, Content { mark: Some(id()), holds: Holds::Nothing });
    assert_eq!(content(&[(at, &mark(id())), (5000, &[1])]).mark, Some(id()));
    assert_eq!(
        content(&[(at, &mark(id())), (at + MIB - 1, &[1])]).mark,
        None,
        "the reserve holds something else"
    );
    assert_eq!(content(&[(at + 4096, &mark(id()))]).mark, None, "it stands elsewhere");
}

#[test]
fn a_real_ext4_is_recognised() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(SIZE_BYTES).unwrap();
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-L", "label", "-U", &id().to_string()])
        .arg(file.path())
        .status();
    assert!(made.unwrap().success());
    let expected = Holds::Ext4 { uuid: id(), label: "label".to_owned() };
    let disk = OpenOptions::new().read(true).open(file.path()).unwrap();
    let content = Content::read(&disk).unwrap();
    assert_eq!(content, Content { mark: None, holds: expected });
    assert_eq!(content.describe(), format!("the ext4 file system label ({})", id()));
}

#[test]
fn a_small_disk_is_not_blank() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(DISK_MIN_BYTES - 1).unwrap();
    assert_ne!(Content::read(&file).unwrap().holds, Holds::Nothing);
}

proptest! {
    #[test]
    fn no_byte_at_either_end_is_overlooked(at in 0..MIB, end: bool, byte in 1_u8..) {
        let offset = if end { SIZE_BYTES - 1 - at } else { at };
        let found = content(&[(offset, &[byte])]);
        prop_assert_eq!(found.mark, None);
        prop_assert!(found.holds != Holds::Nothing);
    }
}

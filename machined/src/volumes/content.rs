//! What a disk holds, as far as a volume needs to know. Nothing but its first and last mebibyte is looked at: every
//! partition table, file system and member of an array has something there.

use std::{fs::File, io, io::Seek as _, os::unix::fs::FileExt as _};

use layout::MIB;

use super::mark::{MARK_BYTES, VolumeId, is_zero, read_mark};

/// At the end of a volume's disk, outside of its file system.
const RESERVED_BYTES: u64 = MIB;
/// Smallest disk: room for the reserve and a file system with a journal.
pub const DISK_MIN_BYTES: u64 = 16 * MIB;
const BLOCK_BYTES: u64 = 4096;

/// What a disk holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Whose mark of an unfinished file system it bears.
    pub mark: Option<VolumeId>,
    /// What else there is.
    pub holds: Holds,
}

/// What there is on a disk besides a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Only zeros.
    Nothing,
    /// A file system that is ext4, or one of its forebears.
    Ext4 {
        /// Which.
        uuid: VolumeId,
        /// Its label; may be empty.
        label: String,
    },
    /// Something else, by its usual name.
    Other(&'static str),
}

/// Bytes of the disk that belong to the file system; the mark follows.
pub const fn file_system_bytes(size_bytes: u64) -> u64 {
    size_bytes / BLOCK_BYTES * BLOCK_BYTES - RESERVED_BYTES
}

impl Content {
    /// Looks at a disk, or a file like one.
    pub fn read(disk: &File) -> io::Result<Self> {
        let size_bytes = (&mut &*disk).seek(io::SeekFrom::End(0))?;
        if size_bytes < DISK_MIN_BYTES {
            return Ok(Self { mark: None, holds: Holds::Other("too small a disk") });
        }
        let mut head = vec![0; usize::try_from(MIB).unwrap_or(usize::MAX)];
        disk.read_exact_at(&mut head, 0)?;
        let tail_start = file_system_bytes(size_bytes);
        let mut tail = vec![0; usize::try_from(size_bytes - tail_start).unwrap_or(usize::MAX)];
        disk.read_exact_at(&mut tail, tail_start)?;
        Ok(Self::of(&head, &tail))
    }

    fn of(head: &[u8], tail: &[u8]) -> Self {
        let (block, rest) = tail.split_at_checked(MARK_BYTES).unwrap_or((&[], tail));
        let mark = if is_zero(rest) { read_mark(block) } else { None };
        let tail = if mark.is_some() { &[] } else { tail };
        let holds = match ext4(head) {
            Some(ext4) => ext4,
            None if is_zero(head) && is_zero(tail) => Holds::Nothing,
            None => Holds::Other(name(head, tail)),
        };
        Self { mark, holds }
    }

    /// For people.
    pub fn describe(&self) -> String {
        match (&self.mark, &self.holds) {
            (Some(uuid), _) => format!("an unfinished volume ({uuid})"),
            (None, Holds::Nothing) => "nothing".to_owned(),
            (None, Holds::Ext4 { uuid, label }) if label.is_empty() => {
                format!("an ext4 file system ({uuid})")
            }
            (None, Holds::Ext4 { uuid, label }) => format!("the ext4 file system {label} ({uuid})"),
            (None, Holds::Other(name)) => (*name).to_owned(),
        }
    }
}

/// linux/fs/ext4/ext4.h, `struct ext4_super_block`, 1024 bytes into the disk.
fn ext4(head: &[u8]) -> Option<Holds> {
    let superblock = head.get(1024..)?;
    if superblock.get(56..58)? != [0x53, 0xef] {
        return None;
    }
    let uuid = VolumeId::from_bytes(*superblock.get(104..)?.first_chunk()?);
    let label = superblock.get(120..136)?;
    let length = label.iter().position(|byte| *byte == 0).unwrap_or(label.len());
    Some(Holds::Ext4 { uuid, label: String::from_utf8_lossy(label.get(..length)?).into_owned() })
}

/// Signatures by offset from the start (util-linux, libblkid/src/superblocks). They only name what is refused anyway.
const SIGNATURES: [(usize, &[u8], &str); 19] = [
    (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
    (0, b"XFSB", "an XFS file system"),
    (3, b"NTFS    ", "an NTFS file system"),
    (3, b"EXFAT   ", "an exFAT file system"),
    (3, b"-FVE-FS-", "an encrypted volume (BitLocker)"),
    (0x1_0040, b"_BHRfS_M", "a Btrfs file system"),
    (1024, b"\x10\x20\xf5\xf2", "an F2FS file system"),
    (512, b"LABELONE", "a member of an LVM group"),
    (0, b"LABELONE", "a member of an LVM group"),
    (4096 - 10, b"SWAPSPACE2", "a swap area"),
    (4096, b"\xfc\x4e\x2b\xa9", "a member of an md array"),
    (0, b"\xfc\x4e\x2b\xa9", "a member of an md array"),
    (0, b"bluestore block device", "a Ceph OSD"),
    (0x8001, b"CD001", "an ISO 9660 file system"),
    (4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca", "a bcache device"),
    (512, b"EFI PART", "a partition table (GPT)"),
    (4096, b"EFI PART", "a partition table (GPT)"),
    (82, b"FAT32   ", "a FAT file system"),
    (54, b"FAT1", "a FAT file system"),
];
/// ZFS keeps its labels' uberblocks from 128 KiB on, at 1 KiB or more from each other.
const ZFS_UBERBLOCKS: std::ops::Range<usize> = 128 << 10..256 << 10;
const ZFS_MAGIC: &[u8] = &[0x0c, 0xb1, 0xba, 0x00];
/// At the end: the backup of a GPT lies in the last sector, md 0.90 and 1.0 within the last 128 KiB.
const MD_MAGIC: &[u8] = b"\xfc\x4e\x2b\xa9";

fn name(head: &[u8], tail: &[u8]) -> &'static str {
    let starts = |offset: usize, text: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(text));
    let zfs = || ZFS_UBERBLOCKS.step_by(1024).any(|offset| starts(offset, ZFS_MAGIC));
    let in_tail = |text: &[u8]| tail.chunks(512).any(|sector| sector.starts_with(text));
    if let Some((.., name)) = SIGNATURES.iter().find(|(offset, text, _)| starts(*offset, text)) {
        name
    } else if zfs() {
        "a member of a ZFS pool"
    } else if in_tail(MD_MAGIC) {
        "a member of an md array"
    } else if in_tail(b"EFI PART") {
        "the backup of a partition table (GPT)"
    } else if starts(510, &[0x55, 0xaa]) {
        "a partition table (MBR)"
    } else {
        "data"
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;

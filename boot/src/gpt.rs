//! Finds partitions by type and name in a GUID partition table (UEFI 2.11, section 5.3).
//!
//! Pure: the caller reads the blocks. The backup table serves where the primary one is damaged.
//! A library of its own, so that what checks disks on a host finds partitions as the selector does.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

use alloc::vec;
use alloc::vec::Vec;
use crc::{CRC_32_ISO_HDLC, Crc};

/// Logical block size. Others are refused before it comes to this.
pub const BLOCK_BYTES: usize = 512;

/// Most partition entries that are read. Cairn's disks have 128, as everyone's.
const ENTRIES_MAX: u32 = 1024;
const ENTRY_MIN_BYTES: u32 = 128;
const ENTRY_MAX_BYTES: u32 = 4096;
const HEADER_MIN_BYTES: usize = 92;
const NAME: core::ops::Range<usize> = 56..128;
const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A GUID as it lies on disk.
pub type GuidBytes = [u8; 16];

/// The blocks of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First block.
    pub first_lba: u64,
    /// How many.
    pub blocks: u64,
}

/// An intact array of partition entries.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    entries: Vec<u8>,
    entry_bytes: usize,
    last_lba: u64,
}

impl Table {
    /// Reads the primary table, or else the backup at the end of the disk; `None` if neither is intact.
    pub fn read(last_lba: u64, mut read: impl FnMut(u64, &mut [u8]) -> bool) -> Option<Self> {
        [1, last_lba].into_iter().find_map(|lba| Self::read_at(lba, last_lba, &mut read))
    }

    /// The first partition of this type and name that lies on the disk.
    pub fn find(&self, type_guid: &GuidBytes, name: &str) -> Option<Extent> {
        self.entries
            .chunks_exact(self.entry_bytes)
            .filter(|entry| entry.starts_with(type_guid) && has_name(entry, name))
            .find_map(|entry| self.extent(entry))
    }

    fn read_at(lba: u64, last_lba: u64, read: &mut impl FnMut(u64, &mut [u8]) -> bool) -> Option<Self> {
        let mut block = [0; BLOCK_BYTES];
        if !read(lba, &mut block) {
            return None;
        }
        let header = Header::parse(&block, lba)?;
        let mut entries = vec![0; header.entries_bytes()?.next_multiple_of(BLOCK_BYTES)];
        if !read(header.entries_lba, &mut entries) {
            return None;
        }
        entries.truncate(header.entries_bytes()?);
        let entry_bytes = usize::try_from(header.entry_bytes).ok()?;
        (CRC32.checksum(&entries) == header.entries_crc32).then_some(Self { entries, entry_bytes, last_lba })
    }

    fn extent(&self, entry: &[u8]) -> Option<Extent> {
        let (first_lba, last_lba) = (u64_at(entry, 32)?, u64_at(entry, 40)?);
        let blocks = last_lba.checked_sub(first_lba)?.checked_add(1)?;
        (last_lba <= self.last_lba).then_some(Extent { first_lba, blocks })
    }
}

struct Header {
    entries_lba: u64,
    entry_count: u32,
    entry_bytes: u32,
    entries_crc32: u32,
}

impl Header {
    fn parse(block: &[u8; BLOCK_BYTES], lba: u64) -> Option<Self> {
        let header_bytes = usize::try_from(u32_at(block, 12)?).ok()?;
        let mut header = block.get(..header_bytes)?.to_vec();
        let checksum = u32_at(&header, 16)?;
        header.get_mut(16..20)?.fill(0);
        let header_is_intact = header_bytes >= HEADER_MIN_BYTES
            && header.starts_with(b"EFI PART")
            && CRC32.checksum(&header) == checksum
            && u64_at(&header, 24)? == lba;
        let header = Self {
            entries_lba: u64_at(block, 72)?,
            entry_count: u32_at(block, 80)?,
            entry_bytes: u32_at(block, 84)?,
            entries_crc32: u32_at(block, 88)?,
        };
        let has_sane_entries = (1..=ENTRIES_MAX).contains(&header.entry_count)
            && (ENTRY_MIN_BYTES..=ENTRY_MAX_BYTES).contains(&header.entry_bytes);
        (header_is_intact && has_sane_entries).then_some(header)
    }

    fn entries_bytes(&self) -> Option<usize> {
        usize::try_from(self.entry_count.checked_mul(self.entry_bytes)?).ok()
    }
}

fn has_name(entry: &[u8], name: &str) -> bool {
    let Some(stored) = entry.get(NAME) else { return false };
    let units = stored.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit));
    units.take_while(|unit| *unit != 0).eq(name.encode_utf16())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gptman::{GPT, GPTPartitionEntry};
    use std::io::Cursor;

    const DISK_BLOCKS: usize = 4096;
    const TYPE_BOOT: GuidBytes = [0xb0; 16];
    const TYPE_ROOT: GuidBytes = [0x40; 16];

    /// A disk with BOOT-A at 100..=199 and BOOT-B at 300..=300, written by gptman.
    fn disk() -> Vec<u8> {
        let mut disk = Cursor::new(vec![0; DISK_BLOCKS * BLOCK_BYTES]);
        let mut gpt = GPT::new_from(&mut disk, BLOCK_BYTES as u64, [7; 16]).unwrap();
        for (number, type_guid, name, first, last) in [
            (1, TYPE_ROOT, "BOOT-A", 50, 60),
            (3, TYPE_BOOT, "BOOT-A", 100, 199),
            (5, TYPE_BOOT, "BOOT-B", 300, 300),
        ] {
            gpt[number] = GPTPartitionEntry {
                partition_type_guid: type_guid,
                unique_partition_guid: [u8::try_from(number).unwrap(); 16],
                starting_lba: first,
                ending_lba: last,
                attribute_bits: 0,
                partition_name: name.into(),
            };
        }
        gpt.write_into(&mut disk).unwrap();
        disk.into_inner()
    }

    fn table(disk: &[u8]) -> Option<Table> {
        Table::read(DISK_BLOCKS as u64 - 1, |lba, buffer| {
            let start = usize::try_from(lba).unwrap() * BLOCK_BYTES;
            disk.get(start..start + buffer.len()).map(|blocks| buffer.copy_from_slice(blocks)).is_some()
        })
    }

    #[test]
    fn finds_by_type_and_name() {
        let table = table(&disk()).unwrap();
        assert_eq!(table.find(&TYPE_BOOT, "BOOT-A"), Some(Extent { first_lba: 100, blocks: 100 }));
        assert_eq!(table.find(&TYPE_BOOT, "BOOT-B"), Some(Extent { first_lba: 300, blocks: 1 }));
        assert_eq!(table.find(&TYPE_ROOT, "BOOT-B"), None);
        assert_eq!(table.find(&TYPE_BOOT, "BOOT"), None);
        assert_eq!(table.find(&TYPE_BOOT, "BOOT-A2"), None);
    }

    #[test]
    fn the_backup_serves_for_every_damaged_byte_of_the_primary() {
        let good = disk();
        let expected = table(&good).unwrap();
        let header = BLOCK_BYTES..BLOCK_BYTES + HEADER_MIN_BYTES;
        let entries = 2 * BLOCK_BYTES..34 * BLOCK_BYTES;
        for at in header.chain(entries.step_by(37)) {
            let mut damaged = good.clone();
            damaged[at] ^= 0x10;
            assert_eq!(table(&damaged).as_ref(), Some(&expected), "byte {at}");
        }
        let mut lost = good;
        lost[..64 * BLOCK_BYTES].fill(0xff);
        assert_eq!(table(&lost), Some(expected));
        let last = lost.len() - BLOCK_BYTES;
        lost[last..].fill(0);
        assert_eq!(table(&lost), None);
    }

    #[test]
    fn partitions_beyond_the_disk_are_not_found() {
        let disk = disk();
        let mut table = table(&disk).unwrap();
        table.last_lba = 198;
        assert_eq!(table.find(&TYPE_BOOT, "BOOT-A"), None);
    }

    #[test]
    fn impossible_headers_are_refused() {
        let good: [u8; BLOCK_BYTES] = disk()[BLOCK_BYTES..2 * BLOCK_BYTES].try_into().unwrap();
        let with = |at: usize, value: u32| {
            let mut block = good;
            block[at..at + 4].copy_from_slice(&value.to_le_bytes());
            block[16..20].fill(0);
            let header_bytes = usize::try_from(u32_at(&block, 12).unwrap()).unwrap().min(BLOCK_BYTES);
            let checksum = CRC32.checksum(&block[..header_bytes]);
            block[16..20].copy_from_slice(&checksum.to_le_bytes());
            Header::parse(&block, 1).is_some()
        };
        assert!(with(80, 128));
        for (at, value) in
            [(0, 0), (12, 91), (12, 513), (24, 2), (80, 0), (80, ENTRIES_MAX + 1), (84, 64), (84, u32::MAX)]
        {
            assert!(!with(at, value), "{value} at {at}");
        }
    }
}

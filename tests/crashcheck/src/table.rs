//! The partition table as the selector and the kernel see it.

use std::ops::Range;

use gpt::{BLOCK_BYTES, Extent, Table};
use gptman::GPTHeader;
use std::io::{Seek as _, SeekFrom};

use crate::{
    SECTOR_BYTES,
    disk::{Disk, Reader},
};

/// Both views of one state of the table.
#[derive(Debug)]
pub struct Tables {
    /// By type and name: primary, or else backup.
    selector: Option<Table>,
    primary: Option<Partitions>,
    backup: Option<Partitions>,
}

/// Partitions by their own GUID.
type Partitions = Vec<([u8; 16], Range<u64>)>;

impl Tables {
    /// Reads primary and backup.
    pub fn read(disk: &Disk) -> Self {
        let last = disk.map().sectors - 1;
        let read = |lba: u64, blocks: &mut [u8]| {
            let length = (blocks.len() / BLOCK_BYTES) as u64;
            lba.checked_add(length).is_some_and(|end| end <= last + 1) && disk.read(lba, blocks).is_ok()
        };
        Self {
            selector: Table::read(last, read),
            primary: partitions(disk, 1),
            backup: partitions(disk, last),
        }
    }

    /// What the selector finds.
    pub fn find(&self, wanted: &layout::Partition) -> Option<Range<u64>> {
        let Extent { first_lba, blocks } =
            self.selector.as_ref()?.find(&guid(wanted.type_guid)?, wanted.name)?;
        Some(first_lba..first_lba.checked_add(blocks)?)
    }

    /// What the kernel finds under `PARTUUID=`. It looks at the backup only when its command line has the word `gpt`
    /// (block/partitions/efi.c).
    pub fn find_by_guid(&self, wanted: &str, may_use_backup: bool) -> Option<Range<u64>> {
        let backup = self.backup.as_ref().filter(|_| may_use_backup);
        let wanted = guid(wanted)?;
        let found = self.primary.as_ref().or(backup)?.iter().find(|(guid, _)| *guid == wanted);
        found.map(|(_, range)| range.clone())
    }
}

fn partitions(disk: &Disk, header_lba: u64) -> Option<Partitions> {
    let mut reader = Reader::new(disk);
    reader.seek(SeekFrom::Start(header_lba * SECTOR_BYTES)).ok()?;
    let header = GPTHeader::read_from(&mut reader).ok()?;
    if header.primary_lba != header_lba {
        return None;
    }
    let entries = header.read_partitions(&mut reader, SECTOR_BYTES).ok()?;
    let used = entries.iter().filter(|entry| entry.is_used());
    Some(used.map(|entry| (entry.unique_partition_guid, entry.starting_lba..entry.ending_lba + 1)).collect())
}

/// A GUID as it lies on disk: the first three groups are little-endian (UEFI 2.11, appendix A).
fn guid(text: &str) -> Option<[u8; 16]> {
    let mut guid: [u8; 16] = hex::decode(text.replace('-', "")).ok()?.try_into().ok()?;
    guid[0..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    Some(guid)
}

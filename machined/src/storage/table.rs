//! The partition table: STATE and DATA are added to it once, behind the image's partitions.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use gptman::{GPT, GPTHeader, GPTPartitionEntry};
use layout::{MIB, MIN_DISK_BYTES, SECTOR_BYTES};

use super::StorageError;
use super::system::Extent;

/// Size of an entry that gptman can write.
const ENTRY_BYTES: u64 = 128;
/// Far more than the 128 of every table met in practice; keeps the sums below in bounds.
const ENTRIES_MAX: u32 = 1024;
/// What is wiped at the start of a new partition. An earlier installation on this disk left file systems at the very
/// same places; they must not come to life again.
const WIPE_BYTES: u64 = MIB;
static WIPE_CHUNK: [u8; 64 << 10] = [0; 64 << 10];

/// The partitions that first boot adds.
pub(super) const ADDED: [layout::Partition; 2] = [layout::STATE, layout::DATA];

/// Where the partition lies as the table says; `None` when the table does not have it.
pub(super) fn find(
    disk: &mut File,
    device: &Path,
    wanted: &layout::Partition,
) -> Result<Option<Extent>, StorageError> {
    find_in(&read(disk, device)?, device, wanted)
}

/// Adds what the table lacks of STATE and DATA, and moves the backup table to the end of the disk.
pub(super) fn extend(disk: &mut File, device: &Path) -> Result<(), StorageError> {
    let mut table = read(disk, device)?;
    let missing = missing(&table, device)?;
    if missing.is_empty() {
        return Ok(());
    }
    let disk_bytes = disk
        .seek(SeekFrom::End(0))
        .map_err(|source| StorageError::Read { path: device.to_owned(), source })?;
    if disk_bytes < MIN_DISK_BYTES {
        let device = device.to_owned();
        return Err(StorageError::DiskTooSmall { device, needed: MIN_DISK_BYTES, has: disk_bytes });
    }
    let [primary, backup] = headers(&table.header, disk_bytes / SECTOR_BYTES);
    for partition in missing {
        let extent = place(&table, &primary, partition)
            .ok_or_else(|| StorageError::NoRoom { device: device.to_owned(), name: partition.name })?;
        wipe(disk, extent).map_err(|source| StorageError::Write { path: device.to_owned(), source })?;
        table[partition.number] = entry(partition, extent)?;
    }
    write(disk, device, &table, [backup, primary])
}

fn read(disk: &mut File, device: &Path) -> Result<GPT, StorageError> {
    let table = GPT::read_from(disk, SECTOR_BYTES)
        .map_err(|source| StorageError::TableRead { device: device.to_owned(), source })?;
    let last = layout::DATA;
    let fits = (last.number..=ENTRIES_MAX).contains(&table.header.number_of_partition_entries)
        && u64::from(table.header.size_of_partition_entry) == ENTRY_BYTES;
    if !fits {
        return Err(StorageError::ForeignPartition {
            device: device.to_owned(),
            number: last.number,
            name: last.name,
        });
    }
    Ok(table)
}

fn find_in(table: &GPT, device: &Path, wanted: &layout::Partition) -> Result<Option<Extent>, StorageError> {
    let entry = &table[wanted.number];
    if entry.is_unused() {
        return Ok(None);
    }
    let is_ours = Some(entry.partition_type_guid) == guid_bytes(wanted.type_guid)
        && entry.partition_name.as_str() == wanted.name;
    match entry.size() {
        Ok(sectors) if is_ours => Ok(Some(Extent { first_lba: entry.starting_lba, sectors })),
        Ok(_) | Err(_) => Err(StorageError::ForeignPartition {
            device: device.to_owned(),
            number: wanted.number,
            name: wanted.name,
        }),
    }
}

fn missing(table: &GPT, device: &Path) -> Result<Vec<&'static layout::Partition>, StorageError> {
    const PARTITIONS: &[layout::Partition] = &ADDED;
    let mut missing = Vec::new();
    for partition in PARTITIONS {
        if find_in(table, device, partition)?.is_none() {
            missing.push(partition);
        }
    }
    Ok(missing)
}

/// Behind everything that is there; the size that the layout names, or else the rest of the disk.
fn place(table: &GPT, primary: &GPTHeader, partition: &layout::Partition) -> Option<Extent> {
    let used = table.iter().filter(|(_, entry)| entry.is_used());
    let behind = used.map(|(_, entry)| entry.ending_lba.saturating_add(1)).max().unwrap_or_default();
    let first_lba = behind.max(primary.first_usable_lba).next_multiple_of(Extent::ALIGNMENT_SECTORS);
    let available = primary.last_usable_lba.saturating_add(1).saturating_sub(first_lba);
    let available = available - available % Extent::ALIGNMENT_SECTORS;
    let sectors = partition.size_bytes.map_or(available, |bytes| bytes / SECTOR_BYTES);
    (sectors > 0 && sectors <= available).then_some(Extent { first_lba, sectors })
}

/// The primary and the backup header of a disk with this many sectors, whichever of them was read.
fn headers(read: &GPTHeader, disk_sectors: u64) -> [GPTHeader; 2] {
    let array_sectors = (u64::from(read.number_of_partition_entries) * ENTRY_BYTES).div_ceil(SECTOR_BYTES);
    let last_lba = disk_sectors - 1;
    let mut primary = read.clone();
    primary.primary_lba = 1;
    primary.backup_lba = last_lba;
    primary.partition_entry_lba = 2;
    primary.last_usable_lba = last_lba - array_sectors - 1;
    let mut backup = primary.clone();
    backup.primary_lba = last_lba;
    backup.backup_lba = 1;
    backup.partition_entry_lba = primary.last_usable_lba + 1;
    [primary, backup]
}

fn entry(partition: &layout::Partition, extent: Extent) -> Result<GPTPartitionEntry, StorageError> {
    let mut entry = GPTPartitionEntry::empty();
    entry.partition_type_guid = guid_bytes(partition.type_guid).unwrap_or_default();
    entry.unique_partition_guid = random_guid()?;
    entry.starting_lba = extent.first_lba;
    entry.ending_lba = extent.first_lba + extent.sectors - 1;
    entry.partition_name = partition.name.into();
    Ok(entry)
}

/// The backup first: from then on, whatever a power cut leaves of the primary, firmware restores it. All that changes
/// in the primary lies in its first 4 KiB, so that hardly anything can be torn at all.
fn write(disk: &mut File, device: &Path, table: &GPT, order: [GPTHeader; 2]) -> Result<(), StorageError> {
    let entries: Vec<_> = table.iter().map(|(_, entry)| entry.clone()).collect();
    for mut header in order {
        header
            .write_into(disk, SECTOR_BYTES, &entries)
            .map_err(|source| StorageError::TableWrite { device: device.to_owned(), source })?;
        disk.sync_all().map_err(|source| StorageError::Write { path: device.to_owned(), source })?;
    }
    Ok(())
}

fn wipe(disk: &File, extent: Extent) -> std::io::Result<()> {
    let end = extent.start_bytes() + WIPE_BYTES.min(extent.size_bytes());
    for offset in (extent.start_bytes()..end).step_by(WIPE_CHUNK.len()) {
        disk.write_all_at(&WIPE_CHUNK, offset)?;
    }
    disk.sync_all()
}

/// Version 4, variant 1 (RFC 9562), in the table's byte order.
fn random_guid() -> Result<[u8; 16], StorageError> {
    let mut guid = [0; 16];
    let random = File::open("/dev/urandom").and_then(|file| std::io::Read::read_exact(&mut &file, &mut guid));
    random.map_err(StorageError::Random)?;
    guid[7] = guid[7] & 0x0f | 0x40;
    guid[8] = guid[8] & 0x3f | 0x80;
    Ok(guid)
}

/// The table's byte order: the first three groups are little-endian (UEFI 2.10, appendix A).
pub fn guid_bytes(text: layout::Guid) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    let mut guid = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?.to_be_bytes();
    guid[0..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    Some(guid)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

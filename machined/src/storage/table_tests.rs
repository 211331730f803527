use super::*;
use crate::storage::scratch::Scratch;
use std::fs::OpenOptions;
use std::path::PathBuf;

/// A sparse disk of this size whose table and backup end with the image, as after flashing.
fn flashed(scratch: &Scratch, disk_bytes: u64) -> (File, PathBuf) {
    let path = scratch.path().join("disk");
    let mut disk = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    let image: u64 = layout::FIRST_PARTITION_BYTES
        + layout::PARTITIONS.iter().take(6).filter_map(|partition| partition.size_bytes).sum::<u64>()
        + MIB;
    disk.set_len(image).unwrap();
    let mut table = GPT::new_from(&mut disk, SECTOR_BYTES, [7; 16]).unwrap();
    let mut start = layout::FIRST_PARTITION_BYTES / SECTOR_BYTES;
    for partition in layout::PARTITIONS.iter().take(6) {
        let sectors = partition.size_bytes.unwrap() / SECTOR_BYTES;
        table[partition.number] = entry(partition, Extent { first_lba: start, sectors }).unwrap();
        start += sectors;
    }
    table.write_into(&mut disk).unwrap();
    disk.set_len(disk_bytes).unwrap();
    (disk, path)
}

fn backup(disk: &mut File) -> GPTHeader {
    let end = disk.seek(SeekFrom::End(0)).unwrap();
    disk.seek(SeekFrom::Start(end - SECTOR_BYTES)).unwrap();
    GPTHeader::read_from(disk).unwrap()
}

#[test]
fn adds_both_partitions_and_moves_the_backup() {
    let scratch = Scratch::new("table");
    for spare in [0, SECTOR_BYTES, 3 * MIB + 5 * SECTOR_BYTES, 100 << 30] {
        let (mut disk, path) = flashed(&scratch, MIN_DISK_BYTES + spare);
        extend(&mut disk, &path).unwrap();
        let state = find(&mut disk, &path, &layout::STATE).unwrap().unwrap();
        let data = find(&mut disk, &path, &layout::DATA).unwrap().unwrap();
        assert_eq!(state.size_bytes(), 256 * MIB);
        assert_eq!(state.start_bytes() % MIB, 0);
        assert_eq!(data.start_bytes(), state.start_bytes() + state.size_bytes());
        let end = data.start_bytes() + data.size_bytes();
        assert_eq!(end % MIB, 0);
        assert!(end <= MIN_DISK_BYTES + spare && end + 3 * MIB > MIN_DISK_BYTES + spare, "spare {spare}");
        let backup = backup(&mut disk);
        assert!(backup.is_backup());
        assert_eq!(
            backup.read_partitions(&mut disk, SECTOR_BYTES).unwrap().iter().filter(|e| e.is_used()).count(),
            8
        );
    }
}

#[test]
fn a_torn_primary_is_written_anew_from_the_backup() {
    let scratch = Scratch::new("torn");
    let (mut disk, path) = flashed(&scratch, MIN_DISK_BYTES);
    let table = read(&mut disk, &path).unwrap();
    let [_, backup] = headers(&table.header, MIN_DISK_BYTES / SECTOR_BYTES);
    write(&mut disk, &path, &table, [backup.clone(), backup]).unwrap();
    disk.write_all_at(&[0xff; 4096], SECTOR_BYTES).unwrap();
    extend(&mut disk, &path).unwrap();
    disk.seek(SeekFrom::Start(SECTOR_BYTES)).unwrap();
    assert!(GPTHeader::read_from(&mut disk).unwrap().is_primary());
    assert!(find(&mut disk, &path, &layout::DATA).unwrap().is_some());
}

#[test]
fn a_second_run_changes_nothing() {
    let scratch = Scratch::new("idempotent");
    let (mut disk, path) = flashed(&scratch, MIN_DISK_BYTES + MIB);
    extend(&mut disk, &path).unwrap();
    let guids = |disk: &mut File| {
        let table = read(disk, &path).unwrap();
        [table[7].unique_partition_guid, table[8].unique_partition_guid]
    };
    let before = guids(&mut disk);
    extend(&mut disk, &path).unwrap();
    assert_eq!(guids(&mut disk), before);
    assert_ne!(before[0], before[1]);
}

#[test]
fn what_an_earlier_installation_left_is_wiped() {
    let scratch = Scratch::new("wipe");
    let (mut disk, path) = flashed(&scratch, MIN_DISK_BYTES);
    let start = layout::FIRST_PARTITION_BYTES + (64 + 8 + 2 * (64 + 1024)) * MIB;
    disk.write_all_at(&[0x53, 0xef], start + 1024 + 56).unwrap();
    extend(&mut disk, &path).unwrap();
    assert_eq!(find(&mut disk, &path, &layout::STATE).unwrap().unwrap().start_bytes(), start);
    let mut magic = [1; 2];
    disk.read_exact_at(&mut magic, start + 1024 + 56).unwrap();
    assert_eq!(magic, [0, 0]);
}

#[test]
fn small_and_foreign_disks_are_refused_untouched() {
    let scratch = Scratch::new("refused");
    let (mut disk, path) = flashed(&scratch, MIN_DISK_BYTES - SECTOR_BYTES);
    let error = extend(&mut disk, &path).unwrap_err();
    assert!(matches!(error, StorageError::DiskTooSmall { needed: MIN_DISK_BYTES, .. }));
    assert_eq!(find(&mut disk, &path, &layout::STATE).unwrap(), None);

    let (mut disk, path) = flashed(&scratch, MIN_DISK_BYTES);
    let mut table = read(&mut disk, &path).unwrap();
    let extent = Extent { first_lba: 6_000_000, sectors: 2048 };
    table[7] = entry(&layout::DATA, extent).unwrap();
    table.write_into(&mut disk).unwrap_err();
    let headers = headers(&table.header, MIN_DISK_BYTES / SECTOR_BYTES);
    write(&mut disk, &path, &table, headers).unwrap();
    assert!(matches!(extend(&mut disk, &path), Err(StorageError::ForeignPartition { number: 7, .. })));
}

#[test]
fn guids_are_mixed_endian() {
    let esp = guid_bytes(layout::ESP.type_guid).unwrap();
    assert_eq!(
        esp,
        [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b]
    );
    assert!(layout::PARTITIONS.iter().all(|partition| guid_bytes(partition.type_guid).is_some()));
    assert_eq!(guid_bytes("ca12"), None);
}

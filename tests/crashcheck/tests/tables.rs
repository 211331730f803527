//! The partition table grows at the first boot: backup first, then the primary one, of which a cut leaves a part.

#![allow(missing_docs)]

mod support;

use std::{fs::File, io::Cursor, os::unix::fs::FileExt as _};

use crashcheck::{chain::Fault, recipe::Recipe, region::Region};
use gptman::{GPT, GPTHeader};
use support::{DISK_BYTES, Machine, Small, entry};

const LAST_LBA: u64 = DISK_BYTES / 512 - 1;

/// Which tables are written, in order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Primary,
    Backup,
}

/// What is wrong with the states of a disk whose table grows, its UKI having these words.
fn faults(words: &str, order: &[Which]) -> Vec<(Fault, Recipe)> {
    let mut machine = Machine::flashed(&Small::new("1.0.0", 3, words));
    let mut gpt = GPT::read_from(&mut File::open(machine.base()).unwrap(), 512).unwrap();
    for partition in [layout::STATE, layout::DATA] {
        gpt[partition.number] = entry(&partition, "11111111-2222-3333-4444-555555555555");
    }
    let entries: Vec<_> = gpt.iter().map(|(_, entry)| entry.clone()).collect();
    for which in order {
        // The table at the beginning or at the end of an otherwise empty disk, as it is then written.
        let (own, other, entries_lba, first) = match which {
            Which::Primary => (1, LAST_LBA, 2, 1),
            Which::Backup => (LAST_LBA, 1, LAST_LBA - 32, LAST_LBA - 32),
        };
        let mut header: GPTHeader = gpt.header.clone();
        (header.primary_lba, header.backup_lba, header.partition_entry_lba) = (own, other, entries_lba);
        header.last_usable_lba = LAST_LBA - 33;
        let mut image = Tail { first, bytes: Cursor::new(vec![0; 33 * 512]) };
        header.write_into(&mut image, 512, &entries).unwrap();
        // The cache is written in whole pages.
        let (before, behind) = (first % 8, (8 - (first + 33) % 8) % 8);
        let zeros = |sectors: u64| vec![0; usize::try_from(sectors).unwrap() * 512];
        let mut pages = [zeros(before), image.bytes.into_inner(), zeros(behind)].concat();
        if which == &Which::Primary {
            File::open(machine.base()).unwrap().read_exact_at(&mut pages[..512], 0).unwrap();
        }
        machine.write((first - before) * 512, &pages);
        machine.flush();
    }
    let found = machine.search();
    assert!(found.states.iter().any(|(_, region, _)| *region == Region::Table));
    found.faults().into_iter().collect()
}

/// A window of 33 blocks.
struct Tail {
    first: u64,
    bytes: Cursor<Vec<u8>>,
}

impl std::io::Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl std::io::Seek for Tail {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        let base = self.first * 512;
        let to = match to {
            std::io::SeekFrom::Start(at) => std::io::SeekFrom::Start(at - base),
            other => other,
        };
        self.bytes.seek(to).map(|at| at + base)
    }
}

#[test]
fn backup_first_leaves_no_bad_state_where_the_kernel_reads_it() {
    assert_eq!(faults("gpt", &[Which::Backup, Which::Primary]), []);
}

#[test]
fn a_torn_primary_needs_the_kernel_to_read_the_backup() {
    let found = faults("console=tty0", &[Which::Backup, Which::Primary]);
    assert_eq!(found.iter().map(|(fault, _)| *fault).collect::<Vec<_>>(), [Fault::NeverWhole]);
}

#[test]
fn primary_first_is_found() {
    let found = faults("gpt", &[Which::Primary, Which::Backup]);
    assert_eq!(found.iter().map(|(fault, _)| *fault).collect::<Vec<_>>(), [Fault::NoTable]);
}

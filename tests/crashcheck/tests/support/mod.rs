//! A small disk with real tables, records, UKIs and roots, and a machine that writes to it and is recorded.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs::File,
    io::{self, Seek as _, SeekFrom},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use aws_lc_rs::digest;
use bootstate::{CopyIndex, Medium, RECORD_BYTES, Record, Release, ReleaseVersion, Slot, Uki};
use crashcheck::{
    chain::{Fault, Verdict},
    disk::Disk,
    log::Log,
    recipe::Recipe,
    region::{self, Region},
    search::{Bounds, Search},
};
use gptman::{GPT, GPTPartitionEntry};
use tempfile::TempDir;
use verity::{BLOCK_BYTES, HashTree};

pub const DISK_BYTES: u64 = 8 << 30;
const SECTOR_BYTES: u64 = 512;
const SALT: [u8; 4] = *b"salt";

/// A release of a few blocks.
pub struct Small {
    pub version: &'static str,
    /// Data and tree.
    pub root: Vec<u8>,
    command_line: [String; 2],
}

impl Small {
    /// Data of so many blocks, every one another than that of another version.
    pub fn new(version: &'static str, blocks: u64, words: &str) -> Self {
        let first = version.bytes().map(u64::from).sum::<u64>();
        let data: Vec<Vec<u8>> =
            (0..blocks).map(|n| vec![(first * 31 + n).to_le_bytes()[0] | 1; BLOCK_BYTES]).collect();
        let tree = HashTree::build(data.iter().map(Ok::<_, Infallible>), &SALT).unwrap();
        let command_line = [layout::ROOT_A, layout::ROOT_B].map(|partition| {
            let device = format!("PARTUUID={}", partition.guid.unwrap());
            let (sectors, hash, salt) = (blocks * 8, hex::encode(tree.root), hex::encode(SALT));
            format!(
                "{words} dm-mod.create=\"root,,,ro,0 {sectors} verity 1 {device} {device} 4096 4096 {blocks} {blocks} sha256 {hash} {salt}\""
            )
        });
        Self { version, root: [data.concat(), tree.blocks].concat(), command_line }
    }

    /// The slot's UKI: headers and a command line.
    pub fn uki(&self, slot: Slot) -> Vec<u8> {
        let line = self.command_line[usize::from(slot == Slot::B)].as_bytes();
        let mut pe = vec![0; 0x400];
        let mut put = |at: usize, bytes: &[u8]| pe[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &0x40_u32.to_le_bytes());
        put(0x40, b"PE\0\0\x64\x86\x01\0");
        put(0x54, &240_u16.to_le_bytes());
        let optional = 0x58;
        put(optional, &0x20b_u16.to_le_bytes());
        put(optional + 60, &0x400_u32.to_le_bytes());
        put(optional + 68, &10_u16.to_le_bytes());
        put(optional + 108, &16_u32.to_le_bytes());
        let section = optional + 240;
        put(section, b".cmdline");
        let size = u32::try_from(line.len()).unwrap();
        for (at, value) in [(8, size), (12, 0x1000), (16, size.next_multiple_of(512)), (20, 0x400)] {
            put(section + at, &value.to_le_bytes());
        }
        pe.extend_from_slice(line);
        pe.resize(pe.len().next_multiple_of(512), 0);
        pe
    }

    pub fn release(&self, slot: Slot) -> Release {
        let uki = self.uki(slot);
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest::digest(&digest::SHA256, &uki).as_ref());
        let version = ReleaseVersion::new(self.version).unwrap();
        Release { version, uki: Uki { length_bytes: uki.len() as u64, sha256 } }
    }
}

/// A machine whose writes are recorded.
pub struct Machine {
    folder: TempDir,
    /// What it wrote, as it reads it back.
    now: BTreeMap<u64, [u8; 512]>,
    log: File,
    log_bytes: u64,
    entries: u64,
}

impl Machine {
    /// A flashed disk with this release in slot A.
    pub fn flashed(release: &Small) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut disk =
            File::options().read(true).write(true).create_new(true).open(folder.path().join("base")).unwrap();
        disk.set_len(3 << 30).unwrap();
        write_table(&mut disk);
        let record = Record::new(release.release(Slot::A)).encode();
        for copy in CopyIndex::ALL {
            disk.write_all_at(&record, start(&layout::BOOTSTATE) + copy.offset_bytes()).unwrap();
        }
        disk.write_all_at(&release.uki(Slot::A), start(&layout::BOOT_A)).unwrap();
        disk.write_all_at(&release.root, start(&layout::ROOT_A)).unwrap();
        disk.write_all_at(b"the selector", start(&layout::ESP)).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        Self { folder, now: BTreeMap::new(), log, log_bytes: 512, entries: 0 }
    }

    pub fn base(&self) -> PathBuf {
        self.folder.path().join("base")
    }

    /// Writes whole sectors, as one request.
    pub fn write(&mut self, at_bytes: u64, content: &[u8]) {
        assert!(content.len().is_multiple_of(512) && at_bytes.is_multiple_of(512));
        let sector = at_bytes / SECTOR_BYTES;
        for (sector, content) in (sector..).zip(content.as_chunks().0) {
            self.now.insert(sector, *content);
        }
        self.enter([sector, (content.len() / 512) as u64, 0], content);
    }

    pub fn flush(&mut self) {
        self.enter([0, 0, 1], &[]);
    }

    fn enter(&mut self, words: [u64; 3], data: &[u8]) {
        let mut block: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        block.resize(512, 0);
        block.extend(data);
        self.log.write_all_at(&block, self.log_bytes).unwrap();
        self.log_bytes += block.len() as u64;
        self.entries += 1;
        let head = [0x006a_7366_7773_6872_u64, 1, self.entries, SECTOR_BYTES];
        let head: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.log.write_all_at(&head, 0).unwrap();
    }

    pub fn log(&self) -> Log {
        Log::open(&self.folder.path().join("log")).unwrap()
    }

    pub fn disk(&self) -> Disk {
        Disk::new(&self.base(), DISK_BYTES).unwrap()
    }

    /// Puts a change of the record in force, as a node does.
    pub fn record(&mut self, change: impl FnOnce(&mut Record)) {
        let mut copies = bootstate::load(&mut Records(self));
        let mut next = copies.current().unwrap().clone();
        change(&mut next);
        bootstate::commit(&mut Records(self), &mut copies, next).unwrap();
    }

    /// The slot's UKI and root, in requests of 16 sectors.
    pub fn write_slot(&mut self, slot: Slot, release: &Small) {
        let [boot, root] = match slot {
            Slot::A => [layout::BOOT_A, layout::ROOT_A],
            Slot::B => [layout::BOOT_B, layout::ROOT_B],
        };
        for (partition, content) in [(root, release.root.clone()), (boot, release.uki(slot))] {
            for (n, chunk) in content.chunks(16 * 512).enumerate() {
                self.write(start(&partition) + n as u64 * 16 * 512, chunk);
            }
        }
    }

    /// Every state of what was recorded.
    pub fn search(&self) -> Found {
        let log = self.log();
        let mut search = Search::new(&log, self.disk(), Bounds::DEFAULT, 7);
        let mut found = Found::default();
        search
            .run(0..log.entries().len(), &mut |state| {
                found.states.push((state.recipe, state.region, state.verdict.clone()));
                Ok(())
            })
            .unwrap();
        found
    }
}

/// What a search showed.
#[derive(Default)]
pub struct Found {
    pub states: Vec<(Recipe, Region, Verdict)>,
}

impl Found {
    /// Each kind of fault, and one state with it.
    pub fn faults(&self) -> BTreeMap<Fault, Recipe> {
        self.states.iter().filter_map(|(recipe, _, verdict)| Some((verdict.fault?, *recipe))).collect()
    }
}

struct Records<'a>(&'a mut Machine);

impl Medium for Records<'_> {
    type Error = io::Error;

    fn read(&mut self, offset_bytes: u64) -> io::Result<[u8; RECORD_BYTES]> {
        let at = start(&layout::BOOTSTATE) + offset_bytes;
        if let Some(block) = self.0.now.get(&(at / SECTOR_BYTES)) {
            return Ok(*block);
        }
        let mut block = [0; RECORD_BYTES];
        File::open(self.0.base())?.read_exact_at(&mut block, at)?;
        Ok(block)
    }

    fn write(&mut self, offset_bytes: u64, block: &[u8; RECORD_BYTES]) -> io::Result<()> {
        self.0.write(start(&layout::BOOTSTATE) + offset_bytes, block);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush();
        Ok(())
    }
}

pub fn start(partition: &layout::Partition) -> u64 {
    sectors(partition).start * SECTOR_BYTES
}

fn sectors(partition: &layout::Partition) -> Range<u64> {
    region::range(partition, DISK_BYTES / SECTOR_BYTES)
}

fn write_table(disk: &mut File) {
    let mut gpt = GPT::new_from(disk, SECTOR_BYTES, [7; 16]).unwrap();
    for partition in layout::PARTITIONS.iter().filter(|partition| partition.guid.is_some()) {
        gpt[partition.number] = entry(partition, partition.guid.unwrap());
    }
    gpt.write_into(disk).unwrap();
    disk.seek(SeekFrom::Start(0)).unwrap();
}

pub fn entry(partition: &layout::Partition, unique: &str) -> GPTPartitionEntry {
    let range = sectors(partition);
    GPTPartitionEntry {
        partition_type_guid: guid(partition.type_guid),
        unique_partition_guid: guid(unique),
        starting_lba: range.start,
        ending_lba: range.end - 1,
        attribute_bits: 0,
        partition_name: partition.name.into(),
    }
}

pub fn guid(text: &str) -> [u8; 16] {
    let mut guid: [u8; 16] = hex::decode(text.replace('-', "")).unwrap().try_into().unwrap();
    guid[0..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    guid
}

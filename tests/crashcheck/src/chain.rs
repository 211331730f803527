//! From power-on to a verified root, without starting anything.
//!
//! 1. The partition table is intact enough for the selector, and the selector's file system is as it was flashed.
//! 2. The selector's own code decides on both copies of the record and on the UKIs that really lie there.
//! 3. The UKI's command line names a root, and every block of it verifies.
//! 4. A slot on trial, and one whose root does not verify, is presumed never to come up: the walk goes on with what the
//!    selector does next, until a slot that is not on trial is whole.
//! 5. A node that was provisioned finds its STATE.

use std::{collections::HashMap, fmt, io, ops::Range};

use anyhow::Result;
use aws_lc_rs::digest;
use bootstate::{
    BOOTS_MAX, BootFlags, DiskId, Medium, PE_HEADERS_MAX_BYTES, RECORD_BYTES, Record, Recording, Sha256,
    Slot, TRIAL_TRIES, Uki, Ukis,
};

use crate::{
    SECTOR_BYTES,
    disk::{Disk, Print},
    region::Region,
    root::RootView,
    table::Tables,
    uki::Root,
};

/// Starts after which a walk has seen everything: all tries of a trial, then both slots up to their limit, twice.
const STARTS_MAX: usize = TRIAL_TRIES as usize + 4 * BOOTS_MAX as usize;
/// Where ext4 keeps its magic number, in its partition.
const EXT4_MAGIC_BYTES: u64 = 1024 + 56;
const EXT4_MAGIC: [u8; 2] = 0xEF53_u16.to_le_bytes();
/// What the selector draws at random where there is none.
const SOME_DISK_ID: DiskId = DiskId([0x5e; 16]);

/// One start of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Start {
    /// The slot that is started.
    pub slot: Slot,
    /// How it came to be chosen.
    pub flags: BootFlags,
    /// Whether every block of its root verifies.
    pub is_whole: bool,
}

/// What is wrong with a disk state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// Neither table can be used.
    NoTable,
    /// The selector's file system is not as it was flashed.
    SelectorTouched,
    /// The selector finds nothing to start.
    NothingStarts,
    /// It starts slots for ever, none of them whole.
    NeverWhole,
    /// A slot boots, but first one was chosen that is not whole: its record was there before its data.
    SlotNotWhole,
    /// A slot boots, but both records are lost, and with them what they must not forget.
    RecordsLost,
    /// A slot boots, but the node was provisioned and has no STATE.
    StateLost,
}

impl Fault {
    /// Whether no slot comes up at all.
    pub const fn is_unbootable(self) -> bool {
        matches!(self, Self::NoTable | Self::SelectorTouched | Self::NothingStarts | Self::NeverWhole)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoTable => "no partition table",
            Self::SelectorTouched => "the selector's file system was written to",
            Self::NothingStarts => "nothing to start",
            Self::NeverWhole => "no slot with a whole root",
            Self::SlotNotWhole => "a slot is started that is not whole",
            Self::RecordsLost => "both boot records are lost",
            Self::StateLost => "a provisioned node without STATE",
        })
    }
}

/// What becomes of a disk state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The starts up to the first that is sure to stay.
    pub starts: Vec<Start>,
    /// What is wrong, the worst first.
    pub fault: Option<Fault>,
    /// Whether the record says that the node was provisioned.
    pub is_provisioned: bool,
}

/// Judges the states of one disk. What was worked out for one state serves all others with the same content.
#[derive(Debug, Default)]
pub struct Chain {
    tables: HashMap<Print, Tables>,
    verdicts: HashMap<[Print; 6], Verdict>,
    digests: HashMap<(Slot, Print, u64), Sha256>,
    roots: HashMap<Sha256, Option<Root>>,
    views: HashMap<(Sha256, Range<u64>), Option<RootView>>,
}

impl Chain {
    /// Judges the disk as it is.
    pub fn judge(&mut self, disk: &Disk) -> Result<Verdict> {
        let key =
            [Region::Table, Region::BootState, Region::BootA, Region::RootA, Region::BootB, Region::RootB]
                .map(|region| disk.print(region));
        let mut verdict = match self.verdicts.get(&key) {
            Some(known) => known.clone(),
            None => {
                let verdict = self.walk(disk)?;
                self.verdicts.insert(key, verdict.clone());
                verdict
            }
        };
        if disk.print(Region::Esp) != 0 {
            verdict.fault = Some(Fault::SelectorTouched);
        }
        if verdict.fault.is_none() && verdict.is_provisioned && !self.has_state(disk)? {
            verdict.fault = Some(Fault::StateLost);
        }
        Ok(verdict)
    }

    fn walk(&mut self, disk: &Disk) -> Result<Verdict> {
        let mut verdict = Verdict { fault: Some(Fault::NoTable), ..Verdict::default() };
        let tables = self.tables(disk);
        let Some(mut records) =
            tables.find(&layout::BOOTSTATE).map(|range| Records::read(disk, &range)).transpose()?
        else {
            return Ok(verdict);
        };
        if tables.find(&layout::ESP).is_none() {
            return Ok(verdict);
        }
        let mut copies = bootstate::load(&mut records);
        verdict.is_provisioned = copies.current().is_none_or(Record::is_provisioned);
        for _ in 0..STARTS_MAX {
            let mut slots = Slots { chain: self, disk, error: None };
            let plan = bootstate::choose(&copies, &mut slots, Recording::Possible);
            if let Some(error) = slots.error {
                return Err(error.into());
            }
            let Some(mut plan) = plan else {
                verdict.fault = Some(Fault::NothingStarts);
                return Ok(verdict);
            };
            plan.record.set_disk_id(SOME_DISK_ID);
            bootstate::commit(&mut records, &mut copies, plan.record)?;
            let start = Start {
                slot: plan.slot,
                flags: plan.flags,
                is_whole: self.is_whole(disk, plan.slot, &plan.uki)?,
            };
            verdict.starts.push(start);
            if start.is_whole && !start.flags.contains(BootFlags::TRIAL) {
                verdict.fault = fault_on_the_way(&verdict.starts);
                return Ok(verdict);
            }
        }
        verdict.fault = Some(Fault::NeverWhole);
        Ok(verdict)
    }

    fn tables(&mut self, disk: &Disk) -> &Tables {
        self.tables.entry(disk.print(Region::Table)).or_insert_with(|| Tables::read(disk))
    }

    fn has_state(&mut self, disk: &Disk) -> Result<bool> {
        let Some(state) = self.tables(disk).find(&layout::STATE) else { return Ok(false) };
        let sector = disk.sector(state.start + EXT4_MAGIC_BYTES / SECTOR_BYTES)?;
        Ok(sector[usize::try_from(EXT4_MAGIC_BYTES % SECTOR_BYTES)?..].starts_with(&EXT4_MAGIC))
    }

    /// Whether every block of the root that the UKI names verifies.
    fn is_whole(&mut self, disk: &Disk, slot: Slot, uki: &Uki) -> Result<bool> {
        if !self.roots.contains_key(&uki.sha256) {
            let bytes = self.uki_bytes(disk, slot, uki.length_bytes)?;
            self.roots.insert(uki.sha256, bytes.and_then(|bytes| Root::of(&bytes).ok()));
        }
        let Some(root) = self.roots.get(&uki.sha256).cloned().flatten() else { return Ok(false) };
        let found = self.tables(disk).find_by_guid(&root.partition, root.uses_backup_table);
        let Some(partition) = found else { return Ok(false) };
        let key = (uki.sha256, partition.clone());
        if !self.views.contains_key(&key) {
            self.views.insert(key.clone(), RootView::new(disk, &root, &partition)?);
        }
        match self.views.get_mut(&key) {
            Some(Some(view)) => Ok(view.is_whole(disk)?),
            Some(None) | None => Ok(false),
        }
    }

    fn uki(&mut self, disk: &Disk, slot: Slot, length_bytes: u64) -> io::Result<Option<Uki>> {
        let key = (slot, disk.print(Region::boot(slot)), length_bytes);
        if let Some(sha256) = self.digests.get(&key) {
            return Ok(Some(Uki { length_bytes, sha256: *sha256 }));
        }
        let Some(bytes) = self.uki_bytes(disk, slot, length_bytes)? else { return Ok(None) };
        let mut sha256 = Sha256::default();
        sha256.copy_from_slice(digest::digest(&digest::SHA256, &bytes).as_ref());
        self.digests.insert(key, sha256);
        Ok(Some(Uki { length_bytes, sha256 }))
    }

    /// So many bytes from the beginning of the slot's BOOT partition, if it has them.
    fn uki_bytes(&mut self, disk: &Disk, slot: Slot, length_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let partition = match slot {
            Slot::A => &layout::BOOT_A,
            Slot::B => &layout::BOOT_B,
        };
        let Some(range) = self.tables(disk).find(partition) else { return Ok(None) };
        if length_bytes == 0 || length_bytes > (range.end - range.start) * SECTOR_BYTES {
            return Ok(None);
        }
        let length = usize::try_from(length_bytes).map_err(io::Error::other)?;
        let mut bytes = vec![0; length.next_multiple_of(SECTOR_BYTES as usize)];
        disk.read(range.start, &mut bytes)?;
        bytes.truncate(length);
        Ok(Some(bytes))
    }
}

/// A slot comes up; whether something was lost before.
fn fault_on_the_way(starts: &[Start]) -> Option<Fault> {
    let flagged = |flag| starts.iter().any(|start| start.flags.contains(flag));
    if flagged(BootFlags::STATE_REBUILT) {
        Some(Fault::RecordsLost)
    } else if flagged(BootFlags::FELL_BACK) || starts.iter().any(|start| !start.is_whole) {
        Some(Fault::SlotNotWhole)
    } else {
        None
    }
}

/// The BOOT partitions of a disk.
struct Slots<'a> {
    chain: &'a mut Chain,
    disk: &'a Disk,
    error: Option<io::Error>,
}

impl Slots<'_> {
    fn uki(&mut self, slot: Slot, length_bytes: u64) -> Option<Uki> {
        self.chain.uki(self.disk, slot, length_bytes).unwrap_or_else(|error| {
            self.error = Some(error);
            None
        })
    }
}

impl Ukis for Slots<'_> {
    fn holds(&mut self, slot: Slot, uki: &Uki) -> bool {
        self.uki(slot, uki.length_bytes).as_ref() == Some(uki)
    }

    fn discover(&mut self, slot: Slot) -> Option<Uki> {
        let headers = self.chain.uki_bytes(self.disk, slot, PE_HEADERS_MAX_BYTES as u64).ok().flatten()?;
        self.uki(slot, bootstate::pe_length_bytes(&headers)?)
    }
}

/// Both records, in memory: the walk's own starts are recorded there.
struct Records(PerCopy);

type PerCopy = [(u64, [u8; RECORD_BYTES]); 2];

impl Records {
    fn read(disk: &Disk, partition: &Range<u64>) -> io::Result<Self> {
        let read = |offset_bytes: u64| {
            disk.sector(partition.start + offset_bytes / SECTOR_BYTES).map(|block| (offset_bytes, block))
        };
        let [first, second] = layout::BOOTSTATE_RECORD_OFFSETS_BYTES;
        Ok(Self([read(first)?, read(second)?]))
    }

    fn block(&mut self, offset_bytes: u64) -> io::Result<&mut [u8; RECORD_BYTES]> {
        let found = self.0.iter_mut().find(|(offset, _)| *offset == offset_bytes);
        found.map(|(_, block)| block).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Medium for Records {
    type Error = io::Error;

    fn read(&mut self, offset_bytes: u64) -> io::Result<[u8; RECORD_BYTES]> {
        self.block(offset_bytes).copied()
    }

    fn write(&mut self, offset_bytes: u64, block: &[u8; RECORD_BYTES]) -> io::Result<()> {
        *self.block(offset_bytes)? = *block;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

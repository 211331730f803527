//! What a sector of a Cairn disk belongs to.

use std::ops::Range;

use bootstate::Slot;
use layout::{FIRST_PARTITION_BYTES, PARTITIONS, Partition};

use crate::SECTOR_BYTES;

/// Sectors of the backup partition table: its header and 128 entries of 128 bytes.
const BACKUP_TABLE_SECTORS: u64 = 33;

/// A part of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Region {
    /// Primary or backup partition table.
    Table,
    /// The selector's file system, without the seed.
    Esp,
    /// The seed in the ESP: not read once the node is provisioned, and wiped by it.
    Seed,
    /// Records and mirror.
    BootState,
    /// Slot A's UKI.
    BootA,
    /// Slot A's root.
    RootA,
    /// Slot B's UKI.
    BootB,
    /// Slot B's root.
    RootB,
    /// STATE.
    State,
    /// DATA.
    Data,
}

impl Region {
    /// All, in the order of their names here.
    pub const ALL: [Self; 10] = [
        Self::Table,
        Self::Esp,
        Self::Seed,
        Self::BootState,
        Self::BootA,
        Self::RootA,
        Self::BootB,
        Self::RootB,
        Self::State,
        Self::Data,
    ];

    /// Whether its content decides how the node starts, so that every write to it makes another state.
    pub const fn is_modelled(self) -> bool {
        !matches!(self, Self::Seed | Self::Data)
    }

    /// The region of a slot's UKI.
    pub const fn boot(slot: Slot) -> Self {
        match slot {
            Slot::A => Self::BootA,
            Slot::B => Self::BootB,
        }
    }

    /// As in tables and recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "GPT",
            Self::Esp => "ESP",
            Self::Seed => "seed",
            Self::BootState => "BOOTSTATE",
            Self::BootA => "BOOT-A",
            Self::RootA => "ROOT-A",
            Self::BootB => "BOOT-B",
            Self::RootB => "ROOT-B",
            Self::State => "STATE",
            Self::Data => "DATA",
        }
    }
}

/// Where the regions of one disk lie.
#[derive(Clone, Debug)]
pub struct Map {
    /// Sectors of the disk.
    pub sectors: u64,
    seed: Range<u64>,
    partitions: [(Range<u64>, Region); 8],
}

impl Map {
    /// Of a disk with so many sectors, the seed at these, if it has one.
    pub fn new(sectors: u64, seed: Range<u64>) -> Self {
        let partitions = [
            (layout::ESP, Region::Esp),
            (layout::BOOTSTATE, Region::BootState),
            (layout::BOOT_A, Region::BootA),
            (layout::ROOT_A, Region::RootA),
            (layout::BOOT_B, Region::BootB),
            (layout::ROOT_B, Region::RootB),
            (layout::STATE, Region::State),
            (layout::DATA, Region::Data),
        ];
        Self { sectors, seed, partitions: partitions.map(|(one, region)| (range(&one, sectors), region)) }
    }

    /// The region of a sector. What lies in no partition belongs to the table.
    pub fn region(&self, sector: u64) -> Region {
        if self.seed.contains(&sector) {
            return Region::Seed;
        }
        let found = self.partitions.iter().find(|(range, _)| range.contains(&sector));
        found.map_or(Region::Table, |(_, region)| *region)
    }
}

/// The sectors of a partition on a disk with so many.
pub fn range(wanted: &Partition, sectors: u64) -> Range<u64> {
    let before = PARTITIONS.iter().take_while(|partition| partition.number != wanted.number);
    let start = before.filter_map(|partition| partition.size_bytes).sum::<u64>() + FIRST_PARTITION_BYTES;
    let end = wanted.size_bytes.map_or(sectors - BACKUP_TABLE_SECTORS, |size| (start + size) / SECTOR_BYTES);
    start / SECTOR_BYTES..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_region() {
        let map = Map::new(16 << 20, 40_000..40_010);
        let of = |sector| map.region(sector);
        assert_eq!([0, 1, 33, (16 << 20) - 1, (16 << 20) - 33].map(of), [Region::Table; 5]);
        assert_eq!([32_768, 39_999, 40_010].map(of), [Region::Esp; 3]);
        assert_eq!(of(40_009), Region::Seed);
        let regions = [
            Region::Esp,
            Region::BootState,
            Region::BootA,
            Region::RootA,
            Region::BootB,
            Region::RootB,
            Region::State,
            Region::Data,
        ];
        for (partition, region) in PARTITIONS.iter().zip(regions) {
            let range = range(partition, map.sectors);
            assert_eq!((of(range.start), of(range.end - 1)), (region, region), "{}", partition.name);
        }
    }
}

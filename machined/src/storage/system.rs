//! The disk that the running root lies on, and its partitions as the kernel knows them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use layout::{MIB, SECTOR_BYTES};

use super::StorageError;

pub(super) const ROOT_SLAVES: &str = "/sys/block/dm-0/slaves";
pub(super) const BLOCK_CLASS: &str = "/sys/class/block";
/// sysfs counts in these, whatever the disk's sectors are.
const SYSFS_SECTOR_BYTES: u64 = 512;

/// The disk that the root lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemDisk {
    /// Device node, such as `/dev/vda`.
    pub device: PathBuf,
    /// The kernel's name, such as `vda`.
    pub name: String,
    /// Capacity.
    pub size_bytes: u64,
    pub(super) sysfs: PathBuf,
}

/// Where a partition lies on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first_lba: u64,
    pub(super) sectors: u64,
}

impl Extent {
    /// Bytes between two starts that suit flash and RAID alike.
    pub(super) const ALIGNMENT_SECTORS: u64 = MIB / SECTOR_BYTES;

    pub(super) const fn start_bytes(self) -> u64 {
        self.first_lba * SECTOR_BYTES
    }

    pub(super) const fn size_bytes(self) -> u64 {
        self.sectors * SECTOR_BYTES
    }
}

/// Finds the disk that dm-0 lies on. Disks with other than 512-byte logical sectors are refused.
pub fn find_system_disk() -> Result<SystemDisk, StorageError> {
    let slaves = Path::new(ROOT_SLAVES);
    let found = fs::read_dir(slaves).and_then(|mut entries| {
        let slave = entries.next().ok_or(io::ErrorKind::NotFound)??;
        fs::canonicalize(Path::new(BLOCK_CLASS).join(slave.file_name()))
    });
    let partition = found.map_err(|source| StorageError::SystemDisk { path: slaves.to_owned(), source })?;
    SystemDisk::open(disk_of(&partition))
}

/// The disk of a partition; a disk itself is its own.
pub(super) fn disk_of(sysfs: &Path) -> &Path {
    match sysfs.parent() {
        Some(disk) if sysfs.join("partition").exists() => disk,
        Some(_) | None => sysfs,
    }
}

impl SystemDisk {
    /// Takes the disk with this directory in sysfs.
    pub(super) fn open(sysfs: &Path) -> Result<Self, StorageError> {
        let failed = |source| StorageError::SystemDisk { path: sysfs.to_owned(), source };
        let name = sysfs.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidData);
        let name = name.map_err(|kind| failed(kind.into()))?.to_owned();
        let device = Path::new("/dev").join(&name);
        let has = number(&sysfs.join("queue/logical_block_size")).map_err(failed)?;
        if has != SECTOR_BYTES {
            return Err(StorageError::SectorSize { device, has });
        }
        let size_bytes = number(&sysfs.join("size")).map_err(failed)? * SYSFS_SECTOR_BYTES;
        Ok(Self { device, name, size_bytes, sysfs: sysfs.to_owned() })
    }

    /// The device of one of the image's partitions, told by number and name on this disk only.
    pub(super) fn image_partition(&self, wanted: &layout::Partition) -> Result<PathBuf, StorageError> {
        let missing = || StorageError::NoPartition { device: self.device.clone(), name: wanted.name };
        let sysfs = named_partition(&self.sysfs, wanted).ok_or_else(missing)?;
        device_node(&sysfs).ok_or_else(missing)
    }

    /// Device and extent of a partition as the kernel has it. The name is not looked at: the kernel has none for
    /// partitions that it was told of while it ran.
    pub(super) fn kernel_partition(&self, number_wanted: u32) -> Option<(PathBuf, Extent)> {
        let sysfs = partition(&self.sysfs, number_wanted)?;
        let first_lba = number(&sysfs.join("start")).ok()?;
        let sectors = number(&sysfs.join("size")).ok()?;
        Some((device_node(&sysfs)?, Extent { first_lba, sectors }))
    }

    /// Whether the block device with this directory in sysfs is the disk or lies on it.
    pub(super) fn holds(&self, sysfs: &Path) -> bool {
        disk_of(sysfs) == self.sysfs
    }
}

/// Whether a disk, by its directory in sysfs, was made from a Cairn image. An installer medium has no slot B.
pub(super) fn has_image(disk: &Path) -> bool {
    [layout::BOOTSTATE, layout::ROOT_B].iter().all(|wanted| named_partition(disk, wanted).is_some())
}

fn named_partition(disk: &Path, wanted: &layout::Partition) -> Option<PathBuf> {
    let sysfs = partition(disk, wanted.number)?;
    let uevent = fs::read_to_string(sysfs.join("uevent")).unwrap_or_default();
    let name = uevent.lines().find_map(|line| line.strip_prefix("PARTNAME="));
    (name == Some(wanted.name)).then_some(sysfs)
}

fn partition(disk: &Path, wanted: u32) -> Option<PathBuf> {
    let entries = fs::read_dir(disk).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| number(&path.join("partition")).is_ok_and(|number| number == u64::from(wanted)))
}

fn device_node(sysfs: &Path) -> Option<PathBuf> {
    Some(Path::new("/dev").join(sysfs.file_name()?))
}

/// A decimal number in a file of sysfs.
pub(super) fn number(path: &Path) -> io::Result<u64> {
    fs::read_to_string(path)?.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::Scratch;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn nvme(scratch: &Scratch, sector_bytes: &str) -> PathBuf {
        let disk = scratch.path().join("nvme0n1");
        write(&disk.join("queue/logical_block_size"), sector_bytes);
        write(&disk.join("size"), "8388608\n");
        write(&disk.join("nvme0n1p2/partition"), "2\n");
        write(&disk.join("nvme0n1p2/start"), "163840\n");
        write(&disk.join("nvme0n1p2/size"), "16384\n");
        write(&disk.join("nvme0n1p2/uevent"), "DEVTYPE=partition\nPARTN=2\nPARTNAME=BOOTSTATE\n");
        disk
    }

    #[test]
    fn partitions_are_told_by_number_and_name() {
        let scratch = Scratch::new("sysfs");
        let sysfs = nvme(&scratch, "512\n");
        let disk = SystemDisk::open(disk_of(&sysfs.join("nvme0n1p2"))).unwrap();
        assert_eq!(disk.device, Path::new("/dev/nvme0n1"));
        assert_eq!(disk.size_bytes, 4 << 30);
        assert_eq!(disk.image_partition(&layout::BOOTSTATE).unwrap(), Path::new("/dev/nvme0n1p2"));
        assert!(disk.image_partition(&layout::ESP).is_err());
        assert!(!has_image(&sysfs), "an installer medium is no clone");
        write(&sysfs.join("nvme0n1p6/partition"), "6\n");
        write(&sysfs.join("nvme0n1p6/uevent"), "PARTN=6\nPARTNAME=ROOT-B\n");
        assert!(has_image(&sysfs) && !has_image(scratch.path()));
        let extent = Extent { first_lba: 163_840, sectors: 16_384 };
        assert_eq!(disk.kernel_partition(2), Some(("/dev/nvme0n1p2".into(), extent)));
        assert!(disk.holds(&sysfs.join("nvme0n1p2")) && !disk.holds(scratch.path()));
        write(&sysfs.join("nvme0n1p2/uevent"), "PARTN=2\nPARTNAME=BOOTSTATE-OLD\n");
        assert!(disk.image_partition(&layout::BOOTSTATE).is_err());
    }

    #[test]
    fn large_sectors_are_refused() {
        let scratch = Scratch::new("sectors");
        let error = SystemDisk::open(&nvme(&scratch, "4096\n")).unwrap_err();
        assert!(matches!(error, StorageError::SectorSize { has: 4096, .. }));
    }
}

//! What can go wrong with disks: what failed, where, and what to do.

use std::io;
use std::path::PathBuf;

use bootstate::{CommitError, TransitionError};

/// Why an operation on the node's disks failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No dm-0, or nothing that it lies on.
    #[error("cannot find the system disk: {path} does not lead to a disk; boot an image whose root is dm-verity", path = path.display())]
    SystemDisk {
        /// In sysfs.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The partition table counts in 512-byte sectors.
    #[error("{device} has logical sectors of {has} bytes; use a disk with sectors of {} bytes", layout::SECTOR_BYTES, device = device.display())]
    SectorSize {
        /// The disk.
        device: PathBuf,
        /// Its sectors' size.
        has: u64,
    },
    /// There is no room for STATE and DATA.
    #[error("{} is too small: it has {} MiB, Cairn needs {}; use a larger disk", device.display(), has / layout::MIB, needed.div_ceil(layout::MIB))]
    DiskTooSmall {
        /// The disk.
        device: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        has: u64,
    },
    /// Opening a disk, a partition or a variable.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Reading from it.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Writing to it, or making that last.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Neither the primary nor the backup partition table can be used.
    #[error("the partition table of {} cannot be read; flash the disk anew", device.display())]
    TableRead {
        /// The disk.
        device: PathBuf,
        /// Why.
        #[source]
        source: gptman::Error,
    },
    /// The new table cannot be encoded.
    #[error("the partition table of {} cannot be extended", device.display())]
    TableWrite {
        /// The disk.
        device: PathBuf,
        /// Why.
        #[source]
        source: gptman::Error,
    },
    /// The table holds something else where STATE or DATA belong.
    #[error("partition {number} of {} is not {name}; flash the disk anew", device.display())]
    ForeignPartition {
        /// The disk.
        device: PathBuf,
        /// In its table.
        number: u32,
        /// The partition that belongs there.
        name: &'static str,
    },
    /// Something lies between the image's partitions and the end of the disk.
    #[error("{} has no room for {name}: its partition table holds partitions that are not Cairn's; flash the disk anew", device.display())]
    NoRoom {
        /// The disk.
        device: PathBuf,
        /// The partition that lacks room.
        name: &'static str,
    },
    /// The kernel refuses a partition.
    #[error("the kernel does not take partition {number} of {}; reboot to have the table read anew", device.display())]
    TellKernel {
        /// The disk.
        device: PathBuf,
        /// The partition.
        number: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A partition of the image is missing.
    #[error("{} has no partition {name}; flash the disk anew", device.display())]
    NoPartition {
        /// The disk.
        device: PathBuf,
        /// The partition.
        name: &'static str,
    },
    /// No random number for a partition's GUID.
    #[error("the kernel gives no random numbers")]
    Random(#[source] io::Error),
    /// Another process keeps the lock.
    #[error("cannot lock BOOTSTATE")]
    Lock(#[source] io::Error),
    /// Neither copy of the boot record is intact.
    #[error(
        "both copies of the boot record are damaged; nothing was changed: reboot, the selector writes them anew"
    )]
    BootRecordDamaged,
    /// The selector came from another disk than the root.
    #[error(
        "the root lies on another disk than the one that was started from; nothing was written: unplug the clone"
    )]
    OtherDisk,
    /// The boot record does not allow it.
    #[error("the boot record does not allow that")]
    BootRecordTransition(#[source] TransitionError),
    /// The boot record is not in force.
    #[error("cannot put the boot record in force")]
    BootRecordCommit(#[source] CommitError<io::Error>),
    /// An EFI variable that is not the selector's.
    #[error("the EFI variable {name} is not as the selector leaves it; it is not used")]
    EfiVariable {
        /// Its name.
        name: &'static str,
    },
    /// A program could not be run.
    #[error("cannot run {program}")]
    Run {
        /// Which.
        program: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No file system could be made.
    #[error("cannot make a file system on {}: mkfs.ext4 says: {output}", device.display())]
    Format {
        /// The partition.
        device: PathBuf,
        /// What mkfs said.
        output: String,
    },
    /// STATE of a provisioned node cannot be used.
    #[error(
        "STATE is damaged ({detail}); nothing was formatted: save {} if its content matters, then flash the disk \
         anew and apply the configuration again",
        device.display()
    )]
    StateDamaged {
        /// The partition, or the disk that lacks it.
        device: PathBuf,
        /// What was found.
        detail: String,
    },
    /// DATA of a provisioned node cannot be used.
    #[error(
        "DATA is damaged ({detail}); nothing was formatted: save {} if its content matters, then flash the disk \
         anew and apply the configuration again",
        device.display()
    )]
    DataDamaged {
        /// The partition, or the disk that lacks it.
        device: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The kernel refuses the mount.
    #[error("cannot mount {} on {}", device.display(), target.display())]
    Mount {
        /// The partition.
        device: PathBuf,
        /// Where.
        target: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory of /var.
    #[error("cannot make the directory {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A link of /var.
    #[error("cannot make the link {}", path.display())]
    Link {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file keeps its old content.
    #[error("cannot replace {}; its old content stays", path.display())]
    Replace {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was flashed with the disk cannot be read.
    #[error("the seed on {} cannot be used", device.display())]
    Seed {
        /// The ESP.
        device: PathBuf,
        /// Cause.
        #[source]
        source: flash::seed::SeedError,
    },
}

//! `init bootstate-status` and `init bootstate-alive`: helpers that read and write BOOTSTATE on the disk that the
//! root file system lies on.
//!
//! Processes of their own, because disks may block. They answer on stdout and complain to the kernel's log.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bootstate::{BootReport, CommitError, Medium, RECORD_BYTES, Record, Slot, SlotState, commit, load};

use crate::kmsg;

/// What the root lies on.
const ROOT_SLAVES: &str = "/sys/block/dm-0/slaves";
const BLOCK_CLASS: &str = "/sys/class/block";
const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";
/// Attributes that efivarfs puts before a variable's content.
const EFI_ATTRIBUTES_BYTES: usize = 4;

/// What PID 1 wants to know of this boot's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// It has yet to be confirmed.
    pub on_trial: bool,
    /// Starts since it last came alive.
    pub boots_since_alive: u8,
}

/// Why BOOTSTATE could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum BootRecordError {
    /// No dm-0, or nothing below it.
    #[error("cannot find the root's disk in {ROOT_SLAVES}")]
    RootDisk(#[source] io::Error),
    /// The disk has no such partition.
    #[error("{} has no partition {}", disk.display(), layout::BOOTSTATE.name)]
    NoPartition {
        /// In sysfs.
        disk: PathBuf,
    },
    /// The device.
    #[error("cannot open {}", device.display())]
    Open {
        /// Its path.
        device: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Another process keeps the lock.
    #[error("cannot lock BOOTSTATE")]
    Lock(#[source] io::Error),
    /// Neither copy is intact.
    #[error("both records are damaged")]
    Damaged,
    /// The selector came from another disk than the root.
    #[error("the root lies on another disk than the one that was started from")]
    OtherDisk,
    /// Neither the selector nor the root's partition tells.
    #[error("cannot tell which slot runs")]
    UnknownSlot,
    /// The new record is not in force.
    #[error("cannot put the record in force")]
    Commit(#[source] CommitError<io::Error>),
    /// PID 1 does not listen.
    #[error("cannot answer")]
    Answer(#[source] io::Error),
}

impl Status {
    /// Reads [`Status`]'s text.
    pub fn parse(text: &str) -> Option<Self> {
        let (trial, boots) = text.trim_end().split_once(' ')?;
        Some(Self {
            on_trial: trial.strip_prefix("trial=")?.parse().ok()?,
            boots_since_alive: boots.strip_prefix("boots-since-alive=")?.parse().ok()?,
        })
    }

    fn of(record: &Record, running: Slot) -> Self {
        let slot = record.slot(running);
        Self {
            on_trial: matches!(slot.state(), SlotState::Trial { .. }),
            boots_since_alive: slot.boots_since_alive(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trial={} boots-since-alive={}", self.on_trial, self.boots_since_alive)
    }
}

/// Prints this boot's [`Status`].
pub fn print_status() -> Result<(), BootRecordError> {
    let root = RootPartition::find()?;
    let mut partition = Partition::open(&root.bootstate()?)?;
    let copies = load(&mut partition);
    let record = copies.current().ok_or(BootRecordError::Damaged)?;
    let running = running_slot(&root)?;
    let mut stdout = io::stdout().lock();
    io::Write::write_fmt(&mut stdout, format_args!("{}\n", Status::of(record, running)))
        .map_err(BootRecordError::Answer)
}

/// Records that the running slot came alive.
pub fn mark_alive() -> Result<(), BootRecordError> {
    let root = RootPartition::find()?;
    let mut partition = Partition::open(&root.bootstate()?)?;
    let mut copies = load(&mut partition);
    let mut next = copies.current().ok_or(BootRecordError::Damaged)?.clone();
    if disk_id_of_boot().is_some_and(|id| !next.disk_id().is_unset() && id != next.disk_id().0) {
        return Err(BootRecordError::OtherDisk);
    }
    next.mark_alive(running_slot(&root)?);
    if copies.current() != Some(&next) || copies.is_damaged() {
        commit(&mut partition, &mut copies, next).map_err(BootRecordError::Commit)?;
    }
    kmsg::notice!("this boot is alive");
    Ok(())
}

/// The partition below dm-0, in sysfs.
struct RootPartition {
    directory: PathBuf,
}

impl RootPartition {
    fn find() -> Result<Self, BootRecordError> {
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        let mut slaves = fs::read_dir(ROOT_SLAVES).map_err(BootRecordError::RootDisk)?;
        let slave = slaves.next().ok_or_else(absent).flatten().map_err(BootRecordError::RootDisk)?;
        let link = Path::new(BLOCK_CLASS).join(slave.file_name());
        let directory = fs::canonicalize(link).map_err(BootRecordError::RootDisk)?;
        Ok(Self { directory })
    }

    /// The device of the BOOTSTATE partition beside it.
    fn bootstate(&self) -> Result<PathBuf, BootRecordError> {
        let disk = self.directory.parent().unwrap_or(Path::new(BLOCK_CLASS));
        let entries = fs::read_dir(disk).map_err(BootRecordError::RootDisk)?;
        for entry in entries.flatten() {
            let uevent = fs::read_to_string(entry.path().join("uevent")).unwrap_or_default();
            if is_partition(&uevent, &layout::BOOTSTATE) {
                return Ok(Path::new("/dev").join(entry.file_name()));
            }
        }
        Err(BootRecordError::NoPartition { disk: disk.to_owned() })
    }

    fn slot(&self) -> Option<Slot> {
        let uevent = fs::read_to_string(self.directory.join("uevent")).ok()?;
        [(layout::ROOT_A, Slot::A), (layout::ROOT_B, Slot::B)]
            .into_iter()
            .find(|(partition, _)| is_partition(&uevent, partition))
            .map(|(_, slot)| slot)
    }
}

fn is_partition(uevent: &str, partition: &layout::Partition) -> bool {
    let number = format!("PARTN={}", partition.number);
    let name = format!("PARTNAME={}", partition.name);
    uevent.lines().any(|line| line == number) && uevent.lines().any(|line| line == name)
}

/// As the selector says, or else as the root's partition tells.
fn running_slot(root: &RootPartition) -> Result<Slot, BootRecordError> {
    efi_variable(layout::EFI_VARIABLE_BOOT)
        .and_then(|content| BootReport::decode(&content))
        .map(|report| report.slot)
        .or_else(|| root.slot())
        .ok_or(BootRecordError::UnknownSlot)
}

fn disk_id_of_boot() -> Option<[u8; 16]> {
    efi_variable(layout::EFI_VARIABLE_DISK_ID)?.try_into().ok()
}

fn efi_variable(name: &str) -> Option<Vec<u8>> {
    let path = format!("{EFI_VARIABLES}/{name}-{}", layout::EFI_VENDOR_GUID);
    Some(fs::read(path).ok()?.get(EFI_ATTRIBUTES_BYTES..)?.to_vec())
}

/// BOOTSTATE, read and written past the page cache. Locked as long as this lives: machined changes it too.
struct Partition {
    file: File,
}

/// Direct I/O wants memory aligned to the logical block size.
#[repr(align(4096))]
struct Block([u8; RECORD_BYTES]);

impl Partition {
    fn open(device: &Path) -> Result<Self, BootRecordError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_DIRECT | libc::O_SYNC)
            .open(device)
            .map_err(|source| BootRecordError::Open { device: device.to_owned(), source })?;
        file.lock().map_err(BootRecordError::Lock)?;
        Ok(Self { file })
    }
}

impl Medium for Partition {
    type Error = io::Error;

    fn read(&mut self, offset_bytes: u64) -> io::Result<[u8; RECORD_BYTES]> {
        let mut block = Block([0; RECORD_BYTES]);
        self.file.read_exact_at(&mut block.0, offset_bytes)?;
        Ok(block.0)
    }

    fn write(&mut self, offset_bytes: u64, block: &[u8; RECORD_BYTES]) -> io::Result<()> {
        self.file.write_all_at(&Block(*block).0, offset_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_the_pipe() {
        for status in [
            Status { on_trial: true, boots_since_alive: 0 },
            Status { on_trial: false, boots_since_alive: 6 },
        ] {
            assert_eq!(Status::parse(&format!("{status}\n")), Some(status));
        }
        for nonsense in
            ["", "trial=maybe boots-since-alive=1", "trial=true", "trial=true boots-since-alive=256"]
        {
            assert_eq!(Status::parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn partitions_are_told_by_number_and_name() {
        let uevent =
            "MAJOR=254\nMINOR=2\nDEVNAME=vda2\nDEVTYPE=partition\nDISKSEQ=1\nPARTN=2\nPARTNAME=BOOTSTATE\n";
        assert!(is_partition(uevent, &layout::BOOTSTATE));
        assert!(!is_partition(uevent, &layout::ROOT_A));
        assert!(!is_partition("PARTN=22\nPARTNAME=BOOTSTATE\n", &layout::BOOTSTATE));
        assert!(!is_partition("PARTN=2\nPARTNAME=BOOTSTATE-OLD\n", &layout::BOOTSTATE));
    }
}

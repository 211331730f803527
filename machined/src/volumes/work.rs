//! Making, checking and mounting a volume's file system.
//!
//! Making one is a chain of which each link lies on its medium before the next begins: the record "begun" on STATE, the
//! mark on the disk, the file system, the end of the mark, the record "complete". Wherever the power fails, the disk is
//! blank, or bears our mark, or holds the whole file system. Nothing is ever stored before the last link.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::{errno::Errno, mount::MsFlags};

use super::{
    content::{Content, Holds, file_system_bytes},
    mark::{MARK_BYTES, VolumeId, mark},
    mounts::{PlaceError, Places},
    records::{Record, Records, RecordsError, Stage},
};
use crate::storage::{self, Checked, Repair, StorageError};

/// ext4 keeps so many bytes of a label.
const LABEL_MAX_BYTES: usize = 16;
/// Like DATA's; tables and journal are cleared once it is mounted, so that large disks are ready at once.
const OPTIONS: [&str; 8] = [
    "-b",
    "4096",
    "-m",
    "1",
    "-O",
    "metadata_csum",
    "-E",
    "nodiscard,lazy_itable_init=1,lazy_journal_init=1",
];
const MOUNT_FLAGS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_RELATIME);
const MOUNT_OPTIONS: &str = "errors=remount-ro";

/// Why a volume is not made or not mounted.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// Someone else has the disk.
    #[error("{} is in use by something else: stop what mounted it", path.display())]
    Busy {
        /// Which.
        path: PathBuf,
    },
    /// The disk cannot be opened, read or written.
    #[error("{} does not work", path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It is another disk, or has another content, than a moment ago.
    #[error("{} changed while it was looked at; nothing on it was changed by this node", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// No random number for a UUID.
    #[error("the kernel gives no random numbers")]
    Random(#[source] io::Error),
    /// What is done is not recorded.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// mkfs or e2fsck does not run, or fails.
    #[error(transparent)]
    FileSystem(StorageError),
    /// e2fsck finds what it cannot repair without loss.
    #[error("the file system of {} is damaged ({detail}); nothing was changed: save what matters and repair it by hand with e2fsck", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What it says.
        detail: String,
    },
    /// No directory to mount on.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The kernel refuses the mount.
    #[error("cannot mount {}", path.display())]
    Mount {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Errno,
    },
}

impl WorkError {
    /// Stable CamelCase reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "DiskInUse",
            Self::Disk { .. } => "DiskFailing",
            Self::Changed { .. } => "DiskChanged",
            Self::Random(_) | Self::Records(_) | Self::FileSystem(_) => "NotPrepared",
            Self::Damaged { .. } => "Damaged",
            Self::Place(_) | Self::Mount { .. } => "NotMounted",
        }
    }
}

/// Makes the volume's file system, of this UUID if it was begun before.
pub fn make(
    state: &Path,
    records: &mut Records,
    name: &str,
    device: &Path,
    begun: Option<VolumeId>,
) -> Result<VolumeId, WorkError> {
    let failed = |source| WorkError::Disk { path: device.to_owned(), source };
    let disk = open_exclusively(device, true)?;
    let uuid = begun.map_or_else(random_id, Ok)?;
    let content = Content::read(&disk).map_err(failed)?;
    if content.mark != Some(uuid) && content != (Content { mark: None, holds: Holds::Nothing }) {
        return Err(WorkError::Changed { path: device.to_owned() });
    }
    records.set(state, name, Record { uuid, stage: Stage::Begun })?;
    let size_bytes = size_bytes(&disk).map_err(failed)?;
    put(&disk, &mark(uuid), size_bytes).map_err(failed)?;
    // The kernel gives the name to no other disk while this one is open. mkfs wants it for itself.
    let held = File::open(device).map_err(failed)?;
    drop(disk);
    let (label, id) = (label(name), uuid.to_string());
    let options = [OPTIONS.as_slice(), &["-U", &id]].concat();
    storage::format(device, &label, &options, Some(file_system_bytes(size_bytes)))
        .map_err(WorkError::FileSystem)?;
    drop(held);
    let disk = open_exclusively(device, true)?;
    let made = Content::read(&disk).map_err(failed)?;
    if made.mark != Some(uuid) || !is_of(&made, uuid) {
        return Err(WorkError::Changed { path: device.to_owned() });
    }
    put(&disk, &[0; MARK_BYTES], size_bytes).map_err(failed)?;
    complete(state, records, name, uuid)?;
    Ok(uuid)
}

/// Records that the file system is whole.
pub fn complete(state: &Path, records: &mut Records, name: &str, uuid: VolumeId) -> Result<(), WorkError> {
    Ok(records.set(state, name, Record { uuid, stage: Stage::Complete })?)
}

/// Checks the file system and mounts it.
pub fn mount(places: &Places, name: &str, device: &Path, uuid: VolumeId) -> Result<(), WorkError> {
    let failed = |source| WorkError::Disk { path: device.to_owned(), source };
    drop(open_exclusively(device, false)?);
    let held = File::open(device).map_err(failed)?;
    if !is_of(&Content::read(&held).map_err(failed)?, uuid) {
        return Err(WorkError::Changed { path: device.to_owned() });
    }
    if let Checked::Damaged(detail) = storage::check(device, Repair::Safe).map_err(WorkError::FileSystem)? {
        return Err(WorkError::Damaged { path: device.to_owned(), detail });
    }
    let target = places.provide(name)?;
    storage::mount_ext4(device, &target, MOUNT_FLAGS, MOUNT_OPTIONS).map_err(|source| {
        // It stays empty and unwritable at worst.
        let _ = places.retire(name);
        WorkError::Mount { path: device.to_owned(), source }
    })
}

fn is_of(content: &Content, uuid: VolumeId) -> bool {
    matches!(content.holds, Holds::Ext4 { uuid: has, .. } if has == uuid)
}

fn label(name: &str) -> String {
    format!("cairn-{name}").chars().take(LABEL_MAX_BYTES).collect()
}

fn random_id() -> Result<VolumeId, WorkError> {
    let mut bytes = [0; 16];
    let random = File::open("/dev/urandom").and_then(|mut file| io::Read::read_exact(&mut file, &mut bytes));
    random.map(|()| VolumeId::from_random(bytes)).map_err(WorkError::Random)
}

/// Opens a block device that nobody has mounted or opened so (open(2), `O_EXCL`).
fn open_exclusively(device: &Path, write: bool) -> Result<File, WorkError> {
    let opened = OpenOptions::new().read(true).write(write).custom_flags(libc::O_EXCL).open(device);
    opened.map_err(|source| match source.kind() {
        io::ErrorKind::ResourceBusy => WorkError::Busy { path: device.to_owned() },
        _ => WorkError::Disk { path: device.to_owned(), source },
    })
}

fn size_bytes(mut disk: &File) -> io::Result<u64> {
    io::Seek::seek(&mut disk, io::SeekFrom::End(0))
}

/// Puts this in the place of the mark.
fn put(disk: &File, block: &[u8], size_bytes: u64) -> io::Result<()> {
    disk.write_all_at(block, file_system_bytes(size_bytes))?;
    disk.sync_all()
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;

//! Bringing up STATE and DATA: the partition, its file system, the mount.
//!
//! A node that was never provisioned may make them, and makes anew what a power cut left unfinished. A provisioned
//! one never formats.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use layout::STATE_RESERVED_BYTES;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{FallocateFlags, fallocate};
use tracing::{info, warn};

use super::filesystem::{Checked, Repair, check, format, has_ext4, mount_ext4, mounted_source};
use super::{StorageError, SystemDisk, kernel, table};

/// One of the node's file systems.
pub(super) struct Volume {
    pub(super) partition: layout::Partition,
    pub(super) mount_point: &'static str,
    label: &'static str,
    format_options: &'static [&'static str],
    reserved_bytes: u64,
    mount_flags: MsFlags,
    mount_data: &'static str,
    repairs: &'static [Repair],
    damaged: fn(PathBuf, String) -> StorageError,
}

/// Small and precious: a small journal, and no repair that may lose anything.
pub(super) const STATE: Volume = Volume {
    partition: layout::STATE,
    mount_point: layout::path::STATE,
    label: "CAIRN-STATE",
    format_options: &["-b", "4096", "-J", "size=4", "-m", "0", "-O", "metadata_csum", "-E", "nodiscard"],
    reserved_bytes: STATE_RESERVED_BYTES,
    mount_flags: MsFlags::MS_NOSUID
        .union(MsFlags::MS_NODEV)
        .union(MsFlags::MS_NOEXEC)
        .union(MsFlags::MS_NOATIME),
    mount_data: "data=ordered,errors=remount-ro",
    repairs: &[Repair::Safe],
    damaged: |device, detail| StorageError::StateDamaged { device, detail },
};

/// Large and replaceable. Tables and journal are cleared later, so that first boot is fast: with checksums, what an
/// earlier file system left in the journal's place is not taken for its content.
pub(super) const DATA: Volume = Volume {
    partition: layout::DATA,
    mount_point: layout::path::DATA,
    label: "CAIRN-DATA",
    format_options: &[
        "-b",
        "4096",
        "-m",
        "1",
        "-O",
        "metadata_csum",
        "-E",
        "nodiscard,lazy_itable_init=1,lazy_journal_init=1",
    ],
    reserved_bytes: 0,
    mount_flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOATIME),
    mount_data: "nodelalloc,data=ordered,errors=remount-ro",
    repairs: &[Repair::Safe, Repair::Full],
    damaged: |device, detail| StorageError::DataDamaged { device, detail },
};

const DIRECTORY_MODE: u32 = 0o755;
/// Below /var; the ones above come first.
const DATA_DIRECTORIES: [&str; 7] = [
    "lib/kubelet",
    "lib/containerd",
    "lib/cni",
    "lib/cairn/images",
    "log/pods",
    "log/containers",
    "opt/cni/bin",
];
/// More than the superblock and what lies around it.
const ERASED_BYTES: usize = 64 * 1024;
/// The file system that stands in for a lost STATE.
const SHROUD: &str = "tmpfs";
/// More than what the mirror of STATE holds, with room for what a node that runs from it writes.
const SHROUD_OPTIONS: &str = "size=16m,mode=0700";
const TEMPORARY_MODE: u32 = 0o1777;

/// Brings up STATE. To be called before DATA; again is fine.
pub fn bring_up_state(disk: &SystemDisk, provisioned: bool) -> Result<(), StorageError> {
    STATE.bring_up(disk, provisioned)
}

/// Brings up DATA and its directories. A node is to be provisioned only when this has succeeded once: from then on
/// nothing is formatted. Again is fine.
pub fn bring_up_data(disk: &SystemDisk, provisioned: bool) -> Result<(), StorageError> {
    DATA.bring_up(disk, provisioned)?;
    make_directories(Path::new(DATA.mount_point))
}

/// Makes what lies on DATA unreadable, so that it is formatted anew. Before DATA is mounted.
pub fn erase_data(disk: &SystemDisk) -> Result<(), StorageError> {
    let device = DATA.provide_partition(disk, true)?;
    erase(&device).map_err(|source| StorageError::Open { path: device, source })
}

/// Makes what lies on a lost STATE unreadable, so that it is formatted anew once the node is not provisioned. Without a
/// partition there is nothing to erase.
pub fn erase_state(disk: &SystemDisk) -> Result<(), StorageError> {
    match STATE.provide_partition(disk, true) {
        Ok(device) => erase(&device).map_err(|source| StorageError::Open { path: device, source }),
        Err(StorageError::StateDamaged { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Puts an empty file system in memory in the place of a STATE that is lost. What lies on the disk stays as it is.
pub fn shroud_state() -> Result<(), StorageError> {
    let target = Path::new(STATE.mount_point);
    let failed = |errno: Errno| StorageError::Mount {
        device: SHROUD.into(),
        target: target.to_owned(),
        source: errno.into(),
    };
    match umount2(target, MntFlags::MNT_DETACH) {
        // Nothing is mounted there.
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(errno) => return Err(failed(errno)),
    }
    mount(Some(SHROUD), target, Some(SHROUD), STATE.mount_flags, Some(SHROUD_OPTIONS)).map_err(failed)
}

/// Whether the STATE at hand is the one in memory.
pub fn is_state_shrouded() -> bool {
    mounted_source(Path::new(STATE.mount_point)).is_some_and(|source| source == SHROUD)
}

impl Volume {
    fn bring_up(&self, disk: &SystemDisk, provisioned: bool) -> Result<(), StorageError> {
        if mounted_source(Path::new(self.mount_point)).is_some() {
            return Ok(());
        }
        let device = self.provide_partition(disk, provisioned)?;
        self.provide_file_system(&device, provisioned)?;
        self.mount(&device, Path::new(self.mount_point), provisioned)
    }

    /// The partition's device, once the table and the kernel have it.
    pub(super) fn provide_partition(
        &self,
        disk: &SystemDisk,
        provisioned: bool,
    ) -> Result<PathBuf, StorageError> {
        let device = &disk.device;
        let open = |source| StorageError::Open { path: device.clone(), source };
        let mut file = File::options().read(true).write(!provisioned).open(device).map_err(open)?;
        if !provisioned {
            table::extend(&mut file, device)?;
        }
        let number = self.partition.number;
        let Some(extent) = table::find(&mut file, device, &self.partition)? else {
            return Err((self.damaged)(device.clone(), format!("there is no partition {number}")));
        };
        if disk.kernel_partition(number).is_none() {
            let refused = |source| StorageError::TellKernel { device: device.clone(), number, source };
            kernel::add_partition(&file, number, extent).map_err(refused)?;
        }
        let (partition, known) = disk
            .kernel_partition(number)
            .ok_or_else(|| StorageError::NoPartition { device: device.clone(), name: self.partition.name })?;
        if known != extent {
            let source = io::ErrorKind::AlreadyExists.into();
            return Err(StorageError::TellKernel { device: device.clone(), number, source });
        }
        Ok(partition)
    }

    /// Sees to a file system that can be mounted.
    pub(super) fn provide_file_system(&self, device: &Path, provisioned: bool) -> Result<(), StorageError> {
        if !has_ext4(device)? {
            return self.start_over(device, provisioned, "it holds no file system".to_owned());
        }
        let mut found = String::new();
        for repair in self.repairs {
            match check(device, *repair)? {
                Checked::Sound => return Ok(()),
                Checked::Damaged(detail) => {
                    warn!(volume = self.partition.name, ?repair, detail, "file system is damaged");
                    found = detail;
                }
            }
        }
        self.start_over(device, provisioned, found)
    }

    pub(super) fn mount(&self, device: &Path, target: &Path, provisioned: bool) -> Result<(), StorageError> {
        let mount = || mount_ext4(device, target, self.mount_flags, self.mount_data);
        let failed = |errno: Errno| StorageError::Mount {
            device: device.to_owned(),
            target: target.to_owned(),
            source: errno.into(),
        };
        match mount() {
            Ok(()) => Ok(()),
            Err(errno @ (Errno::EUCLEAN | Errno::EINVAL | Errno::EIO)) => {
                self.start_over(device, provisioned, format!("the kernel says: {}", errno.desc()))?;
                mount().map_err(failed)
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Formats, unless the node was ever provisioned.
    fn start_over(&self, device: &Path, provisioned: bool, found: String) -> Result<(), StorageError> {
        if provisioned {
            return Err((self.damaged)(device.to_owned(), found));
        }
        info!(volume = self.partition.name, device = %device.display(), reason = found, "making a file system");
        let size_bytes = self.partition.size_bytes.map(|bytes| bytes.saturating_sub(self.reserved_bytes));
        format(device, self.label, self.format_options, size_bytes)
    }
}

fn make_directories(root: &Path) -> Result<(), StorageError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StorageError::Directory { path, source }
    };
    for directory in DATA_DIRECTORIES {
        let path = root.join(directory);
        let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&path);
        made.map_err(failed(&path))?;
    }
    let temporary = root.join("tmp");
    fs::create_dir_all(&temporary)
        .and_then(|()| fs::set_permissions(&temporary, Permissions::from_mode(TEMPORARY_MODE)))
        .map_err(failed(&temporary))?;
    link(&root.join("run"), Path::new("/run"))
}

/// All of it on a disk that can zero or drop blocks by itself, and in any case what tells that there is a file system.
fn erase(device: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).open(device)?;
    let size_bytes = file.seek(SeekFrom::End(0))?;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if let Err(error) = fallocate(&file, flags, 0, size_bytes) {
        info!(device = %device.display(), %error, "the disk does not zero blocks by itself");
    }
    file.write_all_at(&[0; ERASED_BYTES], 0)?;
    file.sync_all()
}

fn link(path: &Path, target: &Path) -> Result<(), StorageError> {
    match symlink(target, path) {
        Err(_) if fs::read_link(path).is_ok_and(|found| found == target) => Ok(()),
        result => result.map_err(|source| StorageError::Link { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
#[path = "bring_up_tests.rs"]
mod tests;

//! A volume that carries the first configuration or a release: found by its label, mounted read-only for as long as it
//! is read.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tracing::warn;

use super::system::{BLOCK_CLASS, SystemDisk};
use super::{StorageError, volume_label::VolumeLabel};

const CONFIG_MOUNT_POINT: &str = "/run/cairn/volume";
const RELEASE_MOUNT_POINT: &str = "/run/cairn/release";
/// A journal that was not played back stays so: nothing is written to the volume.
const EXT4_OPTIONS: &str = "noload";
/// Devices that the kernel makes up; none of them is a medium that someone plugged in.
const VIRTUAL: [&str; 4] = ["dm-", "loop", "ram", "zram"];

/// The first volume by device name that is labelled as a configuration volume. Never one on the system disk.
pub fn find_config_volume(disk: &SystemDisk) -> Option<PathBuf> {
    find(disk, |label| !label.is_ext4() && label.matches(layout::CONFIG_VOLUME_LABEL))
}

/// The first volume by device name with this label, to read a release from. Never one on the system disk.
pub fn find_release_volume(disk: &SystemDisk, wanted: &str) -> Option<PathBuf> {
    find(disk, |label| label.matches(wanted))
}

fn find(disk: &SystemDisk, is_wanted: impl Fn(&VolumeLabel) -> bool) -> Option<PathBuf> {
    let mut devices: Vec<_> = fs::read_dir(BLOCK_CLASS)
        .ok()?
        .flatten()
        .filter(|entry| !is_virtual(&entry.file_name().to_string_lossy()))
        .filter(|entry| fs::canonicalize(entry.path()).is_ok_and(|sysfs| !disk.holds(&sysfs)))
        .map(|entry| Path::new("/dev").join(entry.file_name()))
        .collect();
    devices.sort();
    devices.into_iter().find(|device| label(device).is_some_and(|label| is_wanted(&label)))
}

pub(super) fn is_virtual(name: &str) -> bool {
    VIRTUAL.iter().any(|prefix| name.starts_with(prefix))
}

fn label(device: &Path) -> Option<VolumeLabel> {
    VolumeLabel::read(&File::open(device).ok()?)
}

/// A mounted volume; unmounted when dropped.
#[derive(Debug)]
pub struct LabelledVolume {
    target: PathBuf,
}

impl LabelledVolume {
    /// Mounts a configuration volume `ro,nodev,noexec,nosuid`.
    pub fn mount(device: &Path) -> Result<Self, StorageError> {
        Self::mount_on(device, Path::new(CONFIG_MOUNT_POINT))
    }

    /// Mounts a volume with a release in the same way, at a place of its own.
    pub fn mount_release(device: &Path) -> Result<Self, StorageError> {
        Self::mount_on(device, Path::new(RELEASE_MOUNT_POINT))
    }

    fn mount_on(device: &Path, target: &Path) -> Result<Self, StorageError> {
        fs::create_dir_all(target)
            .map_err(|source| StorageError::Directory { path: target.to_owned(), source })?;
        let failed =
            |source| StorageError::Mount { device: device.to_owned(), target: target.to_owned(), source };
        let unlabelled = || failed(std::io::ErrorKind::InvalidData.into());
        let label = label(device).ok_or_else(unlabelled)?;
        let options = label.is_ext4().then_some(EXT4_OPTIONS);
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID;
        mount(Some(device), target, Some(label.file_system()), flags, options)
            .map_err(|errno| failed(errno.into()))?;
        Ok(Self { target: target.to_owned() })
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        &self.target
    }
}

impl Drop for LabelledVolume {
    fn drop(&mut self) {
        // Lazily, because a reader may still hold a file open.
        if let Err(errno) = umount2(&self.target, MntFlags::MNT_DETACH) {
            warn!(path = %self.target.display(), error = %errno, "cannot unmount the volume");
        }
    }
}

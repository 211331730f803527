//! A volume that carries the first configuration: found by its label, mounted read-only for as long as it is read.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tracing::warn;

use super::system::{BLOCK_CLASS, SystemDisk};
use super::{StorageError, volume_label::VolumeLabel};

const MOUNT_POINT: &str = "/run/cairn/volume";
/// Devices that the kernel makes up; none of them is a medium that someone plugged in.
const VIRTUAL: [&str; 4] = ["dm-", "loop", "ram", "zram"];

/// The first volume by device name that is labelled as a configuration volume. Never one on the system disk.
pub fn find_config_volume(disk: &SystemDisk) -> Option<PathBuf> {
    let mut devices: Vec<_> = fs::read_dir(BLOCK_CLASS)
        .ok()?
        .flatten()
        .filter(|entry| !is_virtual(&entry.file_name().to_string_lossy()))
        .filter(|entry| fs::canonicalize(entry.path()).is_ok_and(|sysfs| !disk.holds(&sysfs)))
        .map(|entry| Path::new("/dev").join(entry.file_name()))
        .collect();
    devices.sort();
    devices
        .into_iter()
        .find(|device| label(device).is_some_and(|label| label.matches(layout::CONFIG_VOLUME_LABEL)))
}

pub(super) fn is_virtual(name: &str) -> bool {
    VIRTUAL.iter().any(|prefix| name.starts_with(prefix))
}

fn label(device: &Path) -> Option<VolumeLabel> {
    VolumeLabel::read(&File::open(device).ok()?)
}

/// A mounted configuration volume; unmounted when dropped.
#[derive(Debug)]
pub struct ConfigVolume {
    target: PathBuf,
}

impl ConfigVolume {
    /// Mounts it `ro,nodev,noexec,nosuid`.
    pub fn mount(device: &Path) -> Result<Self, StorageError> {
        Self::mount_on(device, Path::new(MOUNT_POINT))
    }

    fn mount_on(device: &Path, target: &Path) -> Result<Self, StorageError> {
        fs::create_dir_all(target)
            .map_err(|source| StorageError::Directory { path: target.to_owned(), source })?;
        let failed =
            |source| StorageError::Mount { device: device.to_owned(), target: target.to_owned(), source };
        let unlabelled = || failed(std::io::ErrorKind::InvalidData.into());
        let file_system = label(device).ok_or_else(unlabelled)?.file_system();
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID;
        mount(Some(device), target, Some(file_system), flags, None::<&str>)
            .map_err(|errno| failed(errno.into()))?;
        Ok(Self { target: target.to_owned() })
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        &self.target
    }
}

impl Drop for ConfigVolume {
    fn drop(&mut self) {
        // Lazily, because a reader may still hold a file open.
        if let Err(errno) = umount2(&self.target, MntFlags::MNT_DETACH) {
            warn!(path = %self.target.display(), error = %errno, "cannot unmount the configuration volume");
        }
    }
}

//! `/var/mnt`, where volumes are mounted, what is, and who uses it.
//!
//! It is a read-only file system without room, so that nothing can be stored in the place of a volume that is not
//! there: a pod that names one does not start until the volume is mounted.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};

/// Room for directories alone.
const OPTIONS: &str = "mode=0755,size=4k,nr_inodes=1k";
const FLAGS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Why a place for a volume cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The directory for all of them.
    #[error("cannot reserve {}", path.display())]
    Reserve {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The directory of one.
    #[error("cannot make or remove {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Unmounting, for another reason than that it is in use.
    #[error("cannot unmount {}", path.display())]
    Unmount {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Errno,
    },
}

/// The directory that volumes are mounted in.
#[derive(Clone, Debug)]
pub struct Places(PathBuf);

/// A volume that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Name of the volume.
    pub name: String,
    /// Device number as `major:minor`.
    pub number: String,
    /// Device node.
    pub device: String,
    /// Whether errors made the kernel refuse writes.
    pub read_only: bool,
}

impl Places {
    /// At this path.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where this volume is mounted.
    pub fn of(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Sees to it that only volumes are stored there. Again is fine.
    pub fn reserve(&self) -> Result<(), PlaceError> {
        let failed = |source: io::Error| PlaceError::Reserve { path: self.0.clone(), source };
        let table = fs::read_to_string("/proc/self/mountinfo").map_err(failed)?;
        let options = |line: &str| {
            let mut fields = line.split(' ').skip(4);
            let target = fields.next()?;
            (Path::new(target) == self.0).then(|| fields.next().unwrap_or_default().to_owned())
        };
        let options = table.lines().rev().find_map(options);
        if options.as_ref().is_some_and(|options| options.split(',').any(|option| option == "ro")) {
            return Ok(());
        }
        if options.is_none() {
            fs::create_dir_all(&self.0).map_err(failed)?;
            let mounted = mount(Some("volumes"), &self.0, Some("tmpfs"), FLAGS, Some(OPTIONS));
            mounted.map_err(|errno| failed(errno.into()))?;
        }
        self.set_writable(false).map_err(failed)
    }

    /// Makes the directory of a volume that is about to be mounted.
    pub fn provide(&self, name: &str) -> Result<PathBuf, PlaceError> {
        let path = self.of(name);
        let made = self.change(|| match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        });
        made.map(|()| path.clone()).map_err(|source| PlaceError::Directory { path, source })
    }

    /// Removes the directory of a volume that is not mounted.
    pub fn retire(&self, name: &str) -> Result<(), PlaceError> {
        let path = self.of(name);
        let removed = self.change(|| match fs::remove_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        });
        removed.map_err(|source| PlaceError::Directory { path, source })
    }

    /// Unmounts; false when it is in use.
    pub fn unmount(&self, name: &str) -> Result<bool, PlaceError> {
        self.let_go(name, MntFlags::UMOUNT_NOFOLLOW)
    }

    /// Takes a volume whose disk is gone away from here; who has files of it open keeps them, and gets errors.
    pub fn detach(&self, name: &str) -> Result<bool, PlaceError> {
        self.let_go(name, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)
    }

    fn let_go(&self, name: &str, flags: MntFlags) -> Result<bool, PlaceError> {
        let path = self.of(name);
        match umount2(&path, flags) {
            Ok(()) => self.retire(name).map(|()| true),
            Err(Errno::EBUSY) => Ok(false),
            Err(source) => Err(PlaceError::Unmount { path, source }),
        }
    }

    /// The volumes that are mounted, by name; of two on one place the upper one.
    pub fn mounted(&self) -> BTreeMap<String, Mounted> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let all = table.lines().filter_map(|line| self.entry(line));
        all.map(|mounted| (mounted.name.clone(), mounted)).collect()
    }

    /// proc_pid_mountinfo(5).
    fn entry(&self, line: &str) -> Option<Mounted> {
        let (place, file_system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(2);
        let (number, target) = (place.next()?, place.nth(1)?);
        let mut file_system = file_system.split(' ').skip(1);
        let (device, options) = (file_system.next()?, file_system.next()?);
        let name = Path::new(target).strip_prefix(&self.0).ok()?.to_str()?;
        (!name.is_empty() && !name.contains('/')).then(|| Mounted {
            name: name.to_owned(),
            number: number.to_owned(),
            device: device.to_owned(),
            read_only: options.split(',').any(|option| option == "ro"),
        })
    }

    fn change(&self, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.set_writable(true)?;
        let changed = change();
        self.set_writable(false)?;
        changed
    }

    fn set_writable(&self, writable: bool) -> io::Result<()> {
        let read_only = if writable { MsFlags::empty() } else { MsFlags::MS_RDONLY };
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | FLAGS | read_only;
        mount(None::<&str>, &self.0, None::<&str>, flags, None::<&str>).map_err(io::Error::from)
    }
}

/// Who else has this file system mounted: cgroups of processes with a mount namespace of their own, as containers have,
/// and other mount points of the node's, as the kubelet makes for parts of a volume. The kernel calls a mount busy for
/// neither.
pub fn users(mounted: &Mounted, place: &Path) -> Vec<String> {
    let own = fs::read_link("/proc/self/ns/mnt").ok();
    let elsewhere = targets(Path::new("/proc/self"), &mounted.number);
    let mut users: Vec<String> = elsewhere.into_iter().filter(|target| Path::new(target) != place).collect();
    let mut known: HashSet<PathBuf> = own.into_iter().collect();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let process = process.path();
        // Not a process, or gone meanwhile.
        let Ok(namespace) = fs::read_link(process.join("ns/mnt")) else { continue };
        if known.insert(namespace) && !targets(&process, &mounted.number).is_empty() {
            users.push(fs::read_to_string(process.join("cgroup")).unwrap_or_default());
        }
    }
    users
}

/// Where a process sees this device mounted.
fn targets(process: &Path, number: &str) -> Vec<String> {
    let table = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
    let is_of_it = |line: &&str| line.split(' ').nth(2) == Some(number);
    table.lines().filter(is_of_it).filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_told_from_other_mounts() {
        let places = Places::at(Path::new("/var/mnt"));
        let volume = places
            .entry("40 30 254:16 / /var/mnt/data rw,nosuid shared:9 - ext4 /dev/vdb rw,errors=remount-ro");
        let expected = Mounted {
            name: "data".into(),
            number: "254:16".into(),
            device: "/dev/vdb".into(),
            read_only: false,
        };
        assert_eq!(volume, Some(expected.clone()));
        let broken = places.entry("40 30 254:16 / /var/mnt/data rw - ext4 /dev/vdb ro,errors=remount-ro");
        assert_eq!(broken, Some(Mounted { read_only: true, ..expected }));
        for other in [
            "30 29 0:40 / /var/mnt ro shared:8 - tmpfs volumes rw,size=4k",
            "41 40 0:50 / /var/mnt/data/inner rw - tmpfs tmpfs rw",
            "42 30 254:16 / /var/mntx/data rw - ext4 /dev/vdb rw",
            "43",
        ] {
            assert_eq!(places.entry(other), None, "{other}");
        }
    }
}

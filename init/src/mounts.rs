//! The pseudo file systems.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::kmsg;

/// One file system without a device.
struct Pseudo {
    kind: &'static str,
    target: &'static str,
    flags: MsFlags,
    data: &'static str,
    /// Whether its absence deserves more than a note: some need hardware or a kernel option.
    expected: bool,
}

const NO_SUID: MsFlags = MsFlags::MS_NOSUID;
const NO_DEVICES: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const NO_EXEC: MsFlags = NO_DEVICES.union(MsFlags::MS_NOEXEC);

/// In the order in which they are mounted.
const PSEUDO: &[Pseudo] = &[
    Pseudo::expected("proc", "/proc", NO_EXEC, ""),
    Pseudo::expected("sysfs", "/sys", NO_EXEC, ""),
    Pseudo::expected("devtmpfs", "/dev", NO_SUID, "mode=0755"),
    Pseudo::expected(
        "devpts",
        "/dev/pts",
        NO_SUID.union(MsFlags::MS_NOEXEC),
        "gid=5,mode=0620,ptmxmode=0666",
    ),
    Pseudo::expected("tmpfs", "/dev/shm", NO_DEVICES, "mode=1777"),
    Pseudo::expected("tmpfs", "/run", NO_DEVICES, "mode=0755,size=25%"),
    Pseudo::expected("tmpfs", "/tmp", NO_DEVICES, "mode=1777,size=10%"),
    Pseudo::expected("cgroup2", "/sys/fs/cgroup", NO_EXEC, "nsdelegate,memory_recursiveprot"),
    Pseudo::expected("securityfs", "/sys/kernel/security", NO_EXEC, ""),
    Pseudo::expected("bpf", "/sys/fs/bpf", NO_EXEC, "mode=0700"),
    Pseudo::expected("mqueue", "/dev/mqueue", NO_EXEC, ""),
    Pseudo::optional("hugetlbfs", "/dev/hugepages", NO_DEVICES, "mode=0755"),
    Pseudo::optional("efivarfs", "/sys/firmware/efi/efivars", NO_EXEC, ""),
    Pseudo::optional("pstore", "/sys/fs/pstore", NO_EXEC, ""),
];

/// Links that programs expect in /dev.
const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

impl Pseudo {
    const fn expected(kind: &'static str, target: &'static str, flags: MsFlags, data: &'static str) -> Self {
        Self { kind, target, flags, data, expected: true }
    }

    const fn optional(kind: &'static str, target: &'static str, flags: MsFlags, data: &'static str) -> Self {
        Self { kind, target, flags, data, expected: false }
    }

    fn mount(&self) -> Result<(), Errno> {
        if !Path::new(self.target).is_dir() {
            // Only possible below a file system of this table; elsewhere the mount says what is wrong.
            let _ = fs::create_dir(self.target);
        }
        match mount(Some(self.kind), self.target, Some(self.kind), self.flags, Some(self.data)) {
            // The kernel has mounted devtmpfs already.
            Ok(()) | Err(Errno::EBUSY) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Mounts everything and reports, once /dev is there to report to, what could not be mounted.
pub fn mount_pseudo() {
    let results: Vec<(&Pseudo, Result<(), Errno>)> =
        PSEUDO.iter().map(|pseudo| (pseudo, pseudo.mount())).collect();
    for (pseudo, result) in results {
        match result {
            Ok(()) => {}
            Err(error) if pseudo.expected => {
                kmsg::error!("cannot mount {} on {}: {error}", pseudo.kind, pseudo.target);
            }
            Err(error) => kmsg::info!("{} is not mounted: {error}", pseudo.target),
        }
    }
    for (target, link) in LINKS {
        if let Err(error) = symlink(target, link) {
            kmsg::info!("cannot make {link}: {error}");
        }
    }
}

/// Lets mounts propagate into containers; the kernel's default is private.
pub fn share_root() {
    if let Err(error) =
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SHARED, None::<&str>)
    {
        kmsg::error!("cannot make / shared: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_comes_after_what_it_lies_on() {
        for (index, pseudo) in PSEUDO.iter().enumerate() {
            for later in &PSEUDO[index + 1..] {
                assert!(
                    !Path::new(pseudo.target).starts_with(later.target),
                    "{} would hide {}",
                    later.target,
                    pseudo.target
                );
            }
        }
    }

    #[test]
    fn nothing_but_dev_has_devices() {
        for pseudo in PSEUDO.iter().filter(|pseudo| !["/dev", "/dev/pts"].contains(&pseudo.target)) {
            assert!(pseudo.flags.contains(NO_DEVICES), "{}", pseudo.target);
        }
    }
}

//! `init unmount`: puts everything written on the disks and lets go of them.
//!
//! A process of its own, because any of its system calls may block for as long as a disk does.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::sync;

use crate::kmsg;
use crate::mountinfo::mount_points;

/// What holds no data and is needed until the end, each with everything below.
const KEPT: &[&str] = &["/proc", "/sys", "/dev"];
/// The same, but what is mounted below goes.
const KEPT_THEMSELVES: &[&str] = &["/", "/run", "/tmp"];

/// Unmounts all file systems but the root and the pseudo ones.
pub fn run() -> io::Result<()> {
    sync();
    let targets: Vec<String> = mount_points()?.into_iter().filter(|target| goes(target)).collect();
    let mut left = 0_usize;
    for target in &targets {
        match let_go(target) {
            Ok(()) => {}
            Err(error) => {
                left = left.saturating_add(1);
                kmsg::warning!("shutdown: {target} is in use: {error}");
            }
        }
    }
    sync();
    if left == 0 {
        kmsg::notice!("shutdown: {} file systems unmounted", targets.len());
    }
    Ok(())
}

fn goes(target: &str) -> bool {
    !KEPT_THEMSELVES.contains(&target) && !KEPT.iter().any(|kept| Path::new(target).starts_with(kept))
}

/// Unmounts; what is in use is made read-only, which writes its journal out, and detached.
fn let_go(target: &str) -> Result<(), Errno> {
    match umount2(target, MntFlags::UMOUNT_NOFOLLOW) {
        Err(Errno::EBUSY) => {}
        // Gone with another one that was detached.
        Err(Errno::EINVAL | Errno::ENOENT) | Ok(()) => return Ok(()),
        Err(error) => return Err(error),
    }
    let read_only =
        mount(None::<&str>, target, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None::<&str>);
    let detached = umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    read_only.and(detached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_goes_and_pseudo_file_systems_stay() {
        for target in ["/var", "/system/state", "/run/containerd/x/rootfs", "/device", "/var/lib/proc"] {
            assert!(goes(target), "{target}");
        }
        for target in ["/", "/run", "/tmp", "/proc", "/dev", "/dev/pts", "/sys/fs/cgroup"] {
            assert!(!goes(target), "{target}");
        }
    }
}

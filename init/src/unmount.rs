//! `init unmount`: puts everything written on the disks and lets go of them.
//!
//! A process of its own, because any of its system calls may block for as long as a disk does.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::sync;

use crate::kmsg;

/// What holds no data and is needed until the end, each with everything below.
const KEPT: &[&str] = &["/proc", "/sys", "/dev"];
/// The same, but what is mounted below goes.
const KEPT_THEMSELVES: &[&str] = &["/", "/run", "/tmp"];

/// Unmounts all file systems but the root and the pseudo ones.
pub fn run() -> io::Result<()> {
    sync();
    let targets = plan(&fs::read_to_string("/proc/self/mountinfo")?);
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

/// Mount points to unmount, in order: a later mount may lie on an earlier one.
fn plan(mountinfo: &str) -> Vec<String> {
    let mut targets: Vec<String> = mountinfo.lines().filter_map(mount_point).filter(|t| goes(t)).collect();
    targets.reverse();
    targets
}

fn goes(target: &str) -> bool {
    !KEPT_THEMSELVES.contains(&target) && !KEPT.iter().any(|kept| Path::new(target).starts_with(kept))
}

/// The fifth field of a line of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
fn mount_point(line: &str) -> Option<String> {
    line.split(' ').nth(4).map(unescape)
}

/// Blanks, tabs, newlines and backslashes are written as a backslash and three octal digits.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                bytes.push(code);
                bytes.extend_from_slice(rest.as_bytes());
            }
            _ => {
                bytes.push(b'\\');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
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

    const MOUNTINFO: &str = "\
22 1 254:0 / / ro,relatime shared:1 - erofs /dev/root ro
23 22 0:5 / /dev rw shared:2 - devtmpfs devtmpfs rw
24 23 0:20 / /dev/pts rw shared:3 - devpts devpts rw
25 22 0:21 / /proc rw shared:4 - proc proc rw
26 22 0:22 / /run rw shared:5 - tmpfs tmpfs rw
27 22 253:7 / /system/state rw shared:6 - ext4 /dev/vda7 rw
28 22 253:8 / /var rw shared:7 - ext4 /dev/vda8 rw
29 28 0:40 / /var/lib/kubelet/pods/a\\040b rw shared:8 - tmpfs tmpfs rw
30 26 0:41 / /run/containerd/x/rootfs rw shared:9 - overlay overlay rw
31 22 0:42 / /device rw shared:10 - tmpfs tmpfs rw
";

    #[test]
    fn data_goes_in_reverse_order_and_pseudo_file_systems_stay() {
        assert_eq!(
            plan(MOUNTINFO),
            ["/device", "/run/containerd/x/rootfs", "/var/lib/kubelet/pods/a b", "/var", "/system/state"]
        );
    }

    #[test]
    fn names_are_unescaped() {
        assert_eq!(unescape("a\\134b\\011"), "a\\b\t");
        assert_eq!(unescape("odd\\9\\"), "odd\\9\\");
    }

    #[test]
    fn lines_of_another_shape_are_skipped() {
        assert_eq!(plan("\n22 1 254:0\n"), Vec::<String>::new());
    }
}

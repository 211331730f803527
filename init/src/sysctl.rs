//! Kernel settings of every node.

use std::fs;
use std::path::PathBuf;

use crate::kmsg;

/// Name and value. The first group is what the kubelet would write itself; it refuses to start, or overrides us,
/// when they differ.
const SETTINGS: &[(&str, &str)] = &[
    ("vm.overcommit_memory", "1"),
    ("vm.panic_on_oom", "0"),
    ("kernel.panic", "10"),
    ("kernel.panic_on_oops", "1"),
    ("kernel.keys.root_maxkeys", "1000000"),
    ("kernel.keys.root_maxbytes", "25000000"),
    // A node routes for its pods. 128 inotify instances run out: the kubelet takes 50, each shim two.
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    ("fs.inotify.max_user_instances", "8192"),
    ("fs.inotify.max_user_watches", "1048576"),
    // Hardening.
    ("vm.mmap_rnd_bits", "32"),
    ("net.core.bpf_jit_harden", "2"),
    ("kernel.unprivileged_bpf_disabled", "1"),
    ("kernel.kptr_restrict", "2"),
    ("kernel.dmesg_restrict", "1"),
    ("kernel.yama.ptrace_scope", "1"),
    ("kernel.oops_limit", "100"),
    ("kernel.warn_limit", "100"),
    ("fs.protected_symlinks", "1"),
    ("fs.protected_hardlinks", "1"),
    ("fs.protected_fifos", "2"),
    ("fs.protected_regular", "2"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv4.conf.default.accept_redirects", "0"),
    ("net.ipv4.conf.all.secure_redirects", "0"),
    ("net.ipv4.conf.default.secure_redirects", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    ("net.ipv4.conf.all.accept_source_route", "0"),
    ("net.ipv4.conf.default.accept_source_route", "0"),
    ("net.ipv6.conf.all.accept_redirects", "0"),
    ("net.ipv6.conf.default.accept_redirects", "0"),
    ("net.ipv6.conf.all.accept_source_route", "0"),
    ("net.ipv6.conf.default.accept_source_route", "0"),
    // All drivers are built in. Cannot be taken back, so it comes last.
    ("kernel.modules_disabled", "1"),
];

/// Least console level at which milestones ([`kmsg::Level::Notice`]) are shown.
const CONSOLE_LEVEL: u8 = 6;

/// Applies all settings; what this kernel lacks is noted.
pub fn apply() {
    for (name, value) in SETTINGS {
        if let Err(error) = fs::write(path(name), value) {
            kmsg::warning!("cannot set {name} to {value}: {error}");
        }
    }
}

/// Lets milestones reach the console, whatever `quiet` on the command line says, and lifts the limit on lines.
pub fn open_console_log() {
    // Best effort both: without them lines are missing on the console, not in the log.
    let _ = fs::write(path("kernel.printk_devkmsg"), "on");
    let levels = fs::read_to_string(path("kernel.printk")).unwrap_or_default();
    if console_level(&levels).is_some_and(|level| level < CONSOLE_LEVEL) {
        let _ = fs::write(path("kernel.printk"), CONSOLE_LEVEL.to_string());
    }
}

fn console_level(levels: &str) -> Option<u8> {
    levels.split_ascii_whitespace().next()?.parse().ok()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_setting_stands_once_and_modules_are_locked_last() {
        let names: BTreeSet<_> = SETTINGS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), SETTINGS.len());
        assert_eq!(SETTINGS.last(), Some(&("kernel.modules_disabled", "1")));
        assert!(SETTINGS.iter().all(|(_, value)| value.parse::<u32>().is_ok()));
    }

    #[test]
    fn names_become_paths() {
        assert_eq!(path("net.ipv4.ip_forward"), PathBuf::from("/proc/sys/net/ipv4/ip_forward"));
    }

    #[test]
    fn the_console_level_is_the_first_of_four() {
        assert_eq!(console_level("4\t4\t1\t7\n"), Some(4));
        assert_eq!(console_level(""), None);
    }
}

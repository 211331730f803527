//! Files of a cgroup, see the kernel's Documentation/admin-guide/cgroup-v2.rst.

use crate::text::{first_number, named, text};

/// A counter of a file with one on each line, such as `oom_kill` of memory.events.
#[must_use]
pub fn counter(bytes: &[u8], name: &str) -> Option<u64> {
    named(bytes, name)
}

/// A limit, such as memory.max; `max` is none.
#[must_use]
pub fn ceiling(bytes: &[u8]) -> Option<u64> {
    first_number(bytes)
}

/// io.stat, summed over all devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupIo {
    /// Read.
    pub read_bytes: u64,
    /// Written.
    pub written_bytes: u64,
}

impl CgroupIo {
    /// Parses the file. Of a cgroup that never touched a disk it is empty: that is zero.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut sum = Self::default();
        for pair in text(bytes).split_ascii_whitespace().filter_map(|word| word.split_once('=')) {
            let Ok(value) = pair.1.parse::<u64>() else { continue };
            match pair.0 {
                "rbytes" => sum.read_bytes = sum.read_bytes.saturating_add(value),
                "wbytes" => sum.written_bytes = sum.written_bytes.saturating_add(value),
                _ => {}
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_summed() {
        let text =
            b"254:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n253:0 rbytes=5 wbytes=7 rios=1\n8:0\n";
        assert_eq!(CgroupIo::parse(text), CgroupIo { read_bytes: 15, written_bytes: 27 });
        assert_eq!(CgroupIo::parse(b""), CgroupIo::default());
    }

    #[test]
    fn no_limit_is_absent_and_not_nought() {
        assert_eq!(ceiling(b"max\n"), None);
        assert_eq!(ceiling(b"0\n"), Some(0));
        assert_eq!(ceiling(b"268435456\n"), Some(268_435_456));
    }

    #[test]
    fn counters_by_name() {
        let events = b"low 0\nhigh 0\nmax 4\noom 1\noom_kill 2\noom_group_kill 3\n";
        assert_eq!(counter(events, "oom_kill"), Some(2));
        assert_eq!(counter(events, "usage_usec"), None);
    }
}

//! Processes.

use crate::text::{named_kib, text};

/// /proc/PID/stat, see proc_pid_stat(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// Process id.
    pub pid: u32,
    /// Name, at most 15 bytes; the process may choose it.
    pub name: String,
    /// One letter.
    pub state: char,
    /// Parent.
    pub parent_pid: u32,
    /// Whether it is a thread of the kernel.
    pub is_kernel_thread: bool,
    /// Processor time in user mode, in clock ticks.
    pub user_ticks: u64,
    /// The same in the kernel.
    pub system_ticks: u64,
    /// Number of threads.
    pub threads: u32,
    /// Start, in clock ticks since that of the kernel.
    pub start_ticks: u64,
}

/// `PF_KTHREAD` (linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

impl ProcessStat {
    /// Parses the file. The name may hold anything, so it ends at the last parenthesis.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let line = text(bytes);
        let (pid, rest) = line.split_once('(')?;
        let (name, rest) = rest.rsplit_once(')')?;
        // The third field of the manual is the first here.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let number = |at: usize| field(at)?.parse::<u64>().ok();
        Some(Self {
            pid: pid.trim().parse().ok()?,
            name: name.to_owned(),
            state: field(3)?.chars().next()?,
            parent_pid: field(4)?.parse().ok()?,
            is_kernel_thread: number(9)? & KERNEL_THREAD != 0,
            user_ticks: number(14)?,
            system_ticks: number(15)?,
            threads: field(20)?.parse().ok()?,
            start_ticks: number(22)?,
        })
    }

    /// Processor time, in clock ticks.
    #[must_use]
    pub fn cpu_ticks(&self) -> u64 {
        self.user_ticks.saturating_add(self.system_ticks)
    }
}

/// What only /proc/PID/status tells, see proc_pid_status(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Effective user.
    pub user_id: Option<u32>,
    /// Resident set size. Threads of the kernel have none.
    pub resident_bytes: Option<u64>,
    /// What of it is in swap.
    pub swapped_bytes: Option<u64>,
}

impl ProcessStatus {
    /// Parses the file.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let text = text(bytes);
        let users = text.lines().find_map(|line| line.strip_prefix("Uid:"));
        Self {
            // Real, effective, saved, of file systems.
            user_id: users.and_then(|users| users.split_ascii_whitespace().nth(1)?.parse().ok()),
            resident_bytes: named_kib(bytes, "VmRSS"),
            swapped_bytes: named_kib(bytes, "VmSwap"),
        }
    }
}

/// Arguments of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The program's name first.
    pub words: Vec<String>,
    /// Whether there are more.
    pub cut: bool,
}

/// /proc/PID/cmdline, of which at most `max_bytes` are taken.
#[must_use]
pub fn arguments(bytes: &[u8], max_bytes: usize) -> Arguments {
    let kept = bytes.get(..max_bytes).unwrap_or(bytes);
    // A process that overwrote its arguments may have left zeros behind them.
    let end = kept.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let words = kept.get(..end).unwrap_or_default();
    let words = words.split(|byte| *byte == 0).map(|word| text(word).into_owned());
    Arguments { words: if end == 0 { Vec::new() } else { words.collect() }, cut: kept.len() < bytes.len() }
}

/// The proportional set size of /proc/PID/smaps_rollup.
#[must_use]
pub fn proportional_bytes(bytes: &[u8]) -> Option<u64> {
    named_kib(bytes, "Pss")
}

/// The cgroup in /proc/PID/cgroup, where version 2 has the number 0.
#[must_use]
pub fn cgroup_of(bytes: &[u8]) -> Option<String> {
    let path = text(bytes).lines().find_map(|line| Some(line.strip_prefix("0::")?.to_owned()))?;
    // Of a process that outlived its cgroup.
    Some(path.strip_suffix(" (deleted)").map_or(path.clone(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] = b"71 (a (b) c) S 1 71 71 0 -1 4194560 3032 0 12 0 345 67 0 0 20 0 9 0 812 \
        12345678 2048 18446744073709551615 1 1 0 0 0 0 0 4096 17663 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let stat = ProcessStat::parse(STAT).unwrap();
        assert_eq!((stat.pid, stat.name.as_str(), stat.state, stat.parent_pid), (71, "a (b) c", 'S', 1));
        assert_eq!((stat.user_ticks, stat.system_ticks, stat.cpu_ticks()), (345, 67, 412));
        assert_eq!((stat.threads, stat.start_ticks, stat.is_kernel_thread), (9, 812, false));
    }

    #[test]
    fn threads_of_the_kernel_are_told() {
        let text = String::from_utf8_lossy(STAT).replace(" 4194560 ", " 2129984 ");
        assert!(ProcessStat::parse(text.as_bytes()).unwrap().is_kernel_thread);
    }

    #[test]
    fn what_is_cut_short_is_no_process() {
        for end in 0..STAT.len() - 150 {
            assert_eq!(ProcessStat::parse(&STAT[..end]), None, "{end}");
        }
        assert_eq!(ProcessStat::parse(b") 1 ("), None);
    }

    #[test]
    fn sizes_that_a_process_has_not_are_absent() {
        let status = b"Name:\tx\nUid:\t100\t101\t102\t103\nVmRSS:\t    8 kB\nVmSwap:\t    0 kB\n";
        assert_eq!(
            ProcessStatus::parse(status),
            ProcessStatus { user_id: Some(101), resident_bytes: Some(8192), swapped_bytes: Some(0) }
        );
        let kernel = ProcessStatus::parse(b"Name:\tkthreadd\nUid:\t0\t0\t0\t0\n");
        assert_eq!((kernel.user_id, kernel.resident_bytes), (Some(0), None));
    }

    #[test]
    fn arguments_are_split_and_bounded() {
        let words = |bytes: &[u8], max_bytes| {
            let Arguments { words, cut } = arguments(bytes, max_bytes);
            (words.join("|"), cut)
        };
        assert_eq!(words(b"/usr/bin/x\0--y\0\0z\0", 99), ("/usr/bin/x|--y||z".into(), false));
        assert_eq!(words(b"/usr/bin/x\0--y\0", 7), ("/usr/bi".into(), true));
        assert_eq!(words(b"title\0\0\0\0", 99), ("title".into(), false));
        assert_eq!(words(b"a\xff\0", 99), ("a\u{fffd}".into(), false));
        assert!(arguments(b"", 99).words.is_empty() && arguments(b"\0\0", 99).words.is_empty());
    }

    #[test]
    fn the_second_version_of_cgroups_is_taken() {
        assert_eq!(cgroup_of(b"1:name=x:/a\n0::/system/apid\n").as_deref(), Some("/system/apid"));
        assert_eq!(cgroup_of(b"0::/kubepods/x (deleted)\n").as_deref(), Some("/kubepods/x"));
        assert_eq!(cgroup_of(b"1:cpu:/a\n"), None);
    }

    #[test]
    fn proportional_is_not_resident() {
        let rollup =
            b"5581-7ffd ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nPss:  123 kB\nPss_Dirty: 9 kB\n";
        assert_eq!(proportional_bytes(rollup), Some(123 * 1024));
    }
}

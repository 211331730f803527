//! Processors and load.

use crate::rate::percent;
use crate::text::text;

/// Time of a processor by mode, in clock ticks: /proc/stat, see proc_stat(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessorTimes {
    /// Programs.
    pub user: u64,
    /// Programs of low priority.
    pub nice: u64,
    /// The kernel.
    pub system: u64,
    /// Nothing.
    pub idle: u64,
    /// Nothing, while something waited for a disk.
    pub iowait: u64,
    /// Interrupts.
    pub irq: u64,
    /// What interrupts put off.
    pub softirq: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
}

impl ProcessorTimes {
    fn all(&self) -> [u64; 8] {
        [self.user, self.nice, self.system, self.idle, self.iowait, self.irq, self.softirq, self.steal]
    }

    /// Percent by mode since an earlier look, in the order of the fields; nothing when no tick has passed. The kernel's
    /// idle times may go back a little: that counts as none.
    #[must_use]
    pub fn shares_since(&self, before: &Self) -> Option<[f64; 8]> {
        let mut passed = self.all();
        for (after, before) in passed.iter_mut().zip(before.all()) {
            *after = after.saturating_sub(before);
        }
        let total = passed.iter().fold(0_u64, |sum, part| sum.saturating_add(*part));
        let mut shares = [0.0; 8];
        for (share, part) in shares.iter_mut().zip(passed) {
            *share = percent(part, total)?;
        }
        Some(shares)
    }
}

/// All processors together ("cpu") and each ("cpu0", …).
#[must_use]
pub fn processors(bytes: &[u8]) -> Vec<(String, ProcessorTimes)> {
    text(bytes).lines().filter_map(processor).collect()
}

fn processor(line: &str) -> Option<(String, ProcessorTimes)> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next()?;
    let number = name.strip_prefix("cpu")?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut next = || words.next()?.parse().ok();
    let times = ProcessorTimes {
        user: next()?,
        nice: next()?,
        system: next()?,
        idle: next()?,
        iowait: next()?,
        irq: next()?,
        softirq: next()?,
        steal: next()?,
    };
    Some((name.to_owned(), times))
}

/// /proc/loadavg, see proc_loadavg(5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadAverage {
    /// Over 1, 5 and 15 minutes.
    pub averages: [f64; 3],
    /// Threads that run or could.
    pub running: u32,
    /// All threads.
    pub threads: u32,
}

impl LoadAverage {
    /// Parses the file.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let line = text(bytes);
        let mut words = line.split_ascii_whitespace();
        let mut average = || words.next()?.parse::<f64>().ok().filter(|load| load.is_finite());
        let averages = [average()?, average()?, average()?];
        let (running, threads) = words.next()?.split_once('/')?;
        Some(Self { averages, running: running.parse().ok()?, threads: threads.parse().ok()? })
    }
}

/// Seconds since the kernel's start, the time of sleep included: /proc/uptime.
#[must_use]
pub fn uptime_s(bytes: &[u8]) -> Option<f64> {
    let seconds = text(bytes).split_ascii_whitespace().next()?.parse::<f64>().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] =
        b"cpu  100 1 50 800 20 3 4 5 0 0\ncpu0 60 1 20 400 10 3 2 5 0 0\ncpu1 40 0 30 400 10 0 2 0 0 0\n\
        cpux 1 2 3 4 5 6 7 8\nintr 12 0\nctxt 99\nbtime 1790000000\ncpu2 1 2\n";

    #[test]
    fn whole_lines_of_processors_are_taken() {
        let found = processors(STAT);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["cpu", "cpu0", "cpu1"]);
        assert_eq!((found[0].1.idle, found[0].1.steal), (800, 5));
    }

    #[test]
    fn shares_are_of_what_passed() {
        let before = processors(STAT)[0].1;
        let after = ProcessorTimes { user: before.user + 30, idle: before.idle + 60, iowait: 15, ..before };
        let shares = ProcessorTimes { system: before.system + 30, ..after }.shares_since(&before).unwrap();
        assert_eq!(shares, [25.0, 0.0, 25.0, 50.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(before.shares_since(&before), None);
    }

    #[test]
    fn load_and_uptime() {
        let load = LoadAverage::parse(b"0.20 0.18 1.12 3/80 11206\n").unwrap();
        assert_eq!((load.averages, load.running, load.threads), ([0.2, 0.18, 1.12], 3, 80));
        assert_eq!(LoadAverage::parse(b"0.20 nan 1.12 3/80 11206\n"), None);
        assert_eq!(uptime_s(b"350735.47 234388.90\n"), Some(350_735.47));
        for text in [&b""[..], b"-1 2", b"inf"] {
            assert_eq!(uptime_s(text), None);
        }
    }
}

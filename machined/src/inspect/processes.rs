//! Processes and their arguments.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use nix::unistd::{SysconfVar, sysconf};
use procview::{Arguments, ProcessStat, ProcessStatus, cgroup_of, counter, percent, proportional_bytes};
use prost_types::Timestamp;
use proto::inspect::v1 as api;

use super::{
    Before, Names, Roots, omitted,
    roots::{read, read_at_most},
};

/// Processes of one answer: with some 300 bytes each they fit into a message.
const PROCESSES_MAX: usize = 4096;
/// Arguments of one process.
const ARGUMENTS_MAX_BYTES: usize = 1024;
/// Arguments of one answer.
const ARGUMENTS_TOTAL_MAX_BYTES: usize = 2 << 20;
/// Time for proportional sizes: the kernel walks through all memory of a process for each.
const PROPORTIONAL_MAX: Duration = Duration::from_secs(10);
/// What clock ticks are worth where nobody says: `USER_HZ` of every machine that Cairn runs on.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time by process and by its start, which tells it from others with its id.
pub type Ticks = HashMap<(u32, u64), u64>;

/// What else to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Proportional set sizes.
    pub proportional: bool,
}

/// Processor time of all processes.
pub fn ticks(roots: &Roots) -> Ticks {
    let pids = roots.pids().into_iter().take(PROCESSES_MAX);
    let stats = pids.filter_map(|pid| stat(&roots.process(pid)));
    stats.map(|stat| ((stat.pid, stat.start_ticks), stat.cpu_ticks())).collect()
}

/// All processes.
pub fn processes(
    roots: &Roots,
    names: &Names,
    wanted: Wanted,
    before: Option<Before<Ticks>>,
) -> api::ListProcessesResponse {
    let (before, interval_ms) = Before::split(before);
    let clock = Clock::read(roots);
    let proportional_until = wanted.proportional.then(|| Instant::now() + PROPORTIONAL_MAX);
    let pids = roots.pids();
    let processes = pids.iter().take(PROCESSES_MAX).filter_map(|pid| {
        let folder = roots.process(*pid);
        let mut process = process(&folder, names, &clock)?;
        let known = before.as_ref().and_then(|ticks| ticks.get(&(process.pid, process.start_ticks)));
        process.cpu_percent = known.and_then(|ticks| {
            let passed_ms = process.cpu_time_ms.checked_sub(clock.to_ms(*ticks))?;
            percent(passed_ms, interval_ms.into())
        });
        if proportional_until.is_some_and(|until| Instant::now() < until) {
            process.proportional_bytes =
                read(&folder.join("smaps_rollup")).and_then(|bytes| proportional_bytes(&bytes));
        }
        Some(process)
    });
    api::ListProcessesResponse {
        processes: processes.collect(),
        interval_ms,
        omitted: omitted(pids.len(), PROCESSES_MAX),
    }
}

/// Arguments of all processes that have any.
pub fn arguments(roots: &Roots) -> api::ListArgumentsResponse {
    let mut answer = api::ListArgumentsResponse::default();
    let mut total_bytes = 0;
    for pid in roots.pids() {
        let folder = roots.process(pid);
        let bytes = read_at_most(&folder.join("cmdline"), ARGUMENTS_MAX_BYTES as u64 + 1).unwrap_or_default();
        let Arguments { words, cut } = procview::arguments(&bytes, ARGUMENTS_MAX_BYTES);
        let Some(stat) = stat(&folder).filter(|_| !words.is_empty()) else { continue };
        total_bytes += bytes.len();
        if total_bytes > ARGUMENTS_TOTAL_MAX_BYTES || answer.processes.len() == PROCESSES_MAX {
            answer.omitted += 1;
            continue;
        }
        let start_ticks = stat.start_ticks;
        answer.processes.push(api::Arguments { pid, start_ticks, arguments: words, cut });
    }
    answer
}

/// The cgroup of a process.
pub fn cgroup(folder: &Path) -> Option<String> {
    cgroup_of(&read(&folder.join("cgroup"))?)
}

/// The name of a process.
pub fn name(folder: &Path) -> Option<String> {
    Some(stat(folder)?.name)
}

fn stat(folder: &Path) -> Option<ProcessStat> {
    ProcessStat::parse(&read(&folder.join("stat"))?)
}

/// Nothing if it has ended.
fn process(folder: &Path, names: &Names, clock: &Clock) -> Option<api::Process> {
    let stat = stat(folder)?;
    let status = read(&folder.join("status")).map(|bytes| ProcessStatus::parse(&bytes)).unwrap_or_default();
    let cgroup = cgroup(folder);
    let executable = fs::read_link(folder.join("exe")).map(|path| path.to_string_lossy().into_owned());
    let owner = match &cgroup {
        // Whoever is in the root but no thread of the kernel has not been put anywhere yet.
        Some(path) if path == "/" && !stat.is_kernel_thread => None,
        Some(path) => names.owner(path),
        None => None,
    };
    Some(api::Process {
        cpu_time_ms: clock.to_ms(stat.cpu_ticks()),
        pid: stat.pid,
        parent_pid: stat.parent_pid,
        name: stat.name,
        executable: executable.unwrap_or_default(),
        state: stat.state.to_string(),
        threads: stat.threads,
        user_id: status.user_id,
        resident_bytes: status.resident_bytes,
        proportional_bytes: None,
        swapped_bytes: status.swapped_bytes,
        cpu_percent: None,
        started: clock.time(stat.start_ticks),
        start_ticks: stat.start_ticks,
        cgroup: cgroup.unwrap_or_default(),
        owner,
    })
}

/// What clock ticks mean.
pub struct Clock {
    ticks_per_second: u64,
    /// Start of the kernel, in seconds since 1970.
    started_s: Option<u64>,
}

impl Clock {
    /// The kernel's.
    pub fn read(roots: &Roots) -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
        let started_s = read(&roots.proc.join("stat")).and_then(|bytes| counter(&bytes, "btime"));
        let ticks_per_second = ticks.and_then(|ticks| u64::try_from(ticks).ok()).filter(|ticks| *ticks > 0);
        Self { ticks_per_second: ticks_per_second.unwrap_or(TICKS_PER_SECOND), started_s }
    }

    /// Ticks in milliseconds.
    pub fn to_ms(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(1000) / self.ticks_per_second
    }

    /// A moment so many ticks after the kernel's start.
    fn time(&self, ticks: u64) -> Option<Timestamp> {
        let ms = self.started_s?.saturating_mul(1000).saturating_add(self.to_ms(ticks));
        let nanos = i32::try_from(ms % 1000 * 1_000_000).ok()?;
        Some(Timestamp { seconds: i64::try_from(ms / 1000).ok()?, nanos })
    }
}

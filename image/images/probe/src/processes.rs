//! Processes of the host, by /proc (proc_pid_smaps(5)).

use std::{fs, io};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill as send},
    unistd::Pid,
};

struct Process {
    pid: i32,
    comm: String,
}

/// JSON list of {pid, comm, cgroup, pss_kib, rss_kib} of all processes with memory of their own.
pub fn memory() -> io::Result<String> {
    let mut rows = Vec::new();
    for Process { pid, comm } in all()? {
        let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        let field = |name: &str| -> u64 {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let cgroup = cgroup.trim().trim_start_matches("0::").to_owned();
        let (pss, rss) = (field("Pss:"), field("Rss:"));
        if rss > 0 {
            rows.push(format!(
                r#"{{"pid":{pid},"comm":{comm:?},"cgroup":{cgroup:?},"pss_kib":{pss},"rss_kib":{rss}}}"#
            ));
        }
    }
    Ok(format!("[{}]\n", rows.join(",\n")))
}

/// Processes that ended and were not reaped.
pub fn zombies() -> io::Result<usize> {
    let ended = |process: &Process| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
    };
    Ok(all()?.iter().filter(|process| ended(process)).count())
}

/// Signals all processes of a name; prints their ids.
pub fn kill(comm: &str, signal: u32) -> io::Result<String> {
    let signal = i32::try_from(signal).ok().and_then(|number| Signal::try_from(number).ok());
    let signal = signal.ok_or_else(|| io::Error::other("no such signal"))?;
    let mut killed = Vec::new();
    for process in all()?.into_iter().filter(|process| process.comm == comm) {
        match send(Pid::from_raw(process.pid), signal) {
            Ok(()) => killed.push(process.pid.to_string()),
            // Gone in the meantime.
            Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if killed.is_empty() {
        return Err(io::Error::other(format!("no process named {comm}")));
    }
    Ok(killed.join(" ") + "\n")
}

fn all() -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // Gone in the meantime.
        let Ok(comm) = fs::read_to_string(format!("/proc/{pid}/comm")) else { continue };
        found.push(Process { pid, comm: comm.trim().to_owned() });
    }
    Ok(found)
}

//! Cgroups of services, pods and containers.

use std::{collections::HashMap, path::Path};

use procview::{CgroupIo, Owner, Pressure, ceiling, counter, first_number, per_second, percent};
use proto::inspect::v1 as api;

use super::{
    Before, Names, Roots, omitted,
    roots::{names as folder_names, read},
    system::pressure as to_message,
};

/// Cgroups of one answer: with some 500 bytes each they fit into a message.
const CGROUPS_MAX: usize = 2048;
/// Levels below the root: /kubepods/burstable/pod/container.
const DEPTH_MAX: usize = 4;

/// What a cgroup had used.
#[derive(Clone, Copy, Default)]
pub struct Used {
    cpu_us: Option<u64>,
    io: Option<CgroupIo>,
}

/// What all cgroups have used so far, by their paths.
pub fn used(roots: &Roots) -> HashMap<String, Used> {
    let paths = paths(roots).into_iter().take(CGROUPS_MAX);
    paths.map(|path| (path.clone(), use_of(&folder(roots, &path)))).collect()
}

/// All cgroups.
pub fn cgroups(
    roots: &Roots,
    names: &Names,
    before: Option<Before<HashMap<String, Used>>>,
) -> api::ListCgroupsResponse {
    let (before, interval_ms) = Before::split(before);
    let paths = paths(roots);
    let omitted = omitted(paths.len(), CGROUPS_MAX);
    let cgroups = paths.into_iter().take(CGROUPS_MAX).map(|path| {
        let before = before.as_ref().and_then(|before| before.get(&path)).copied();
        let owner = names.owner(&path);
        api::Cgroup { owner, ..cgroup(&folder(roots, &path), path, before, interval_ms) }
    });
    api::ListCgroupsResponse { cgroups: cgroups.collect(), interval_ms, omitted }
}

fn folder(roots: &Roots, path: &str) -> std::path::PathBuf {
    roots.cgroups.join(path.trim_start_matches('/'))
}

/// Those that hold services, pods and containers, and those that only hold others; not what containers make below
/// themselves.
fn paths(roots: &Roots) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), 0)];
    while let Some((parent, depth)) = open.pop() {
        for name in folder_names(&folder(roots, &parent)) {
            let path = format!("{parent}/{name}");
            if !folder(roots, &path).join("cgroup.procs").exists() {
                continue;
            }
            let is_last = match Owner::of(&path) {
                Some(Owner::Pod(pod)) => pod.container_id.is_some(),
                Some(_) => true,
                None => false,
            };
            if !is_last && depth + 1 < DEPTH_MAX {
                open.push((path.clone(), depth + 1));
            }
            found.push(path);
        }
    }
    found.sort_unstable();
    found
}

fn use_of(folder: &Path) -> Used {
    Used {
        cpu_us: read(&folder.join("cpu.stat")).and_then(|bytes| counter(&bytes, "usage_usec")),
        io: read(&folder.join("io.stat")).map(|bytes| CgroupIo::parse(&bytes)),
    }
}

fn cgroup(folder: &Path, path: String, before: Option<Used>, interval_ms: u32) -> api::Cgroup {
    let file = |name: &str| read(&folder.join(name));
    let number = |name: &str| first_number(&file(name)?);
    let limit = |name: &str| ceiling(&file(name)?);
    let pressure = |name: &str| Pressure::parse(&file(name)?).map(to_message);
    let Used { cpu_us, io } = use_of(folder);
    let Used { cpu_us: cpu_before_us, io: io_before } = before.unwrap_or_default();
    let cpu_percent = || {
        let passed_us = cpu_us?.checked_sub(cpu_before_us?)?;
        percent(passed_us, u64::from(interval_ms) * 1000)
    };
    let rate = |of: fn(CgroupIo) -> u64| per_second(of(io_before?), of(io?), interval_ms.into());
    api::Cgroup {
        owner: None,
        cpu_time_us: cpu_us,
        cpu_percent: cpu_percent(),
        cpu_throttled_us: file("cpu.stat").and_then(|bytes| counter(&bytes, "throttled_usec")),
        memory_bytes: number("memory.current"),
        memory_peak_bytes: number("memory.peak"),
        memory_limit_bytes: limit("memory.max"),
        swap_bytes: number("memory.swap.current"),
        processes: number("pids.current"),
        processes_limit: limit("pids.max"),
        read_bytes: io.map(|io| io.read_bytes),
        written_bytes: io.map(|io| io.written_bytes),
        read_bytes_per_second: rate(|io| io.read_bytes),
        written_bytes_per_second: rate(|io| io.written_bytes),
        cpu_pressure: pressure("cpu.pressure"),
        memory_pressure: pressure("memory.pressure"),
        io_pressure: pressure("io.pressure"),
        oom_kills: file("memory.events").and_then(|bytes| counter(&bytes, "oom_kill")),
        path,
    }
}

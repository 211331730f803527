//! `osctl stats`

use std::cmp::Reverse;

use proto::inspect::v1 as api;
use serde::Serialize;

use super::owner::Owner;
use super::top::Pressure;
use super::units::{bytes, count, percent};
use super::{List, show, warn_of_omitted};
use crate::cli::inspect::{Stats, StatsSort};
use crate::command::Session;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::Table;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    path: String,
    owner: Option<Owner>,
    cpu_time_us: Option<u64>,
    cpu_percent: Option<f64>,
    cpu_throttled_us: Option<u64>,
    memory_bytes: Option<u64>,
    memory_peak_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    swap_bytes: Option<u64>,
    processes: Option<u64>,
    processes_limit: Option<u64>,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
    read_bytes_per_second: Option<f64>,
    written_bytes_per_second: Option<f64>,
    cpu_pressure: Option<Pressure>,
    memory_pressure: Option<Pressure>,
    io_pressure: Option<Pressure>,
    oom_kills: Option<u64>,
}

impl From<api::Cgroup> for Cgroup {
    fn from(cgroup: api::Cgroup) -> Cgroup {
        Cgroup {
            path: cgroup.path,
            owner: Owner::new(cgroup.owner),
            cpu_time_us: cgroup.cpu_time_us,
            cpu_percent: cgroup.cpu_percent,
            cpu_throttled_us: cgroup.cpu_throttled_us,
            memory_bytes: cgroup.memory_bytes,
            memory_peak_bytes: cgroup.memory_peak_bytes,
            memory_limit_bytes: cgroup.memory_limit_bytes,
            swap_bytes: cgroup.swap_bytes,
            processes: cgroup.processes,
            processes_limit: cgroup.processes_limit,
            read_bytes: cgroup.read_bytes,
            written_bytes: cgroup.written_bytes,
            read_bytes_per_second: cgroup.read_bytes_per_second,
            written_bytes_per_second: cgroup.written_bytes_per_second,
            cpu_pressure: cgroup.cpu_pressure.map(Pressure::from),
            memory_pressure: cgroup.memory_pressure.map(Pressure::from),
            io_pressure: cgroup.io_pressure.map(Pressure::from),
            oom_kills: cgroup.oom_kills,
        }
    }
}

impl Cgroup {
    fn is_wanted(&self, arguments: &Stats) -> bool {
        match &self.owner {
            None => arguments.all,
            Some(Owner::Pod { container_id, .. }) => container_id.is_empty() || arguments.containers,
            Some(_) => true,
        }
    }

    fn name(&self) -> String {
        if self.owner.is_some() { Owner::shown(self.owner.as_ref()) } else { self.path.clone() }
    }
}

pub async fn run(session: &Session, arguments: &Stats) -> Result<(), Failure> {
    let node = session.connect().await?;
    let look = || look(&node, arguments);
    show(session, arguments.watch, look, |list: &List<Cgroup>| table(&list.items)).await
}

async fn look(node: &Node, arguments: &Stats) -> Result<List<Cgroup>, Failure> {
    let request = api::ListCgroupsRequest { interval_ms: arguments.interval.ms() };
    let answer = node.call("cannot list the cgroups", node.inspect().list_cgroups(request)).await?;
    warn_of_omitted(answer.omitted);
    let items = answer.cgroups.into_iter().map(Cgroup::from);
    let mut items: Vec<Cgroup> = items.filter(|cgroup| cgroup.is_wanted(arguments)).collect();
    match arguments.sort {
        // Services come before pods: their owners have no slash.
        StatsSort::Name => items.sort_by_key(|cgroup| (cgroup.name().contains('/'), cgroup.name())),
        StatsSort::Memory => items.sort_by_key(|cgroup| Reverse(cgroup.memory_bytes)),
        StatsSort::Cpu => items.sort_by(|a, b| {
            let share = |cgroup: &Cgroup| cgroup.cpu_percent.unwrap_or_default();
            share(b).total_cmp(&share(a))
        }),
    }
    Ok(List { interval_ms: Some(answer.interval_ms), items, omitted: answer.omitted })
}

fn table(cgroups: &[Cgroup]) -> String {
    let heading = ["NAME", "CPU%", "MEMORY", "PEAK", "LIMIT", "PIDS", "READ", "WRITTEN"];
    let pressures = ["CPU PRESSURE", "MEMORY PRESSURE", "IO PRESSURE", "OOM"];
    let mut table = Table::new(heading.into_iter().chain(pressures));
    for cgroup in cgroups {
        let pressure = |pressure: &Option<Pressure>| pressure.as_ref().map(Pressure::last_10s);
        table.row([
            cgroup.name(),
            percent(cgroup.cpu_percent),
            bytes(cgroup.memory_bytes),
            bytes(cgroup.memory_peak_bytes),
            bytes(cgroup.memory_limit_bytes),
            count(cgroup.processes),
            bytes(cgroup.read_bytes),
            bytes(cgroup.written_bytes),
            pressure(&cgroup.cpu_pressure).unwrap_or_default(),
            pressure(&cgroup.memory_pressure).unwrap_or_default(),
            pressure(&cgroup.io_pressure).unwrap_or_default(),
            count(cgroup.oom_kills),
        ]);
    }
    table.take()
}

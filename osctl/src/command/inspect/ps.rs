//! `osctl ps`

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use proto::inspect::v1 as api;
use serde::Serialize;

use super::owner::Owner;
use super::units::{bytes, percent};
use super::{List, warn_of_omitted};
use crate::cli::inspect::{Ps, PsSort};
use crate::command::{Session, get};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{self, Table};
use crate::{clock, duration};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    pid: u32,
    parent_pid: u32,
    name: String,
    executable: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<Vec<String>>,
    state: String,
    threads: u32,
    user_id: Option<u32>,
    resident_bytes: Option<u64>,
    proportional_bytes: Option<u64>,
    swapped_bytes: Option<u64>,
    cpu_time_ms: u64,
    cpu_percent: Option<f64>,
    started: Option<String>,
    cgroup: String,
    owner: Option<Owner>,
    #[serde(skip)]
    start_ticks: u64,
    #[serde(skip)]
    age: String,
}

impl From<api::Process> for Process {
    fn from(process: api::Process) -> Process {
        Process {
            age: clock::age(process.started.as_ref(), clock::now_s()),
            pid: process.pid,
            parent_pid: process.parent_pid,
            name: process.name,
            executable: process.executable,
            arguments: None,
            state: process.state,
            threads: process.threads,
            user_id: process.user_id,
            resident_bytes: process.resident_bytes,
            proportional_bytes: process.proportional_bytes,
            swapped_bytes: process.swapped_bytes,
            cpu_time_ms: process.cpu_time_ms,
            cpu_percent: process.cpu_percent,
            started: process.started.map(|time| time.to_string()),
            cgroup: process.cgroup,
            owner: Owner::new(process.owner),
            start_ticks: process.start_ticks,
        }
    }
}

impl Process {
    fn is_wanted(&self, arguments: &Ps) -> bool {
        let owner = self.owner.as_ref();
        match (&arguments.service, &arguments.pod) {
            (Some(service), _) => Owner::is_service(owner, service),
            (None, Some(pod)) => Owner::is_pod(owner, pod),
            (None, None) => arguments.all || owner != Some(&Owner::Kernel),
        }
    }
}

pub async fn run(session: &Session, arguments: &Ps) -> Result<(), Failure> {
    let node = session.connect().await?;
    let request = api::ListProcessesRequest {
        interval_ms: arguments.interval.ms(),
        proportional_set_size: arguments.pss,
    };
    let answer = node.call("cannot list the processes", node.inspect().list_processes(request)).await?;
    let all: Vec<Process> = answer.processes.into_iter().map(Process::from).collect();
    let nobodys = if arguments.service.is_some() || arguments.pod.is_some() { owners(&all) } else { None };
    let mut items: Vec<Process> = all.into_iter().filter(|process| process.is_wanted(arguments)).collect();
    if let (true, Some(owners)) = (items.is_empty(), nobodys) {
        return Err(Failure::new(Exit::NotFound, "no process is of this service or pod").hint(owners));
    }
    if arguments.args {
        add_arguments(&node, &mut items).await?;
    }
    sort(&mut items, arguments.sort);
    let list = List { interval_ms: Some(answer.interval_ms), items, omitted: answer.omitted };
    warn_of_omitted(list.omitted);
    output::print(session.format(), &list, |list| table(&list.items, arguments))
}

/// Whose processes there are, for a hint.
fn owners(all: &[Process]) -> Option<String> {
    let owners: BTreeSet<String> = all
        .iter()
        .filter_map(|process| process.owner.as_ref().filter(|owner| **owner != Owner::Kernel))
        .map(|owner| Owner::shown(Some(owner)))
        .collect();
    Some(get::known_ids("owners of processes", owners.iter().map(String::as_str)))
}

/// Arguments belong to a process with that start only: its id may be another's by now.
async fn add_arguments(node: &Node, processes: &mut [Process]) -> Result<(), Failure> {
    let mut inspect = node.inspect();
    let call = inspect.list_arguments(api::ListArgumentsRequest {});
    let answer = node.call("cannot list the arguments of processes", call).await?;
    let mut known: HashMap<(u32, u64), Vec<String>> = answer
        .processes
        .into_iter()
        .map(|mut process| {
            process.arguments.extend(process.cut.then(|| "…".to_owned()));
            ((process.pid, process.start_ticks), process.arguments)
        })
        .collect();
    for process in processes {
        process.arguments = known.remove(&(process.pid, process.start_ticks));
    }
    Ok(())
}

fn sort(processes: &mut [Process], by: PsSort) {
    match by {
        PsSort::Pid => processes.sort_by_key(|process| process.pid),
        PsSort::Memory => processes.sort_by_key(|process| Reverse(process.resident_bytes)),
        PsSort::Cpu => processes.sort_by(|a, b| {
            let share = |process: &Process| process.cpu_percent.unwrap_or_default();
            share(b).total_cmp(&share(a)).then(b.cpu_time_ms.cmp(&a.cpu_time_ms))
        }),
    }
}

fn table(processes: &[Process], arguments: &Ps) -> String {
    let mut heading = vec!["PID", "PPID", "USER", "STATE", "THREADS", "CPU%", "CPU TIME", "RSS"];
    heading.extend(arguments.pss.then_some("PSS"));
    heading.extend(["AGE", "OWNER", if arguments.args { "COMMAND" } else { "NAME" }]);
    let mut table = Table::new(heading);
    for process in processes {
        let command = match &process.arguments {
            Some(words) => words.join(" "),
            None if process.owner == Some(Owner::Kernel) => format!("[{}]", process.name),
            None => process.name.clone(),
        };
        let mut cells = vec![
            process.pid.to_string(),
            process.parent_pid.to_string(),
            process.user_id.map(|user| user.to_string()).unwrap_or_default(),
            process.state.clone(),
            process.threads.to_string(),
            percent(process.cpu_percent),
            duration::age(Duration::from_millis(process.cpu_time_ms)),
            bytes(process.resident_bytes),
        ];
        cells.extend(arguments.pss.then(|| bytes(process.proportional_bytes)));
        cells.extend([process.age.clone(), Owner::shown(process.owner.as_ref()), command]);
        table.row(cells);
    }
    table.take()
}

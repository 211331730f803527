//! What an idle node takes: memory of Cairn's own processes, the cost of one more pod, bytes written to the disk.

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{
    bed::Bed,
    http,
    measure::{self, INIT_PSS_LIMIT_KIB, OWN_PSS_LIMIT_KIB, Process},
    node::{self, BOOT_DEADLINE, Blueprint, Node, Tools},
};

use super::{boots::DISK_SIZE, figures::Figure};
use crate::report::Step;

/// Pods added for the cost of one more: each with a host port, by which it is seen to run.
const MORE_POD_PORTS: [u16; 3] = [8082, 8083, 8084];
/// What starting leaves behind has been given back by then.
const SETTLING: Duration = Duration::from_secs(90);
/// Writing counts as idle once a look of this length sees little. At first ext4 clears its inode tables.
const LOOK: Duration = Duration::from_secs(30);
const LITTLE_BYTES: u64 = 1 << 20;
/// Looks in all: 15 min. A node that still writes then is measured as it is.
const LOOKS_MAX: u32 = 30;

const INIT_GOAL_KIB: f64 = 2.0 * 1024.0;
const OWN_GOAL_KIB: f64 = 12.0 * 1024.0;

/// Memory of a node at rest.
struct Memory {
    processes: Vec<Process>,
    cgroups_kib: u64,
}

/// Measures two nodes, one with more pods than the other, and watches the first one's disk for `window_minutes`.
pub fn measure(bed: &Bed, tools: &Tools, window_minutes: u32) -> Result<Vec<Figure>> {
    let step = Step::start("memory", "a node with more pods");
    let crowded = memory(&mut settled(bed, tools, "crowded", &MORE_POD_PORTS)?)?;
    step.done();
    let step = Step::start("memory", "a node with one pod and the probe");
    let mut node = settled(bed, tools, "idle", &[])?;
    let calm = memory(&mut node)?;
    step.done();
    let step = Step::start("idle writes", &format!("until writing settles, then {window_minutes} min"));
    let (settled_minutes, written) = writes(&mut node, window_minutes)?;
    step.done();
    let mut figures = memory_figures(&calm, &crowded)?;
    figures.extend([
        Figure::count("idle_before_window_minutes", "pods answer → idle window", settled_minutes),
        Figure::count("idle_window_minutes", "idle window", window_minutes.into()),
        Figure::count(
            "idle_written_per_hour_bytes",
            "written to the disk per idle hour",
            written * 60 / u64::from(window_minutes.max(1)),
        ),
    ]);
    Ok(figures)
}

fn memory_figures(calm: &Memory, crowded: &Memory) -> Result<Vec<Figure>> {
    let pss = |name| measure::pss_kib(&calm.processes, name);
    let (init, machined, apid) = (pss("init")?, pss("machined")?, pss("apid")?);
    let more_each = |value: &dyn Fn(&Memory) -> u64| {
        value(crowded).saturating_sub(value(calm)) / MORE_POD_PORTS.len() as u64
    };
    let own = more_each(&|memory| sum(&memory.processes, |process| !is_pods_own(process)));
    let shims =
        more_each(&|memory| sum(&memory.processes, |process| process.comm.starts_with("containerd-shim")));
    Ok(vec![
        Figure::count("init_pss_kib", "proportional set size of PID 1", init)
            .goal(INIT_GOAL_KIB)
            .limit(INIT_PSS_LIMIT_KIB),
        Figure::count("machined_pss_kib", "  of machined", machined),
        Figure::count("apid_pss_kib", "  of apid", apid),
        Figure::count("own_pss_kib", "  of the three", init + machined + apid)
            .goal(OWN_GOAL_KIB)
            .limit(OWN_PSS_LIMIT_KIB),
        Figure::count("containerd_pss_kib", "  of containerd", pss("containerd")?),
        Figure::count("kubelet_pss_kib", "  of the kubelet", pss("kubelet")?),
        Figure::count("pod_overhead_pss_kib", "one more pod beyond its own processes", own),
        Figure::count("pod_overhead_shim_pss_kib", "  of it, its shim", shims),
        Figure::count(
            "pod_overhead_cgroups_kib",
            "  the same by cgroups, with the kernel's share",
            more_each(&|memory| memory.cgroups_kib),
        ),
    ])
}

fn sum(processes: &[Process], counted: impl Fn(&Process) -> bool) -> u64 {
    processes.iter().filter(|process| counted(process)).map(|process| process.pss_kib).sum()
}

/// The pause process holds the pod's namespaces: nobody asked for it.
fn is_pods_own(process: &Process) -> bool {
    process.cgroup.starts_with("/kubepods") && process.comm != "pause"
}

/// A node with the sample pod, the probe and a pod for each port, some time after all answer.
fn settled(bed: &Bed, tools: &Tools, name: &str, more_ports: &[u16]) -> Result<Node> {
    let mut hardware = node::default_hardware();
    hardware.forwarded_ports.extend(more_ports);
    let blueprint = Blueprint {
        name: name.to_owned(),
        image: bed.disk.clone(),
        disk_size: DISK_SIZE.to_owned(),
        hardware,
        pods: more_ports.iter().copied().map(pod).collect(),
        probe_image: Some(bed.probe_image.clone()),
    };
    let mut node = Node::up(tools, &blueprint, &bed.work.join(name))?;
    node.wait_for_probe()?;
    for port in more_ports {
        http::wait_for(node.forwarded(*port)?, "/", BOOT_DEADLINE, || node.machine.is_running())?;
    }
    node.machine.run_for(SETTLING)?;
    Ok(node)
}

fn memory(node: &mut Node) -> Result<Memory> {
    Ok(Memory { cgroups_kib: measure::own_cgroups_kib(node)?, processes: measure::processes(node)? })
}

/// Minutes until writing settled, and bytes written in the window after that.
fn writes(node: &mut Node, window_minutes: u32) -> Result<(u64, u64)> {
    let mut waited = SETTLING;
    for _ in 0..LOOKS_MAX {
        waited += LOOK;
        if written_during(node, LOOK)? < LITTLE_BYTES {
            break;
        }
    }
    let window = Duration::from_secs(60 * u64::from(window_minutes));
    Ok((waited.as_secs().div_ceil(60), written_during(node, window)?))
}

fn written_during(node: &mut Node, window: Duration) -> Result<u64> {
    let before = measure::written_bytes(&mut node.machine)?;
    // First boot made file systems: none at all would mean that the wrong thing is read.
    ensure!(before > 0, "QEMU counts no writes to the disk");
    node.machine.run_for(window)?;
    Ok(measure::written_bytes(&mut node.machine)?.saturating_sub(before))
}

/// A second of the sample pod, at another port.
fn pod(port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: hello-{port}
  namespace: default
spec:
  containers:
    - name: hello
      image: localhost/cairn/hello:1
      imagePullPolicy: Never
      ports:
        - containerPort: 8080
          hostPort: {port}
"
    )
}

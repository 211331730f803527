//! How long boots take: a node's, the floor's and the script's, in turn, so that noise of the host hits all alike.

use std::path::Path;

use anyhow::{Context as _, Result};
use testbed::{
    bare,
    bed::Bed,
    http,
    measure::{KernelStart, both_reached_ms},
    node::{self, BOOT_DEADLINE, Blueprint, Node, POD_PORT, Tools},
};

use super::{
    figures::{Figure, median},
    serial::{self, SerialBoot},
};
use crate::{cache, report::Step};

/// Disk of a measured node; sparse.
pub const DISK_SIZE: &str = "8G";
/// What the API may take of the time of an init that only says hello.
const API_GOAL: f64 = 1.5;
/// What the pod may take of the script's time.
const POD_GOAL: f64 = 0.75;

/// When a node reached what, in milliseconds since its kernel began.
#[derive(Clone, Copy, Debug)]
struct NodeBoot {
    init_ms: u64,
    api_ms: u64,
    pod_ms: u64,
}

/// All boots of a run.
#[derive(Debug, Default)]
pub struct Boots {
    floor_ms: Vec<u64>,
    first: Vec<NodeBoot>,
    later: Vec<NodeBoot>,
    serial: Vec<SerialBoot>,
}

/// Boots each kind `rounds` times.
pub fn measure(bed: &Bed, tools: &Tools, serial_disk: &Path, rounds: u32) -> Result<Boots> {
    let mut boots = Boots::default();
    for round in 1..=rounds {
        let step = Step::start(&format!("boots {round} of {rounds}"), "node (twice), floor, script");
        let folder = bed.work.join(format!("round-{round}"));
        let (first, later) = node(bed, tools, &folder.join("node"))?;
        boots.first.push(first);
        boots.later.push(later);
        boots.floor_ms.push(u64::try_from(bare::floor(bed)?.as_millis())?);
        boots.serial.push(serial::boot(tools, serial_disk, &folder.join("serial"))?);
        cache::remove(&folder)?;
        step.done();
    }
    Ok(boots)
}

impl Boots {
    /// Medians and ratios.
    pub fn figures(&self) -> Vec<Figure> {
        let of = |boots: &[NodeBoot], value: fn(&NodeBoot) -> u64| {
            median(&boots.iter().map(value).collect::<Vec<_>>())
        };
        let serial =
            |value: fn(&SerialBoot) -> u64| median(&self.serial.iter().map(value).collect::<Vec<_>>());
        let floor_ms = median(&self.floor_ms);
        let (api_first_ms, api_later_ms) = (of(&self.first, |b| b.api_ms), of(&self.later, |b| b.api_ms));
        let (pod_first_ms, pod_later_ms) = (of(&self.first, |b| b.pod_ms), of(&self.later, |b| b.pod_ms));
        let serial_pod_ms = serial(|boot| boot.pod_ms);
        vec![
            Figure::count("floor_ms", "kernel start → an init that only says hello", floor_ms),
            Figure::count("init_ms", "kernel start → PID 1", of(&self.first, |boot| boot.init_ms)),
            Figure::count("api_first_boot_ms", "kernel start → API served, first boot", api_first_ms),
            Figure::ratio("api_first_boot_ratio", "  against the floor", api_first_ms, floor_ms)
                .goal(API_GOAL),
            Figure::count("api_later_boot_ms", "kernel start → API served, later boot", api_later_ms),
            Figure::ratio("api_later_boot_ratio", "  against the floor", api_later_ms, floor_ms)
                .goal(API_GOAL),
            Figure::count("pod_first_boot_ms", "kernel start → pod answers, first boot", pod_first_ms),
            Figure::count("pod_later_boot_ms", "kernel start → pod answers, later boot", pod_later_ms),
            Figure::count("serial_init_ms", "kernel start → script as PID 1", serial(|boot| boot.script_ms)),
            Figure::count("serial_pod_ms", "kernel start → script's pod answers, first boot", serial_pod_ms),
            Figure::ratio(
                "pod_first_boot_ratio",
                "  first boot against the script",
                pod_first_ms,
                serial_pod_ms,
            )
            .goal(POD_GOAL),
        ]
    }
}

/// A node's first boot and, after an ordered reboot, its second.
fn node(bed: &Bed, tools: &Tools, folder: &Path) -> Result<(NodeBoot, NodeBoot)> {
    let blueprint = blueprint(bed);
    let files = Node::prepare(tools, &blueprint, folder)?;
    let mut node = Node::start(tools, &blueprint, &files)?;
    let first = boot(&mut node)?;
    // Only now: adopting is not part of a boot.
    node.machine.console().rewind();
    node.adopt()?;
    node.osctl(&["health", "--wait"])?;
    node.machine.console().skip()?;
    node.osctl(&["reboot"])?;
    Ok((first, boot(&mut node)?))
}

fn boot(node: &mut Node) -> Result<NodeBoot> {
    let machine = &mut node.machine;
    let (start, init_ms) = KernelStart::by_line(machine, "cairn: init started", BOOT_DEADLINE)?;
    // Served means ready and at an address.
    let api_ms =
        both_reached_ms(machine, ["cairn: service apid running", "cairn: api https://"], BOOT_DEADLINE)?;
    let port = node.forwarded(POD_PORT)?;
    http::wait_for(port, "/", BOOT_DEADLINE, || node.machine.is_running()).context("the node's pod")?;
    Ok(NodeBoot { init_ms, api_ms, pod_ms: start.elapsed_ms() })
}

fn blueprint(bed: &Bed) -> Blueprint {
    Blueprint {
        name: "bench".to_owned(),
        image: bed.disk.clone(),
        disk_size: DISK_SIZE.to_owned(),
        hardware: node::default_hardware(),
        pods: Vec::new(),
        probe_image: None,
    }
}

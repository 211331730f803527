//! Power goes at any moment; the next boot brings the pod back. Orderly ends are orderly.

#![allow(missing_docs)]

mod support;

use std::time::{Duration, Instant};

use support::{BOOT, Random, bed, blueprint, folder, tools, up};
use testbed::{
    bed::Bed,
    node::{Blueprint, Node},
};

/// Under software emulation.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(15);
const CUTS_CI: usize = 4;
const CUTS_LONG: usize = 50;

#[test]
fn power_cuts_at_random_moments_lose_nothing() {
    let bed = bed();
    let mut random = Random::seeded(&bed, "power");
    let cuts = if bed.long { CUTS_LONG } else { CUTS_CI };
    let mut blueprint = blueprint(&bed, "power");
    blueprint.probe_image = None;
    let mut provisioned = up(&bed, &blueprint);
    blueprint.name = "power-first".into();
    for cut in 0..cuts {
        // Odd cuts hit a first boot; even ones all hit the same node, first while its pod answers, then in its next boot.
        let mut first = (cut % 2 == 1).then(|| first_boot(&bed, &blueprint));
        let node = first.as_mut().unwrap_or(&mut provisioned);
        if cut % 2 == 0 {
            node.machine.cut_power().unwrap();
            node.restart().unwrap();
        }
        let event = MOMENTS[usize::try_from(random.below(MOMENTS.len() as u64)).unwrap()];
        let extra = Duration::from_millis(random.below(4000));
        node.machine.wait_for(event, BOOT).unwrap();
        node.machine.run_for(extra).unwrap();
        node.machine.cut_power().unwrap();
        println!("power cut {cut}: {} ms after {event:?}", extra.as_millis());
        node.restart().unwrap();
        node.wait_for_pod().unwrap_or_else(|error| panic!("after power cut {cut}: {error:#}"));
    }
}

fn first_boot(bed: &Bed, blueprint: &Blueprint) -> Node {
    let tools = tools(bed);
    let files = Node::prepare(&tools, blueprint, &folder(bed, &blueprint.name)).unwrap();
    Node::start(&tools, blueprint, &files).unwrap()
}

/// Console lines in the order of a boot.
const MOMENTS: [&str; 5] = [
    "cairn: init started",
    "cairn: service machined running",
    "cairn: service apid running",
    "cairn: service containerd running",
    "cairn: service kubelet starting",
];

#[test]
fn reboot_and_shutdown_are_orderly() {
    let bed = bed();
    let mut node = up(&bed, &blueprint(&bed, "orderly"));
    let mut log = node
        .osctl_command(&["logs", "-f", "default/hello"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    node.machine.console().skip().unwrap();
    let asked = Instant::now();
    node.osctl(&["reboot"]).unwrap();
    ends_in_order(&mut node, asked);
    log.kill().unwrap();
    log.wait().unwrap();
    node.machine.wait_for("cairn: init started", BOOT).unwrap();
    node.wait_for_pod().unwrap();
    node.osctl(&["health", "--wait"]).unwrap();
    // The previous run of the pod's container had SIGTERM before the end.
    node.wait_for_probe().unwrap();
    let logs = node.probe("GET", "/grep?path=/host/var/log/pods&text=SIGTERM").unwrap();
    assert!(logs.contains("SIGTERM"), "the pod was not told to end: {logs}");
    // A clean file system needs no recovery of its journal.
    assert!(
        !node.osctl(&["dmesg"]).unwrap().contains("recovery complete"),
        "a file system was not unmounted"
    );

    node.machine.console().skip().unwrap();
    let asked = Instant::now();
    node.osctl(&["shutdown"]).unwrap();
    ends_in_order(&mut node, asked);
    node.machine.wait_for_end(BOOT).unwrap();
}

/// The clock starts when the end is asked for: once the console is read, most of it may be over.
fn ends_in_order(node: &mut Node, asked: Instant) {
    node.machine.wait_for("cairn: shutdown:", BOOT).unwrap();
    node.machine
        .wait_for_any(&["reboot: Restarting", "reboot: Power down", "reboot: machine restart"], BOOT)
        .unwrap();
    let took = asked.elapsed();
    println!("ordered end: {:.1} s", took.as_secs_f64());
    assert!(took <= SHUTDOWN_LIMIT, "took {took:?}, limit {SHUTDOWN_LIMIT:?}");
}

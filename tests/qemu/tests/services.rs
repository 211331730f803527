//! Services die and come back; pods do not notice.

#![allow(missing_docs)]

mod support;

use std::time::{Duration, Instant};

use support::{BOOT, SOON, bed, blueprint, up};
use testbed::{
    http,
    node::{Node, POD_PORT},
};

const ORPHANS_CI: u32 = 10_000;
const ORPHANS_LONG: u32 = 100_000;
/// For 100,000 under software emulation on a loaded host.
const FLOOD_DEADLINE: Duration = Duration::from_secs(1800);

#[test]
fn killed_services_return_and_pods_keep_answering() {
    let bed = bed();
    let orphans = if bed.long { ORPHANS_LONG } else { ORPHANS_CI };
    let mut blueprint = blueprint(&bed, "services");
    blueprint.image = bed.test_disk.clone();
    blueprint.hardware.test_hooks = Some(format!("orphans {orphans}\n"));
    let mut node = up(&bed, &blueprint);
    let boot = pod_identity(&node);
    for service in ["apid", "machined", "containerd", "kubelet"] {
        kill_and_await(&mut node, service);
        http::get(node.forwarded(POD_PORT).unwrap(), "/").unwrap();
    }
    node.osctl(&["health", "--wait"]).unwrap();
    orphans_are_reaped_while_the_node_serves(&mut node, orphans);
    assert_eq!(pod_identity(&node), boot, "a pod was restarted");
}

fn orphans_are_reaped_while_the_node_serves(node: &mut Node, orphans: u32) {
    let begun = Instant::now();
    let mut served = 0;
    node.probe("POST", &format!("/kill?comm=orphans&signal={}", nix::libc::SIGCONT)).unwrap();
    while !node.machine.console().lines().unwrap().iter().any(|line| line.contains("cairn: orphans:")) {
        assert!(begun.elapsed() < FLOOD_DEADLINE, "the orphans are not reaped");
        node.osctl(&["services"]).unwrap();
        http::get(node.forwarded(POD_PORT).unwrap(), "/").unwrap();
        served += 1;
    }
    println!("{orphans} orphans in {:.1} s, {served} answers meanwhile", begun.elapsed().as_secs_f64());
    node.machine.wait_for(&format!("cairn: orphans: {orphans} reaped"), SOON).unwrap();
    assert!(served > 0);
    // Whatever else ends in this moment is reaped by its own parent.
    let mut zombies = String::new();
    let asked = Instant::now();
    while zombies.trim() != "0" {
        assert!(asked.elapsed() < SOON, "{zombies} zombies remain");
        zombies = node.probe("GET", "/zombies").unwrap();
    }
}

#[test]
fn a_service_that_cannot_run_fails_alone() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "crash-loop");
    blueprint.image = bed.test_disk.clone();
    blueprint.probe_image = None;
    blueprint.hardware.test_hooks = Some("crash-service kubelet\n".into());
    let mut node =
        Node::up_without_pod(&support::tools(&bed), &blueprint, &support::folder(&bed, "crash-loop"))
            .unwrap();
    node.machine.wait_for("cairn: service kubelet backoff", BOOT).unwrap();
    node.machine.wait_for("cairn: service kubelet failed", BOOT).unwrap();
    let services = node.osctl(&["services"]).unwrap();
    for healthy in ["machined", "apid", "containerd"] {
        let line = services.lines().find(|line| line.contains(healthy)).unwrap();
        assert!(line.to_lowercase().contains("running"), "{line}");
    }
    let output = node.osctl_output(&["health"]).unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stdout).contains("kubelet"));
}

#[test]
fn an_essential_service_that_never_starts_reboots_the_node_in_order() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "no-apid");
    blueprint.image = bed.test_disk.clone();
    blueprint.probe_image = None;
    blueprint.hardware.test_hooks = Some("break-service apid\n".into());
    let tools = support::tools(&bed);
    let files = Node::prepare(&tools, &blueprint, &support::folder(&bed, "no-apid")).unwrap();
    let mut node = Node::start(&tools, &blueprint, &files).unwrap();
    node.machine.wait_for("cairn: shutdown:", BOOT).unwrap();
    node.machine.wait_for("cairn: init started", BOOT).unwrap();
    assert!(node.machine.is_running());
}

fn kill_and_await(node: &mut Node, service: &str) {
    node.machine.console().skip().unwrap();
    let killed = node.probe("POST", &format!("/kill?comm={service}&signal=9")).unwrap();
    assert!(killed.chars().any(|c| c.is_ascii_digit()), "no {service} was killed: {killed}");
    node.machine.wait_for(&format!("cairn: service {service} running"), SOON).unwrap();
}

/// What changes when the pod's process is another one.
fn pod_identity(node: &Node) -> String {
    let processes = node.probe("GET", "/pss").unwrap();
    let list: serde_json::Value = serde_json::from_str(&processes).unwrap();
    let hello = list.as_array().unwrap().iter().find(|process| process["comm"] == "hello").unwrap();
    hello["pid"].to_string()
}

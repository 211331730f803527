//! A node that loses STATE: its admin still gets in, nothing is formatted, no volume is obeyed, and a reset makes it new.

#![allow(missing_docs)]

mod support;

use std::fs;

use serde_json::Value;
use support::{BOOT, bed, blueprint, partition_start, up};
use testbed::{bed::Bed, node::Node};

#[test]
fn a_node_without_its_state_answers_its_admin_alone() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "lost");
    blueprint.probe_image = None;
    let mut node = up(&bed, &blueprint);
    node.osctl(&["health", "--wait"]).unwrap();
    let id = node_id(&node);
    node.machine.cut_power().unwrap();
    zero_state(&bed, &node);
    // The configuration volume is still there, and must not be obeyed.
    node.restart().unwrap();

    let line = node.machine.wait_for("cairn: storage: ", BOOT).unwrap();
    assert!(line.contains("STATE is damaged") && line.contains("osctl reset"), "{line}");
    node.machine.wait_for("cairn: api https://", BOOT).unwrap();
    assert_eq!(node_id(&node), id, "the context knows it by its certificate");
    what_helps_is_served_and_nothing_else(&node);
    strangers_stay_out(&node);
    nothing_was_formatted(&bed, &mut node);

    // A reset node would take it again.
    fs::remove_file(node.files().config_volume()).unwrap();
    node.restart().unwrap();
    node.machine.wait_for("cairn: api https://", BOOT).unwrap();
    node.osctl(&["reset", "--yes"]).unwrap();
    node.machine.wait_for("cairn: maintenance https://", BOOT).unwrap();
}

fn node_id(node: &Node) -> String {
    let version: Value = serde_json::from_str(&node.osctl(&["version", "-o", "json"]).unwrap()).unwrap();
    version["node"]["nodeId"].as_str().unwrap_or_else(|| panic!("{version}")).to_owned()
}

fn zero_state(bed: &Bed, node: &Node) {
    let (start, size) = (partition_start(layout::STATE.number), layout::STATE.size_bytes.unwrap());
    let write = format!("write -z {start} {size}");
    qemu_io(bed, node, &write);
}

fn qemu_io(bed: &Bed, node: &Node, command: &str) -> String {
    let disk = node.files().disk();
    let output =
        bed.programs().run("qemu-io", &["-f", "qcow2", "-c", command, &disk.to_string_lossy()]).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn what_helps_is_served_and_nothing_else(node: &Node) {
    let health = node.osctl_output(&["health", "-o", "json"]).unwrap();
    assert_eq!(health.status.code(), Some(4));
    assert!(String::from_utf8(health.stdout).unwrap().contains("StateLost"));
    assert!(node.osctl(&["logs", "machined", "--tail", "5"]).unwrap().contains("STATE"));
    let config = node.osctl(&["get", "config"]).unwrap();
    assert!(config.contains("hostname: lost") && !config.contains("StaticPod"), "{config}");
    let services = node.osctl(&["services"]).unwrap();
    assert!(
        !services.lines().any(|line| line.starts_with("kubelet") && line.contains("running")),
        "{services}"
    );

    let file = node.files().folder().join("patch.yaml");
    fs::write(&file, "apiVersion: cairn.dev/v1alpha1\nkind: Machine\nhostname: other\n").unwrap();
    let refused = node.osctl_output(&["patch", "config", "-f", &file.to_string_lossy()]).unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && text.contains("STATE is lost"), "{text}");
}

fn strangers_stay_out(node: &Node) {
    let other = node.files().folder().join("other.yaml").to_string_lossy().into_owned();
    node.osctl(&["gen", "secrets", "-o", &other]).unwrap();
    let endpoint = node.endpoint();
    let fingerprint = "0".repeat(64);
    let adopt = ["adopt", "--secrets", &other, "--fingerprint", &fingerprint, "-n", &endpoint];
    assert!(!node.osctl_output(&adopt).unwrap().status.success());
}

fn nothing_was_formatted(bed: &Bed, node: &mut Node) {
    node.machine.cut_power().unwrap();
    // The superblock of ext4 would be in the second KiB.
    let read = qemu_io(bed, node, &format!("read -P 0 {} 1M", partition_start(layout::STATE.number)));
    assert!(!read.contains("failed"), "{read}");
}

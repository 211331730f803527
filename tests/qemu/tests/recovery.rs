//! A node that loses STATE: its admin still gets in, nothing is formatted, no volume is obeyed, and a reset makes it new.

#![allow(missing_docs)]

mod support;

use std::fs;

use serde_json::Value;
use support::{BOOT, Random, bed, blueprint, partition_start, up};
use testbed::{bed::Bed, node::Node};

/// Of ext4.
const BLOCK_BYTES: u64 = 4096;
/// Of ext4: where it lies, and its size.
const SUPERBLOCK_BYTES: u64 = 1024;
const SECTOR_BYTES: u64 = 512;

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

/// Heavy damage, then a few blocks at a time: a node comes up whole or in recovery, and is the same node each time.
#[test]
fn a_node_with_a_rotten_state_answers_its_admin_alone() {
    let bed = bed();
    let mut random = Random::seeded(&bed, "rotten");
    let (mut node, id) = provisioned_and_off(&bed, "rotten");
    let written = state_blocks(&bed, &node);
    println!("{} blocks of STATE were written to", written.len());
    let intact = node.files().folder().join("intact.qcow2");
    fs::copy(node.files().disk(), &intact).unwrap();
    let few = if bed.long { 40 } else { 2 };
    for round in 0..=few {
        fs::copy(&intact, node.files().disk()).unwrap();
        let share = if round == 0 { 2 } else { u64::try_from(written.len()).unwrap() / 4 };
        let rotten: Vec<u64> = written.iter().copied().filter(|_| random.below(share) == 0).collect();
        rot(&bed, &node, &rotten);
        node.restart().unwrap();
        node.wait_for_fingerprint().unwrap();
        assert_eq!(node_id(&node), id, "rotten blocks: {rotten:?}");
        strangers_stay_out(&node);
        let lost = health(&node).contains("StateLost");
        println!("{} blocks rotten: {}", rotten.len(), if lost { "recovery" } else { "whole" });
        assert!(lost || round > 0, "half of STATE was rotten, and nobody noticed");
        node.machine.cut_power().unwrap();
    }
}

/// What a power cut between two sectors leaves: nothing is lost, and nobody is asked to mend it.
#[test]
fn torn_superblocks_are_replaced_by_their_copies() {
    let bed = bed();
    let (mut node, id) = provisioned_and_off(&bed, "torn");
    for partition in [layout::STATE, layout::DATA] {
        let second_sector = partition_start(partition.number) + SUPERBLOCK_BYTES + SECTOR_BYTES;
        qemu_io(&bed, &node, &format!("write -P 0xa5 {second_sector} {SECTOR_BYTES}"));
    }
    node.restart().unwrap();
    node.wait_for_pod().unwrap();
    assert_eq!(node_id(&node), id);
    node.osctl(&["health", "--wait"]).unwrap();
    let log = node.osctl(&["logs", "machined"]).unwrap();
    let mended = log.lines().filter(|line| line.contains("a torn superblock was replaced by its copy"));
    assert_eq!(mended.count(), 2, "{log}");
}

#[test]
fn a_full_state_keeps_nobody_out_and_takes_no_half_change() {
    let bed = bed();
    let (mut node, _) = provisioned_and_off(&bed, "full-state");
    fill_state(&bed, &node);
    node.restart().unwrap();
    let fingerprint = node.wait_for_fingerprint().unwrap();
    node.wait_for_pod().unwrap();
    let before = node.osctl(&["get", "config"]).unwrap();
    let file = node.files().folder().join("patch.yaml");
    let labels = "apiVersion: cairn.dev/v1alpha1\nkind: Machine\nlabels: {site: harbour}\n";
    fs::write(&file, labels).unwrap();
    let refused = node.osctl_output(&["patch", "config", "-f", &file.to_string_lossy()]).unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && text.contains("No space left"), "{text}");
    assert_eq!(node.osctl(&["get", "config"]).unwrap(), before);
    // A reset needs no room: what takes the volume's configuration afterwards is another node.
    node.osctl(&["reset", "--yes"]).unwrap();
    assert_ne!(node.wait_for_fingerprint().unwrap(), fingerprint);
}

/// With its file systems in order; and its id.
fn provisioned_and_off(bed: &Bed, name: &str) -> (Node, String) {
    let mut blueprint = blueprint(bed, name);
    blueprint.probe_image = None;
    let mut node = up(bed, &blueprint);
    node.osctl(&["health", "--wait"]).unwrap();
    let id = node_id(&node);
    node.osctl(&["shutdown"]).unwrap();
    node.machine.wait_for_end(BOOT).unwrap();
    (node, id)
}

/// Where STATE was ever written to, as offsets on the disk.
fn state_blocks(bed: &Bed, node: &Node) -> Vec<u64> {
    let disk = node.files().disk();
    let map = bed.programs().run("qemu-img", &["map", "--output=json", &disk.to_string_lossy()]).unwrap();
    let extents: Vec<Value> = serde_json::from_slice(&map.stdout).unwrap();
    let start = partition_start(layout::STATE.number);
    let end = start + layout::STATE.size_bytes.unwrap();
    let mut blocks = Vec::new();
    for extent in extents.iter().filter(|extent| extent["data"] == true && extent["zero"] == false) {
        let first = extent["start"].as_u64().unwrap();
        let after = first + extent["length"].as_u64().unwrap();
        blocks.extend((first.max(start)..after.min(end)).step_by(usize::try_from(BLOCK_BYTES).unwrap()));
    }
    blocks
}

fn rot(bed: &Bed, node: &Node, blocks: &[u64]) {
    let commands: Vec<String> =
        blocks.iter().map(|block| format!("write -P 0xa5 {block} {BLOCK_BYTES}")).collect();
    for some in commands.chunks(64) {
        let disk = node.files().disk().to_string_lossy().into_owned();
        let mut arguments = vec!["-f", "qcow2"];
        arguments.extend(some.iter().flat_map(|command| ["-c", command.as_str()]));
        arguments.push(&disk);
        bed.programs().run("qemu-io", &arguments).unwrap();
    }
}

/// Until not one block is free, those for root included.
fn fill_state(bed: &Bed, node: &Node) {
    let (start, size) = (partition_start(layout::STATE.number), layout::STATE.size_bytes.unwrap());
    let folder = node.files().folder();
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (state, filler, disk) = (path("state.img"), path("filler"), node.files().disk());
    let disk = disk.to_string_lossy();
    let window = format!("driver=raw,offset={start},size={size},file.driver=qcow2,file.file.filename={disk}");
    bed.programs().run("qemu-img", &["convert", "--image-opts", &window, "-O", "raw", &state]).unwrap();
    fs::write(&filler, vec![0xa5; usize::try_from(size).unwrap()]).unwrap();
    bed.programs().run("debugfs", &["-w", "-R", &format!("write {filler} filler"), &state]).unwrap();
    let facts = bed.programs().run("dumpe2fs", &["-h", &state]).unwrap();
    let facts = String::from_utf8(facts.stdout).unwrap();
    let free = facts.lines().find_map(|line| line.strip_prefix("Free blocks:")).unwrap();
    assert_eq!(free.trim(), "0");
    qemu_io(bed, node, &format!("write -s {state} {start} {size}"));
}

fn health(node: &Node) -> String {
    String::from_utf8(node.osctl_output(&["health", "-o", "json"]).unwrap().stdout).unwrap()
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
    node.osctl(&["gen", "secrets", "--force", "-o", &other]).unwrap();
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

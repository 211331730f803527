//! What a node does not get, or gets wrongly, is said clearly, and nothing half-written stays.

#![allow(missing_docs)]

mod support;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{BOOT, bed, blueprint, folder, tools};
use testbed::{
    bed::Bed,
    http, machine,
    network::Network,
    node::{Blueprint, Node, POD_PORT},
};

const ABSENT_POD: &str = include_str!("../pods/absent.yaml");
const FILLER_POD: &str = include_str!("../pods/filler.yaml");
/// Host port of the filler pod in the guest.
const FILLER_PORT: u16 = 8082;

#[test]
fn a_node_in_trouble_names_each_trouble_and_serves() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "troubles");
    blueprint.pods = vec![ABSENT_POD.into(), FILLER_POD.into()];
    blueprint.hardware.network = Network::Silent;
    blueprint.hardware.forwarded_ports.push(FILLER_PORT);
    let clone = attach_clone(&bed, &mut blueprint, 2);
    let mut node = start_only(&bed, &blueprint);

    a_missing_dhcp_server_is_named_and_may_come_late(&mut node);
    a_pod_without_its_image_is_named(&node);
    a_clone_of_the_disk_is_named(&node);
    a_full_disk_is_named_and_the_node_serves(&mut node);
    node.machine.cut_power().unwrap();
    assert_eq!(written(&bed, &clone), [], "the clone was written to");
}

fn a_missing_dhcp_server_is_named_and_may_come_late(node: &mut Node) {
    let line = node.machine.wait_for("cairn: network: no DHCP server answered", BOOT).unwrap();
    assert!(line.contains("check cable/VLAN or configure a static address"), "{line}");
    // Pods need no network to run: the kubelet may have been first.
    node.machine.console().rewind();
    node.machine.wait_for("cairn: service kubelet running", BOOT).unwrap();
    assert!(!node.machine.console().lines().unwrap().iter().any(|line| line.contains("cairn: api https://")));
    node.plug_in_gateway().unwrap();
    node.adopt().unwrap();
    node.machine.console().rewind();
    node.machine.wait_for("cairn: network: healthy again", BOOT).unwrap();
    node.wait_for_pod().unwrap();
}

fn a_pod_without_its_image_is_named(node: &Node) {
    let pods = await_condition(node, "pods", BOOT, |pods| pods["reason"] == "PodFailing");
    let message = pods["message"].as_str().unwrap();
    assert!(message.contains("default/absent") && message.contains("ErrImageNeverPull"), "{message}");
    assert!(message.contains("localhost/cairn/absent:1"), "{message}");
    assert_eq!(node.osctl_output(&["health"]).unwrap().status.code(), Some(4));
}

fn a_clone_of_the_disk_is_named(node: &Node) {
    let disks = condition(node, "disks");
    assert_eq!(disks["reason"], "CloneAttached", "{disks}");
    let message = disks["message"].as_str().unwrap();
    assert!(message.starts_with("/dev/vd") && message.contains("unplug it"), "{message}");
}

/// First nearly full, which is said in time; then quite. The kubelet ends no static pod, so only its owner frees room.
fn a_full_disk_is_named_and_the_node_serves(node: &mut Node) {
    let filler = node.forwarded(FILLER_PORT).unwrap();
    http::wait_for(filler, "/healthz", BOOT, || node.machine.is_running()).unwrap();
    let fill = |free_percent: u32| {
        let target = format!("/fill?path=/scratch/file&free_percent={free_percent}");
        http::request("POST", filler, &target).unwrap();
    };
    for free_percent in [18, 0] {
        fill(free_percent);
        let space = await_condition(node, "space", BOOT, |space| {
            space["reason"] == "DataLow" && percentage(space["message"].as_str().unwrap()) <= free_percent
        });
        let message = space["message"].as_str().unwrap();
        assert!(message.starts_with("DATA has ") && message.contains("remove pods"), "{message}");
        http::get(node.forwarded(POD_PORT).unwrap(), "/").unwrap();
        let services = node.osctl(&["services"]).unwrap();
        assert_eq!(services.matches("running").count(), 4, "{services}");
    }
    fill(50);
    await_condition(node, "space", BOOT, |space| space["status"] == "healthy");
}

/// The number before the first "%".
fn percentage(message: &str) -> u32 {
    let (before, _) = message.split_once(" %").unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_disk_that_is_too_small_is_left_as_it_was() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "small-disk");
    blueprint.disk_size = "3G".into();
    let mut node = start_only(&bed, &blueprint);
    let line = node.machine.wait_for("is too small", BOOT).unwrap();
    assert!(line.contains("cairn: storage: /dev/vd") && line.contains("it has 3072 MiB"), "{line}");
    assert!(line.contains("use a larger disk"), "{line}");
    node.machine.cut_power().unwrap();
    only_bootstate_is_written(&bed, &node.files().disk());
}

#[test]
fn a_root_from_another_disk_than_the_one_started_from_changes_nothing() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "other-disk");
    // The firmware starts from the clone, the kernel finds the first disk's root first.
    let clone = attach_clone(&bed, &mut blueprint, 0);
    let mut node = start_only(&bed, &blueprint);
    let line = node.machine.wait_for("the root lies on another disk", BOOT).unwrap();
    assert!(line.contains("nothing was written: unplug the clone"), "{line}");
    node.machine.cut_power().unwrap();
    assert_eq!(written(&bed, &node.files().disk()), [], "the disk that was not started from was written to");
    only_bootstate_is_written(&bed, &clone);
}

/// The image's partition table counts in sectors of 512 bytes, so the firmware itself finds nothing to start.
/// `osctl flash` has refused such a disk before; this is what happens to an image brought there by other means.
#[test]
fn a_disk_with_4096_byte_sectors_is_not_started_from() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "large-sectors");
    blueprint.hardware.sector_bytes = 4096;
    blueprint.hardware.network = Network::Absent;
    let mut node = start_only(&bed, &blueprint);
    node.machine.wait_for("BdsDxe: failed to load Boot", BOOT).unwrap();
    node.machine.cut_power().unwrap();
    assert_eq!(written(&bed, &node.files().disk()), []);
}

fn start_only(bed: &Bed, blueprint: &Blueprint) -> Node {
    let (tools, folder) = (tools(bed), bed.work.join(&blueprint.name));
    let files = Node::prepare(&tools, blueprint, &folder).unwrap();
    Node::start(&tools, blueprint, &files).unwrap()
}

/// Adds a second disk with the same image; returns its overlay.
fn attach_clone(bed: &Bed, blueprint: &mut Blueprint, boot_index: u32) -> PathBuf {
    let folder = folder(bed, &blueprint.name).join("clone");
    std::fs::create_dir_all(&folder).unwrap();
    let files = machine::Files::new(&folder);
    machine::create_disk(&bed.programs(), &blueprint.image, &files, &blueprint.disk_size).unwrap();
    let drive = format!("if=none,id=clone,format=qcow2,file={}", files.disk().display());
    let device = format!("virtio-blk-pci,drive=clone,bootindex={boot_index}");
    blueprint.hardware.extra.extend(["-drive".into(), drive, "-device".into(), device]);
    files.disk()
}

/// The byte ranges of a disk that differ in allocation from the image below.
fn written(bed: &Bed, disk: &Path) -> Vec<Range<u64>> {
    let output = bed.programs().run("qemu-img", &["map", "--output=json", &disk.to_string_lossy()]).unwrap();
    let extents: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let own = extents.iter().filter(|extent| extent["depth"] == 0 && extent["present"] == true);
    own.map(|extent| {
        let start = extent["start"].as_u64().unwrap();
        start..start + extent["length"].as_u64().unwrap()
    })
    .collect()
}

fn only_bootstate_is_written(bed: &Bed, disk: &Path) {
    let before: u64 = layout::PARTITIONS
        .iter()
        .take_while(|partition| partition.number != layout::BOOTSTATE.number)
        .filter_map(|partition| partition.size_bytes)
        .sum();
    let start = layout::FIRST_PARTITION_BYTES + before;
    let bootstate = start..start + layout::BOOTSTATE.size_bytes.unwrap();
    let written = written(bed, disk);
    assert!(!written.is_empty(), "the selector recorded no start");
    let inside = |range: &Range<u64>| bootstate.start <= range.start && range.end <= bootstate.end;
    assert!(written.iter().all(inside), "written: {written:?}, BOOTSTATE: {bootstate:?}");
}

fn condition(node: &Node, name: &str) -> Value {
    let output = node.osctl_output(&["health", "-o", "json"]).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let health: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no health: {errors}"));
    let found = health["conditions"].as_array().unwrap().iter().find(|condition| condition["name"] == name);
    found.unwrap().clone()
}

fn await_condition(node: &Node, name: &str, deadline: Duration, expected: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let found = condition(node, name);
        if expected(&found) {
            return found;
        }
        assert!(begun.elapsed() < deadline, "after {deadline:?}: {found}");
    }
}

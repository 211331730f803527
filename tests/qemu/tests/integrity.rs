//! Flipped bytes are never executed, a hung or panicking PID 1 ends in a reboot, damaged boot state still boots.

#![allow(missing_docs)]

mod support;

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use support::{BOOT, Random, bed, blueprint, folder, partition_start, tools};
use testbed::{
    bed::Bed,
    machine::Watchdog,
    node::{Blueprint, Node},
};

#[test]
fn a_flipped_byte_in_the_uki_is_found_by_the_selector() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "uki-flip");
    let image = copy_image(&bed, "uki-flip");
    let start = partition_start(layout::BOOT_A.number);
    let length = std::fs::metadata(&bed.uki).unwrap().len();
    let mut random = Random::seeded(&bed, "uki-flip");
    flip(&image, start + random.below(length));
    blueprint.image = image;
    let mut node = start_only(&bed, &blueprint);
    let (_, line) = node.machine.wait_for_any(&["hash", "damaged", "does not match"], BOOT).unwrap();
    println!("selector: {line}");
    // Slot B is empty: nothing may be started.
    assert!(!node.machine.console().lines().unwrap().iter().any(|line| line.contains("cairn: init started")));
}

#[test]
fn both_bootstate_copies_damaged_still_boots() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "bootstate");
    blueprint.probe_image = None;
    let mut node = support::up(&bed, &blueprint);
    node.osctl(&["shutdown"]).unwrap();
    node.machine.wait_for_end(BOOT).unwrap();
    for offset in layout::BOOTSTATE_RECORD_OFFSETS_BYTES {
        damage_disk(&bed, &node, partition_start(layout::BOOTSTATE.number) + offset, 4096);
    }
    node.restart().unwrap();
    node.machine.wait_for("cairn: init started", BOOT).unwrap();
    node.wait_for_pod().unwrap();
}

#[test]
fn a_hung_pid_1_is_ended_by_the_chipset_watchdog() {
    hung_pid_1(Watchdog::Tco, "hang-tco");
}

#[test]
fn a_hung_pid_1_is_ended_by_the_i6300esb_watchdog() {
    hung_pid_1(Watchdog::I6300esb, "hang-i6300esb");
}

#[test]
fn a_panic_of_pid_1_reboots() {
    let bed = bed();
    let mut node = hooked(&bed, "panic-pid1", "panic-pid1-after-s 1\n", Watchdog::Tco);
    node.machine.wait_for("cairn: init started", BOOT).unwrap();
    node.machine.wait_for("emergency", BOOT).unwrap();
    node.machine.wait_for("cairn: init started", BOOT).unwrap();
}

fn hung_pid_1(watchdog: Watchdog, name: &str) {
    let bed = bed();
    let mut node = hooked(&bed, name, "hang-pid1-after-s 1\n", watchdog);
    node.machine.wait_for("cairn: init started", BOOT).unwrap();
    let mut qmp = node.machine.qmp().unwrap();
    if watchdog == Watchdog::I6300esb {
        qmp.wait_for("WATCHDOG", BOOT).unwrap();
    }
    node.machine.wait_for("cairn: init started", BOOT).unwrap();
}

fn hooked(bed: &Bed, name: &str, hooks: &str, watchdog: Watchdog) -> Node {
    let mut blueprint = blueprint(bed, name);
    blueprint.image = bed.test_disk.clone();
    blueprint.probe_image = None;
    blueprint.hardware.watchdog = watchdog;
    blueprint.hardware.test_hooks = Some(hooks.into());
    start_only(bed, &blueprint)
}

fn start_only(bed: &Bed, blueprint: &Blueprint) -> Node {
    let tools = tools(bed);
    let files = Node::prepare(&tools, blueprint, &folder(bed, &blueprint.name)).unwrap();
    Node::start(&tools, blueprint, &files).unwrap()
}

fn copy_image(bed: &Bed, name: &str) -> PathBuf {
    let copy = bed.work.join(format!("{name}.img"));
    let status =
        std::process::Command::new("cp").arg("--sparse=always").args([&bed.disk, &copy]).status().unwrap();
    assert!(status.success());
    copy
}

fn flip(image: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(image).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
    println!("flipped a bit of byte {offset}");
}

/// Overwrites part of a node's disk with zeros.
fn damage_disk(bed: &Bed, node: &Node, offset: u64, length: u64) {
    qemu_io(bed, node, &format!("write -z {offset} {length}"));
}

fn qemu_io(bed: &Bed, node: &Node, command: &str) {
    let disk = node.files().disk().to_string_lossy().into_owned();
    bed.programs().run("qemu-io", &["-f", "qcow2", "-c", command, &disk]).unwrap();
}

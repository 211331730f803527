//! Volumes on other disks: made once, kept, found again, and never made over what someone else stored.

#![allow(missing_docs)]

mod support;

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{BOOT, Random, SOON, bed, blueprint, folder, tools};
use testbed::{http, node::Node};

const HEADER: &str = "apiVersion: cairn.dev/v1alpha1\n";
const DISK_BYTES: u64 = 512 << 20;
const FOREIGN_BYTES: u64 = 32 << 20;
const REVERTED: i32 = 7;
/// Port of the pod that stores something, in the guest.
const WRITER_PORT: u16 = 8082;
const WRITER: &str = "kind: StaticPod\npod:\n  apiVersion: v1\n  kind: Pod\n  metadata: {name: writer}\n  spec:\n    \
    containers:\n    - name: main\n      image: localhost/cairn/probe:1\n      imagePullPolicy: Never\n      \
    ports: [{containerPort: 8081, hostPort: 8082}]\n      volumeMounts: [{name: data, mountPath: /data}]\n    \
    volumes: [{name: data, hostPath: {path: /var/mnt/data, type: Directory}}]\n";
/// From the moment a disk is marked; making a file system takes some of it.
const CUT_WITHIN_MS: u64 = 60;
const CUTS: usize = 2;
const CUTS_LONG: usize = 8;
/// Between looks at a disk image from outside.
const LOOK: Duration = Duration::from_millis(1);

#[test]
fn a_volume_is_made_once_and_what_others_stored_is_left_alone() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "volumes");
    let folder = folder(&bed, &blueprint.name);
    let data = disk(&folder, "data", DISK_BYTES);
    let foreign = foreign_disk(&folder);
    let late = disk(&folder, "late", DISK_BYTES);
    blueprint.hardware.forwarded_ports.push(WRITER_PORT);
    blueprint.hardware.extra = [drive(&data, "DATA"), drive(&foreign, "FOREIGN")].concat();
    blueprint.hardware.extra.extend(["-device".into(), "virtio-scsi-pci,id=scsi".into()]);
    let mut node = Node::up(&tools(&bed), &blueprint, &folder).unwrap();
    node.wait_for_probe().unwrap();
    node.osctl(&["health", "--wait"]).unwrap();

    what_a_pod_stores_is_there_after_a_reboot(&mut node);
    nothing_is_stored_where_no_volume_is(&node);
    a_foreign_disk_is_refused(&node, &foreign);
    a_disk_that_appears_later_is_taken(&mut node, &late);
    a_removed_volume_goes_with_its_last_pod(&node);
}

fn what_a_pod_stores_is_there_after_a_reboot(node: &mut Node) {
    let volume = volume("data", "DATA");
    node.osctl(&["patch", "config", "-f", &patch(node, &[&volume, WRITER])]).unwrap();
    assert_eq!(phase(node, "data"), "mounted");
    wait_for_writer(node);
    assert_eq!(writer(node, "/write?path=/data/kept"), "written\n");
    node.osctl(&["reboot", "--wait"]).unwrap();
    wait_for_writer(node);
    assert_eq!(writer(node, "/read?path=/data/kept"), "x");
    node.osctl(&["health", "--wait"]).unwrap();
}

/// A pod that does not say that its folder has to exist would get one on DATA.
fn nothing_is_stored_where_no_volume_is(node: &Node) {
    let stray = WRITER.replace("name: writer", "name: stray").replace(", hostPort: 8082", "");
    let stray = stray.replace("/var/mnt/data, type: Directory", "/var/mnt/stray");
    node.osctl(&["patch", "config", "-f", &patch(node, &[&stray])]).unwrap();
    wait_for(node, &["pods"], |pods| {
        pods.lines().any(|line| line.contains("stray") && line.contains("ContainerError"))
    });
    remove_pod(node, "stray");
    node.osctl(&["health", "--wait"]).unwrap();
}

fn a_foreign_disk_is_refused(node: &Node, image: &Path) {
    let before = fs::read(image).unwrap();
    let output = try_patch(node, &[&volume("foreign", "FOREIGN")]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(REVERTED), "{errors}");
    assert!(errors.contains("NotBlank") && errors.contains("volume foreign"), "{errors}");
    assert!(fs::read(image).unwrap() == before, "a foreign disk was written");

    let output = try_patch(node, &[&volume("absent", "ABSENT")]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(REVERTED), "{errors}");
    assert!(errors.contains("DiskMissing") && errors.contains("serial FOREIGN"), "{errors}");
    node.osctl(&["health", "--wait"]).unwrap();
}

fn a_disk_that_appears_later_is_taken(node: &mut Node, image: &Path) {
    let mut patching = start_patch(node, &[&volume("late", "LATE")]);
    node.machine.wait_for("volume late: no disk matches", SOON).unwrap();
    let mut qmp = node.machine.qmp().unwrap();
    let block = json!({"driver": "raw", "node-name": "late", "file": {"driver": "file", "filename": image}});
    qmp.execute("blockdev-add", block).unwrap();
    let device = json!({"driver": "scsi-hd", "bus": "scsi.0", "drive": "late", "serial": "LATE"});
    qmp.execute("device_add", device).unwrap();
    assert!(patching.wait().unwrap().success());
    assert_eq!(phase(node, "late"), "mounted");
}

fn a_removed_volume_goes_with_its_last_pod(node: &Node) {
    let gone = "kind: Volume\nname: data\n$patch: delete\n";
    node.osctl(&["patch", "config", "-f", &patch(node, &[gone])]).unwrap();
    let health = wait_for(node, &["health"], |health| health.contains("InUse"));
    // The probe sees the whole of the host's tree.
    for user in ["volume data", "default/writer", "default/probe"] {
        assert!(health.contains(user), "no {user} in {health}");
    }
    assert_eq!(writer(node, "/read?path=/data/kept"), "x");
    remove_pod(node, "probe");
    remove_pod(node, "writer");
    wait_for(node, &["health"], |health| !health.contains("InUse"));
    let volumes = volumes(node);
    assert!(!volumes.to_string().contains("/var/mnt/data"), "{volumes}");
}

#[test]
fn a_power_cut_while_a_volume_is_made_is_made_good() {
    let bed = bed();
    let mut random = Random::seeded(&bed, "volumes-cut");
    let cuts = if bed.long { CUTS_LONG } else { CUTS };
    let mut blueprint = blueprint(&bed, "volumes-cut");
    blueprint.probe_image = None;
    let folder = folder(&bed, &blueprint.name);
    let names: Vec<String> = (0..cuts).map(|index| format!("cut{index}")).collect();
    let disks: Vec<PathBuf> = names.iter().map(|name| disk(&folder, name, DISK_BYTES)).collect();
    blueprint.hardware.extra = names.iter().zip(&disks).flat_map(|(name, path)| drive(path, name)).collect();
    let mut node = Node::up_without_pod(&tools(&bed), &blueprint, &folder).unwrap();
    node.osctl(&["health", "--wait"]).unwrap();
    for (name, image) in names.iter().zip(&disks) {
        let text = volume(name, name);
        let mut patching = start_patch(&node, &[&text]);
        let moment = Duration::from_millis(random.below(CUT_WITHIN_MS));
        wait_for_mark(&mut node, image);
        node.machine.run_for(moment).unwrap();
        node.machine.cut_power().unwrap();
        patching.kill().ok();
        patching.wait().unwrap();
        println!("  {name}: cut {moment:?} after the mark: {}", state(image));
        node.restart().unwrap();
        node.wait_for_fingerprint().unwrap();
        node.osctl(&["health", "--wait"]).unwrap();
        node.osctl(&["patch", "config", "-f", &patch(&node, &[&text])]).unwrap();
        assert_eq!(phase(&node, name), "mounted");
        assert_eq!(state(image), "a file system");
    }
}

/// An empty disk.
fn disk(folder: &Path, name: &str, bytes: u64) -> PathBuf {
    let path = folder.join(format!("{name}.raw"));
    File::create_new(&path).unwrap().set_len(bytes).unwrap();
    path
}

/// A disk that someone stored something on, of no kind that anyone knows.
fn foreign_disk(folder: &Path) -> PathBuf {
    let path = disk(folder, "foreign", FOREIGN_BYTES);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0xa5; 4096], 300 << 10).unwrap();
    file.write_all_at(&[0xa5; 4096], FOREIGN_BYTES / 2).unwrap();
    path
}

/// QEMU's arguments for a disk; what is written is in the file at once.
fn drive(path: &Path, serial: &str) -> Vec<String> {
    let file = format!("if=none,id={serial},format=raw,cache=unsafe,file={}", path.display());
    let device = format!("virtio-blk-pci,drive={serial},serial={serial}");
    ["-drive".to_owned(), file, "-device".to_owned(), device].into()
}

fn volume(name: &str, serial: &str) -> String {
    format!("kind: Volume\nname: {name}\ndisk: {{serial: {serial}}}\n")
}

/// Writes a patch of these documents and returns its path.
fn patch(node: &Node, documents: &[&str]) -> String {
    let path = node.files().folder().join("patch.yaml");
    let mut file = File::create(&path).unwrap();
    for document in documents {
        write!(file, "---\n{HEADER}{document}").unwrap();
    }
    path.to_string_lossy().into_owned()
}

fn try_patch(node: &Node, documents: &[&str]) -> Output {
    let file = patch(node, documents);
    node.osctl_output(&["patch", "config", "-f", &file, "--confirm-within", "20s"]).unwrap()
}

fn start_patch(node: &Node, documents: &[&str]) -> Child {
    let file = patch(node, documents);
    let mut command = node.osctl_command(&["patch", "config", "-f", &file]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn volumes(node: &Node) -> Value {
    serde_json::from_str(&node.osctl(&["get", "volumes", "-o", "json"]).unwrap()).unwrap()
}

fn phase(node: &Node, name: &str) -> String {
    let line = node.osctl(&["get", "volumes"]).unwrap();
    let line = line.lines().find(|line| line.split_whitespace().next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no volume {name}: {}", volumes(node)));
    line.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

fn wait_for_writer(node: &mut Node) {
    let port = node.forwarded(WRITER_PORT).unwrap();
    http::wait_for(port, "/healthz", BOOT, || node.machine.is_running()).unwrap();
}

fn writer(node: &Node, target: &str) -> String {
    http::get(node.forwarded(WRITER_PORT).unwrap(), target).unwrap()
}

fn remove_pod(node: &Node, name: &str) {
    let gone = format!("kind: StaticPod\npod: {{metadata: {{name: {name}}}}}\n$patch: delete\n");
    node.osctl(&["patch", "config", "-f", &patch(node, &[&gone])]).unwrap();
}

/// Asks until the answer is so; a node that is not healthy answers too.
fn wait_for(node: &Node, question: &[&str], is: impl Fn(&str) -> bool) -> String {
    let until = Instant::now() + BOOT;
    loop {
        let output = node.osctl_output(question).unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        if is(&answer) {
            return answer;
        }
        assert!(Instant::now() < until, "{answer}");
    }
}

/// Waits until the disk bears the mark that goes before a file system.
fn wait_for_mark(node: &mut Node, image: &Path) {
    let until = Instant::now() + SOON;
    while state(image) == "nothing" {
        assert!(Instant::now() < until, "the disk is not marked");
        node.machine.run_for(LOOK).unwrap();
    }
}

/// What a disk holds, seen from outside.
fn state(image: &Path) -> &'static str {
    let file = File::open(image).unwrap();
    let is_zero = |offset, length| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).unwrap();
        bytes.iter().all(|byte| *byte == 0)
    };
    let is_marked = !is_zero(DISK_BYTES - (1 << 20), 4096);
    let has_superblock = !is_zero(1024 + 56, 2);
    match (is_marked, has_superblock) {
        (false, false) => "nothing",
        (true, false) => "a mark",
        (true, true) => "a mark and a superblock",
        (false, true) => "a file system",
    }
}

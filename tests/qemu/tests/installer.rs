//! Disks written by `osctl flash` and by the installer: a node that brings its configuration along needs no hands.

#![allow(missing_docs)]

mod support;

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use support::{BOOT, bed, blueprint, folder, tools};
use testbed::{
    bed::Bed,
    machine::{self, Attachment, Files},
    node::{Blueprint, Node},
};

const DISK_BYTES: u64 = 8 << 30;
/// What lies on the medium before: nothing of it may matter.
const DIRT: &[u8] = &[0xa5; 1 << 20];
const DIRTY_BYTES: u64 = 2400 << 20;

#[test]
fn a_flashed_disk_that_brings_its_configuration_needs_no_hands() {
    let bed = bed();
    let blueprint = blueprint(&bed, "flashed");
    let (files, configuration) = prepare(&bed, &blueprint);
    let disk = dirty_disk(files.folder());
    flash(&bed, &bed.disk, &disk, &configuration);
    machine::create_disk(&bed.programs(), &disk, &files, &blueprint.disk_size).unwrap();

    let mut node = Node::start(&tools(&bed), &blueprint, &files).unwrap();
    node.adopt().unwrap();
    node.wait_for_pod().unwrap();
    node.wait_for_probe().unwrap();
    let health = node.osctl(&["health", "--wait"]).unwrap();
    assert!(health.contains("storage"), "{health}");
}

#[test]
fn an_installer_stick_makes_a_node_of_an_empty_machine() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "installed");
    let (files, configuration) = prepare(&bed, &blueprint);
    let stick = files.folder().join("stick.raw");
    flash(&bed, &bed.installer, &stick, &configuration);
    let disk = files.disk().to_string_lossy().into_owned();
    bed.programs().run("qemu-img", &["create", "-q", "-f", "qcow2", &disk, &blueprint.disk_size]).unwrap();
    blueprint.hardware.attachment = Attachment::Nvme;
    let drive = format!("if=none,id=stick,format=raw,file={}", stick.display());
    let usb = ["-device", "qemu-xhci", "-drive", &drive, "-device", "usb-storage,drive=stick,removable=on"];
    blueprint.hardware.extra = usb.map(str::to_owned).into();

    let mut node = Node::start(&tools(&bed), &blueprint, &files).unwrap();
    node.machine.wait_for("installer: writing /dev/nvme0n1", BOOT).unwrap();
    node.machine.wait_for("installer: /dev/nvme0n1 holds the node", BOOT).unwrap();
    // The stick is still in.
    node.adopt().unwrap();
    runs_from_nvme(&mut node);
    node.machine.cut_power().unwrap();
    node.restart().unwrap();
    runs_from_nvme(&mut node);
    node.machine.cut_power().unwrap();
    node.hardware().extra.clear();
    node.restart().unwrap();
    runs_from_nvme(&mut node);
}

/// With everything that the stick brought along.
fn runs_from_nvme(node: &mut Node) {
    node.wait_for_pod().unwrap();
    node.wait_for_probe().unwrap();
    let disk = node.osctl(&["get", "disk", "nvme0n1", "-o", "json"]).unwrap();
    let disk: serde_json::Value = serde_json::from_str(&disk).unwrap();
    assert_eq!(disk["spec"]["system"], true, "{disk}");
}

/// A machine's files without disk and volume, and the configuration that goes onto the disk instead.
fn prepare(bed: &Bed, blueprint: &Blueprint) -> (Files, String) {
    let files = Node::prepare(&tools(bed), blueprint, &folder(bed, &blueprint.name)).unwrap();
    fs::remove_file(files.config_volume()).unwrap();
    fs::remove_file(files.disk()).unwrap();
    let configuration = configuration(bed, &files, &blueprint.name);
    (files, configuration)
}

fn flash(bed: &Bed, image: &Path, disk: &Path, configuration: &str) {
    let [image, disk, probe] = [image, disk, &bed.probe_image].map(|path| path.to_string_lossy());
    osctl(bed, &["flash", &image, &disk, "--file", "--yes", "--config", configuration, "--image", &probe]);
}

/// Machine configuration with both pods, as a user makes it, and with a disk that only an installer looks at.
fn configuration(bed: &Bed, files: &Files, name: &str) -> String {
    let path = |name: &str| files.folder().join(name).to_string_lossy().into_owned();
    let (secrets, output) = (path("secrets.yaml"), path("machine.yaml"));
    let (hello, probe) = (path("hello.yaml"), path("probe.yaml"));
    let pods = ["--static-pod", &hello, "--static-pod", &probe];
    let generate = ["gen", "config", "--secrets", &secrets, "--hostname", name, "-o", &output];
    osctl(bed, &[&generate[..], &pods].concat());
    let text = fs::read_to_string(&output).unwrap();
    let selected =
        text.replace("kind: Machine\n", "kind: Machine\ninstallDisk:\n  bus: nvme\n  minSize: 5GiB\n");
    assert_ne!(selected, text);
    fs::write(&output, selected).unwrap();
    output
}

/// A disk that held something else.
fn dirty_disk(folder: &Path) -> PathBuf {
    let path = folder.join("disk.raw");
    let file = File::create_new(&path).unwrap();
    file.set_len(DISK_BYTES).unwrap();
    let chunk = DIRT.len() as u64;
    for offset in (0..DIRTY_BYTES).step_by(DIRT.len()).chain([DISK_BYTES - chunk]) {
        file.write_all_at(DIRT, offset).unwrap();
    }
    path
}

fn osctl(bed: &Bed, arguments: &[&str]) {
    let output = Command::new(&bed.osctl).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

//! Disks written by `osctl flash` and by the installer: a node that brings its configuration along needs no hands.

#![allow(missing_docs)]

mod support;

use std::{
    fs::{self, File},
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
    let mut blueprint = blueprint(&bed, "flashed");
    let folder = folder(&bed, &blueprint.name);
    let files = Node::prepare(&tools(&bed), &blueprint, &folder).unwrap();
    // What is on the volume goes into the disk instead.
    fs::remove_file(files.config_volume()).unwrap();
    let configuration = configuration(&bed, &files, &blueprint.name);
    let disk = dirty_disk(&folder);
    let probe = bed.probe_image.to_string_lossy().into_owned();
    let (image, target) = (bed.disk.to_string_lossy(), disk.to_string_lossy());
    osctl(
        &bed,
        &["flash", &image, &target, "--file", "--yes", "--config", &configuration, "--image", &probe],
    );
    fs::remove_file(files.disk()).unwrap();
    blueprint.disk_size = "8G".into();
    machine::create_disk(&bed.programs(), &disk, &files, &blueprint.disk_size).unwrap();

    let mut node = Node::start(&tools(&bed), &blueprint, &files).unwrap();
    node.adopt().unwrap();
    node.wait_for_pod().unwrap();
    node.wait_for_probe().unwrap();
    // Everything that is zero in the image is zero on the disk: no old file system came to life.
    let version = node.osctl(&["health", "--wait"]).unwrap();
    assert!(version.contains("storage"), "{version}");
}

/// Machine configuration with both pods, as a user makes it.
fn configuration(bed: &Bed, files: &Files, name: &str) -> String {
    let path = |name: &str| files.folder().join(name).to_string_lossy().into_owned();
    let (secrets, output) = (path("secrets.yaml"), path("machine.yaml"));
    let (hello, probe) = (path("hello.yaml"), path("probe.yaml"));
    let pods = ["--static-pod", &hello, "--static-pod", &probe];
    let generate = ["gen", "config", "--secrets", &secrets, "--hostname", name, "-o", &output];
    osctl(bed, &[&generate[..], &pods].concat());
    // Only an installer looks at it.
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
        std::os::unix::fs::FileExt::write_all_at(&file, DIRT, offset).unwrap();
    }
    path
}

fn osctl(bed: &Bed, arguments: &[&str]) {
    let output = Command::new(&bed.osctl).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

//! The yardstick: the same kernel and programs under a busybox script as PID 1 that does one step after the other.
//! Its disk is made here and nowhere else; nothing of it is in an image.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use image::{erofs, root, uki};
use testbed::{
    http,
    machine::{self, Files, Hardware},
    measure::{KernelStart, reached_ms},
    node::{BOOT_DEADLINE, POD_PORT, Tools},
    programs::Programs,
};

use crate::{
    build::{
        self, Built, go,
        image::{Inputs, assemble_disk, assemble_uki, parts},
    },
    cache::{self, Key},
};

const SOURCES: &str = "xtask/src/bench/serial";
const HELLO: &str = "tests/qemu/pods/hello.yaml";
const BUSYBOX: &str = "/usr/bin/busybox";
/// Before the Debian programs of the same names in the script's search path.
const APPLETS: &str = "/usr/libexec/serial";
const USED_APPLETS: [&str; 9] = ["cp", "hostname", "ip", "ln", "mkdir", "mount", "printf", "sleep", "udhcpc"];
/// Configuration that the script copies.
const SHARE: &str = "/usr/share/serial";
/// As a node's.
const DISK_SIZE: &str = "8G";

/// When the script reached what, in milliseconds since its kernel began.
#[derive(Clone, Copy, Debug)]
pub struct SerialBoot {
    /// The script's first line.
    pub script_ms: u64,
    /// The pod answers.
    pub pod_ms: u64,
}

/// Makes the script's disk, or takes it from the cache.
pub fn disk(repository: &Path, built: &Built) -> Result<PathBuf> {
    let ctr = go::ctr(repository, &built.sdk)?;
    // The root's path has its key, and its key covers every part of it.
    let key = Key::new("bench-serial", 1)
        .text(&built.image.root.to_string_lossy())
        .text(&ctr.key)
        .path(repository, HELLO)?
        .path(repository, SOURCES)?
        .path(repository, "xtask/src/bench/serial.rs")?;
    let hint = "the script's root and disk; about 1 min";
    let made = cache::artifact("bench-serial", key, hint, |into| {
        let inputs = build::inputs(repository, &built.sdk, &built.kernel)?;
        let containers = built.image.probe_image.parent().context("the probe image lies nowhere")?;
        assemble(&inputs, containers, &ctr.path.join("ctr"), into)
    })?;
    Ok(made.path.join("serial.img"))
}

/// Boots the script on a new disk and waits for its pod.
pub fn boot(tools: &Tools, image: &Path, folder: &Path) -> Result<SerialBoot> {
    fs::create_dir_all(folder)?;
    let files = Files::new(folder);
    machine::create_disk(&tools.programs, image, &files, DISK_SIZE)?;
    let data = folder.join("data.qcow2").to_string_lossy().into_owned();
    tools.programs.run("qemu-img", &["create", "-q", "-f", "qcow2", &data, DISK_SIZE])?;
    let hardware = Hardware {
        forwarded_ports: vec![POD_PORT],
        extra: vec!["-drive".into(), format!("if=virtio,file={data},format=qcow2,cache=unsafe")],
        ..Hardware::default()
    };
    let mut machine = machine::start(&tools.programs, tools.accelerator, &files, &hardware)?;
    let (start, script_ms) = KernelStart::by_line(&mut machine, "serial: script started", BOOT_DEADLINE)?;
    // Asked earlier, a connection would hang until the guest has an address.
    reached_ms(&mut machine, "serial: network up", BOOT_DEADLINE)?;
    http::wait_for(machine.port(0), "/", BOOT_DEADLINE, || machine.is_running())?;
    Ok(SerialBoot { script_ms, pod_ms: start.elapsed_ms() })
}

fn assemble(inputs: &Inputs, containers: &Path, ctr: &Path, into: &Path) -> Result<()> {
    let programs = Programs::new(&inputs.sdk.root);
    let (tree, root, uki) = (into.join("tree"), into.join("root.img"), into.join("serial.efi"));
    plan(inputs, containers, ctr)?.write(&tree)?;
    let facts = erofs::seal(&programs, &tree, &root)?;
    cache::remove(&tree)?;
    fs::write(&uki, assemble_uki(inputs, &uki::command_line(&facts, &layout::ROOT_A, &[])?)?)?;
    assemble_disk(inputs, &root, &uki, &into.join("serial.img"))
}

/// Cairn's root with another PID 1, a shell and a client of containerd.
fn plan(inputs: &Inputs, containers: &Path, ctr: &Path) -> Result<image::tree::Tree> {
    let sources = inputs.repository.join(SOURCES);
    let mut parts = parts(inputs, containers)?;
    parts.init = sources.join("init.sh");
    let mut tree = root::plan(&parts)?;
    tree.program(BUSYBOX, &inputs.sdk.root.join(BUSYBOX.trim_start_matches('/')))?;
    for applet in USED_APPLETS {
        tree.link(&format!("{APPLETS}/{applet}"), BUSYBOX)?;
    }
    tree.program("/usr/bin/ctr", ctr)?;
    tree.program(&format!("{SHARE}/udhcpc.sh"), &sources.join("udhcpc.sh"))?;
    for name in ["config.toml", "kubelet.yaml", "10-bridge.conflist"] {
        tree.file(&format!("{SHARE}/{name}"), &sources.join(name))?;
    }
    tree.file(&format!("{SHARE}/hello.yaml"), &inputs.repository.join(HELLO))?;
    Ok(tree)
}

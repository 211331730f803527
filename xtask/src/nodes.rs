//! Nodes in QEMU for people: `up`, `down`, `status`, `console`, `osctl`.

use std::{
    fs,
    io::{IsTerminal as _, Read as _, Write as _},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use testbed::{
    machine::{self, Files},
    node::{self, Blueprint, Node, Tools},
};

use crate::{
    build::Built,
    cache,
    report::{self, Step, say},
};

/// Disk of a developer's node; sparse.
const DISK_SIZE: &str = "16G";
/// Ctrl-] ends `console`, as in telnet.
const ESCAPE: u8 = 0x1d;

/// Starts a node, or says that it already runs.
pub fn up(built: &Built, name: &str, fresh: bool) -> Result<()> {
    let folder = folder(name)?;
    let files = Files::new(&folder);
    if let Some(pid) = machine::running_pid(&files) {
        say(&format!(
            "{name} runs already (QEMU is process {pid}); `cargo xtask down --name {name}` ends it"
        ));
        return Ok(());
    }
    if fresh {
        cache::remove(&folder)?;
    }
    let started = Instant::now();
    let tools = built.tools()?;
    let blueprint = blueprint(built, name);
    let kept = files.disk().exists() && folder.join("status.json").exists();
    let node =
        if kept { restart(&tools, &blueprint, &files)? } else { first_start(&tools, &blueprint, &folder)? };
    let status = node.detach()?;
    say(&format!("{name} is up after {}", report::seconds(started.elapsed())));
    println!("  pod      {}", status.pod_url);
    println!("  API      {}", status.api);
    println!("  console  {}", status.console_log.display());
    println!("Try next:");
    for command in [
        "health",
        "services",
        "pods",
        "logs -f default/hello",
        "get links",
        "dmesg --tail 20",
        "reboot --wait",
    ] {
        println!("  cargo xtask osctl --name {name} -- {command}");
    }
    println!("  cargo xtask down --name {name}");
    Ok(())
}

/// Ends a node's machine; its disk stays.
pub fn down(name: &str) -> Result<()> {
    let stopped = machine::stop_detached(&Files::new(&folder(name)?))?;
    say(&if stopped { format!("{name} is off; its disk is kept") } else { format!("{name} does not run") });
    Ok(())
}

/// Prints where everything of a node is.
pub fn status(name: &str, json: bool) -> Result<()> {
    let status = node::status(&folder(name)?)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        let state =
            if status.pid == 0 { "off".to_owned() } else { format!("running, process {}", status.pid) };
        println!("{}: {state}\n  API {}\n  pod {}", status.context, status.api, status.pod_url);
    }
    Ok(())
}

/// Shows the console: all of it so far, then live.
pub fn console(name: &str) -> Result<()> {
    let status = node::status(&folder(name)?)?;
    if status.pid == 0 {
        bail!("{name} does not run; `cargo xtask up --name {name}` starts it");
    }
    let mut out = std::io::stdout();
    out.write_all(&fs::read(&status.console_log)?)?;
    say("\r\n[live; Ctrl-C ends]\r");
    let mut stream = UnixStream::connect(&status.console).context("cannot reach the console")?;
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 || (std::io::stdin().is_terminal() && buffer[..length].contains(&ESCAPE)) {
            return Ok(());
        }
        out.write_all(&buffer[..length])?;
        out.flush()?;
    }
}

/// Becomes osctl with the node's configuration.
pub fn osctl(osctl: &Path, name: &str, arguments: &[String]) -> Result<()> {
    let status = node::status(&folder(name)?)?;
    let error = Command::new(osctl).args(arguments).env("OSCTL_CONFIG", &status.osctl_config).exec();
    Err(error).with_context(|| format!("cannot run {}", osctl.display()))
}

fn folder(name: &str) -> Result<PathBuf> {
    let plain = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !plain {
        bail!("{name:?} is no node name: use lower-case letters, digits and '-'");
    }
    Ok(cache::scratch("nodes")?.join(name))
}

fn blueprint(built: &Built, name: &str) -> Blueprint {
    Blueprint {
        name: name.to_owned(),
        image: built.image.disk.clone(),
        disk_size: DISK_SIZE.to_owned(),
        hardware: node::default_hardware(),
        pods: Vec::new(),
        probe_image: None,
    }
}

fn first_start(tools: &Tools, blueprint: &Blueprint, folder: &Path) -> Result<Node> {
    cache::remove(folder)?;
    let files = Node::prepare(tools, blueprint, folder)?;
    let step = Step::start("boot", "firmware, kernel, first boot (partitions, identity, configuration)");
    let mut node = Node::start(tools, blueprint, &files)?;
    node.wait_for_fingerprint()?;
    step.done();
    node.machine.console().rewind();
    let step = Step::start("adopt", "sign the node's certificate");
    node.adopt()?;
    step.done();
    wait_for_pod(node)
}

fn restart(tools: &Tools, blueprint: &Blueprint, files: &Files) -> Result<Node> {
    // New host ports: the context's endpoint follows.
    let mut node = Node::start(tools, blueprint, files)?;
    let step = Step::start("boot", "firmware, kernel, API");
    node.machine.console().skip()?;
    node.adopt()?;
    step.done();
    wait_for_pod(node)
}

fn wait_for_pod(mut node: Node) -> Result<Node> {
    let step = Step::start("pod", "containerd, images, kubelet, sample pod");
    node.wait_for_pod()?;
    step.done();
    Ok(node)
}

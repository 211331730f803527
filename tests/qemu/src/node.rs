//! A Cairn node in QEMU, from secrets to an adopted API: the same steps that a user takes by hand.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use image::volume::ConfigVolume;
use serde::{Deserialize, Serialize};

use crate::{
    accelerator::Accelerator,
    http,
    machine::{self, Files, Hardware, Machine},
    programs::Programs,
};

/// Generous: software emulation on a loaded host.
pub const BOOT_DEADLINE: Duration = Duration::from_secs(240);
/// Port of the API in the guest.
pub const API_PORT: u16 = layout::API_PORT;
/// Host port of the sample pod in the guest.
pub const POD_PORT: u16 = 8080;
/// Host port of the probe pod in the guest.
pub const PROBE_PORT: u16 = 8081;

const HELLO_POD: &str = include_str!("../pods/hello.yaml");
const PROBE_POD: &str = include_str!("../pods/probe.yaml");

/// What a node is made from.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// Name: hostname and osctl context.
    pub name: String,
    /// Disk image.
    pub image: PathBuf,
    /// Size of the disk, as for qemu-img.
    pub disk_size: String,
    /// Machine.
    pub hardware: Hardware,
    /// More static pods, as YAML.
    pub pods: Vec<String>,
    /// Archive of the probe image: brings the probe pod onto the node.
    pub probe_image: Option<PathBuf>,
}

/// Programs that the host side needs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// SDK programs.
    pub programs: Programs,
    /// osctl.
    pub osctl: PathBuf,
    /// Accelerator.
    pub accelerator: Accelerator,
}

/// Where a node's parts are, for scripts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// osctl context.
    pub context: String,
    /// osctl configuration file.
    pub osctl_config: PathBuf,
    /// API endpoint.
    pub api: String,
    /// The sample pod.
    pub pod_url: String,
    /// Disk (qcow2).
    pub disk: PathBuf,
    /// Console log.
    pub console_log: PathBuf,
    /// Console socket.
    pub console: PathBuf,
    /// QMP socket.
    pub qmp: PathBuf,
    /// QEMU's process, 0 when it does not run.
    pub pid: i32,
    /// Secrets bundle.
    pub secrets: PathBuf,
}

/// A node.
pub struct Node {
    /// Its machine.
    pub machine: Machine,
    tools: Tools,
    blueprint: Blueprint,
    files: Files,
}

impl Node {
    /// Makes secrets, configuration volume and disk in `folder`.
    pub fn prepare(tools: &Tools, blueprint: &Blueprint, folder: &Path) -> Result<Files> {
        fs::create_dir_all(folder)?;
        let files = Files::new(folder);
        let secrets = secrets(&files);
        if !secrets.exists() {
            osctl(tools, &files, &["gen", "secrets", "-o", &secrets.to_string_lossy()])?;
        }
        let configuration = configuration(tools, blueprint, &files)?;
        let images: Vec<&Path> = blueprint.probe_image.iter().map(PathBuf::as_path).collect();
        let volume = ConfigVolume { machine_yaml: &configuration, images: &images };
        image::volume::assemble(&tools.programs, &volume, &files.config_volume())?;
        machine::create_disk(&tools.programs, &blueprint.image, &files, &blueprint.disk_size)?;
        Ok(files)
    }

    /// Starts a prepared node.
    pub fn start(tools: &Tools, blueprint: &Blueprint, files: &Files) -> Result<Self> {
        let machine = machine::start(&tools.programs, tools.accelerator, files, &blueprint.hardware)?;
        Ok(Self { machine, tools: tools.clone(), blueprint: blueprint.clone(), files: files.clone() })
    }

    /// Prepares, starts, adopts and waits for the sample pod.
    pub fn up(tools: &Tools, blueprint: &Blueprint, folder: &Path) -> Result<Self> {
        let mut node = Self::up_without_pod(tools, blueprint, folder)?;
        node.wait_for_pod()?;
        Ok(node)
    }

    /// Prepares, starts and adopts, without waiting for a pod.
    pub fn up_without_pod(tools: &Tools, blueprint: &Blueprint, folder: &Path) -> Result<Self> {
        let files = Self::prepare(tools, blueprint, folder)?;
        let mut node = Self::start(tools, blueprint, &files)?;
        node.adopt()?;
        Ok(node)
    }

    /// Starts the node again after its machine has ended, with the same host ports.
    pub fn restart(&mut self) -> Result<()> {
        let ports =
            (0..self.blueprint.hardware.forwarded_ports.len()).map(|i| self.machine.port(i)).collect();
        let hardware = &self.blueprint.hardware;
        self.machine = machine::start_with_ports(
            &self.tools.programs,
            self.tools.accelerator,
            &self.files,
            hardware,
            ports,
        )?;
        self.machine.console().skip()
    }

    /// Brings the gateway to a node on a silent network.
    pub fn plug_in_gateway(&mut self) -> Result<()> {
        self.machine.plug_in_gateway(&self.blueprint.hardware)
    }

    /// Changes the hardware for the next start.
    pub fn hardware(&mut self) -> &mut Hardware {
        &mut self.blueprint.hardware
    }

    /// The fingerprint that the console shows.
    pub fn wait_for_fingerprint(&mut self) -> Result<String> {
        let line = self.machine.wait_for("cairn: api https://", BOOT_DEADLINE)?;
        let fingerprint = line.split("fingerprint ").nth(1).context("console line without a fingerprint")?;
        Ok(fingerprint.trim().to_owned())
    }

    /// Adopts the node by the fingerprint on its console; the osctl context is named as the node.
    pub fn adopt(&mut self) -> Result<()> {
        let fingerprint = self.wait_for_fingerprint()?;
        let (secrets, endpoint) = (secrets(&self.files), self.endpoint());
        let name = self.blueprint.name.clone();
        let arguments = ["adopt", "--secrets", &secrets.to_string_lossy(), "--fingerprint", &fingerprint];
        self.osctl(&[&arguments[..], &["--endpoint", &endpoint, "--context", &name]].concat()).map(drop)
    }

    /// Waits until the sample pod answers through the forwarded port.
    pub fn wait_for_pod(&mut self) -> Result<String> {
        let port = self.forwarded(POD_PORT)?;
        http::wait_for(port, "/", BOOT_DEADLINE, || self.machine.is_running())
    }

    /// Waits until the probe pod answers.
    pub fn wait_for_probe(&mut self) -> Result<()> {
        let port = self.forwarded(PROBE_PORT)?;
        http::wait_for(port, "/healthz", BOOT_DEADLINE, || self.machine.is_running()).map(drop)
    }

    /// Asks the probe pod.
    pub fn probe(&self, method: &str, target: &str) -> Result<String> {
        http::request(method, self.forwarded(PROBE_PORT)?, target)
    }

    /// Host port that leads to a guest port.
    pub fn forwarded(&self, guest: u16) -> Result<u16> {
        let ports = &self.blueprint.hardware.forwarded_ports;
        let index = ports
            .iter()
            .position(|port| *port == guest)
            .with_context(|| format!("port {guest} is not forwarded"))?;
        Ok(self.machine.port(index))
    }

    /// The API's address on the host.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.forwarded(API_PORT).unwrap_or_default())
    }

    /// Runs osctl with the node's context; a failure carries what it printed.
    pub fn osctl(&self, arguments: &[&str]) -> Result<String> {
        osctl(&self.tools, &self.files, arguments)
    }

    /// Runs osctl and returns its outcome, whatever it is.
    pub fn osctl_output(&self, arguments: &[&str]) -> Result<Output> {
        osctl_command(&self.tools, &self.files, arguments).output().context("cannot run osctl")
    }

    /// A command that runs osctl with the node's context.
    pub fn osctl_command(&self, arguments: &[&str]) -> Command {
        osctl_command(&self.tools, &self.files, arguments)
    }

    /// The node's files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The secrets bundle.
    pub fn secrets(&self) -> PathBuf {
        secrets(&self.files)
    }

    /// Leaves the machine running; writes where everything is.
    pub fn detach(self) -> Result<Status> {
        let status = Status {
            context: self.blueprint.name.clone(),
            osctl_config: osctl_config(&self.files),
            api: self.endpoint(),
            pod_url: format!("http://127.0.0.1:{}/", self.forwarded(POD_PORT)?),
            disk: self.files.disk(),
            console_log: self.files.console_log(),
            console: self.files.console_socket(),
            qmp: self.files.qmp(),
            pid: i32::try_from(self.machine.pid())?,
            secrets: secrets(&self.files),
        };
        fs::write(status_file(&self.files), serde_json::to_vec_pretty(&status)?)?;
        self.machine.detach();
        Ok(status)
    }
}

/// What `detach` wrote, with the process as it is now.
pub fn status(folder: &Path) -> Result<Status> {
    let files = Files::new(folder);
    let path = status_file(&files);
    let text = fs::read(&path)
        .with_context(|| format!("no node at {}: start one with `cargo xtask up`", folder.display()))?;
    let mut status: Status = serde_json::from_slice(&text)?;
    status.pid = machine::running_pid(&files).map_or(0, nix::unistd::Pid::as_raw);
    Ok(status)
}

/// The hardware that the sample and probe pods need.
pub fn default_hardware() -> Hardware {
    Hardware { forwarded_ports: vec![API_PORT, POD_PORT, PROBE_PORT], ..Hardware::default() }
}

fn configuration(tools: &Tools, blueprint: &Blueprint, files: &Files) -> Result<String> {
    let mut pods = vec![("hello".to_owned(), HELLO_POD.to_owned())];
    if blueprint.probe_image.is_some() {
        pods.push(("probe".into(), PROBE_POD.into()));
    }
    pods.extend(blueprint.pods.iter().enumerate().map(|(index, pod)| (format!("pod-{index}"), pod.clone())));
    let secrets = secrets(files).to_string_lossy().into_owned();
    let mut arguments = vec!["gen".to_owned(), "config".into(), "--secrets".into(), secrets];
    arguments.extend(["--hostname".to_owned(), blueprint.name.clone()]);
    for (name, pod) in pods {
        let path = files.folder().join(format!("{name}.yaml"));
        fs::write(&path, pod)?;
        arguments.extend(["--static-pod".to_owned(), path.to_string_lossy().into_owned()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    osctl(tools, files, &arguments)
}

fn osctl(tools: &Tools, files: &Files, arguments: &[&str]) -> Result<String> {
    let output = osctl_command(tools, files, arguments).output().context("cannot run osctl")?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("osctl {} failed ({}): {}", arguments.join(" "), output.status, errors.trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn osctl_command(tools: &Tools, files: &Files, arguments: &[&str]) -> Command {
    let mut command = Command::new(&tools.osctl);
    command.args(arguments).env("OSCTL_CONFIG", osctl_config(files));
    command
}

fn osctl_config(files: &Files) -> PathBuf {
    files.folder().join("osctl.yaml")
}

fn secrets(files: &Files) -> PathBuf {
    files.folder().join("secrets.yaml")
}

fn status_file(files: &Files) -> PathBuf {
    files.folder().join("status.json")
}

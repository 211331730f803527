//! A QEMU machine: q35, OVMF, one disk, a console log and QMP.

use std::{
    fs::{self, File},
    io::ErrorKind,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::{
    accelerator::Accelerator,
    console::Console,
    lan::Port,
    network::{self, Network},
    programs::Programs,
    qmp::Qmp,
};

const SOCKET_DEADLINE: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(20);
/// Of QEMU's block layer.
const SECTOR_BYTES: u64 = 512;
/// Linux' number for an error of the medium.
const EIO: i32 = 5;

/// Which emulated watchdog the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watchdog {
    /// The chipset's own (iTCO), armed by the selector.
    Tco,
    /// i6300esb on PCI, armed by PID 1.
    I6300esb,
    /// None that works: the chipset's is strapped off.
    None,
}

/// How the disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// virtio-blk, which QEMU has the firmware start from.
    Virtio,
    /// NVM Express; what the firmware starts from is its own affair, as on real machines.
    Nvme,
}

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// Memory.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
    /// Watchdog.
    pub watchdog: Watchdog,
    /// Guest TCP ports reachable from the host's loopback.
    pub forwarded_ports: Vec<u16>,
    /// What its link leads to.
    pub network: Network,
    /// More links.
    pub links: Vec<Port>,
    /// TCP port of [`network::HOST`] in the guest's network that leads to [`Files::host_socket`].
    pub host_port: Option<u16>,
    /// Contents of fw_cfg `opt/cairn.test`, for images with test hooks.
    pub test_hooks: Option<String>,
    /// More drives: QEMU `-drive`/`-device` arguments.
    pub extra: Vec<String>,
    /// Logical sector size of the disk.
    pub sector_bytes: u32,
    /// How the disk is attached.
    pub attachment: Attachment,
    /// Where all writes to the disk are recorded, for `replay`.
    pub write_log: Option<PathBuf>,
    /// A byte of the disk whose sector cannot be read.
    pub unreadable_byte: Option<u64>,
    /// What its clock says when it starts, such as "1970-01-01T00:00:00" (UTC); the host's time without.
    pub clock: Option<String>,
}

impl Default for Hardware {
    fn default() -> Self {
        Self {
            memory_mib: 2048,
            cpus: 2,
            watchdog: Watchdog::Tco,
            forwarded_ports: Vec::new(),
            network: Network::Served,
            links: Vec::new(),
            host_port: None,
            test_hooks: None,
            extra: Vec::new(),
            sector_bytes: 512,
            attachment: Attachment::Virtio,
            write_log: None,
            unreadable_byte: None,
            clock: None,
        }
    }
}

/// Files of a machine, all in one folder.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// A machine's files in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Disk, a qcow2 overlay over the image.
    pub fn disk(&self) -> PathBuf {
        self.folder.join("disk.qcow2")
    }

    /// Configuration volume; attached when it exists.
    pub fn config_volume(&self) -> PathBuf {
        self.folder.join("config.img")
    }

    /// All console output.
    pub fn console_log(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// Socket of the console, for people.
    pub fn console_socket(&self) -> PathBuf {
        self.folder.join("console.sock")
    }

    /// QMP socket of the tests.
    pub fn qmp(&self) -> PathBuf {
        self.folder.join("qmp.sock")
    }

    /// What the guest sends to the host's port: a test connects to this socket and reads. Before that it is lost.
    pub fn host_socket(&self) -> PathBuf {
        self.folder.join("host.sock")
    }

    /// Process id of QEMU.
    pub fn pid(&self) -> PathBuf {
        self.folder.join("qemu.pid")
    }

    /// Firmware variables.
    pub fn variables(&self) -> PathBuf {
        self.folder.join("vars.fd")
    }
}

/// A running machine.
pub struct Machine {
    files: Files,
    child: Child,
    console: Console,
    /// Host ports in the order of `Hardware::forwarded_ports`.
    ports: Vec<u16>,
}

/// Makes the machine's disk: an overlay over `image` of `size`, such as "8G".
pub fn create_disk(programs: &Programs, image: &Path, files: &Files, size: &str) -> Result<()> {
    let kept = keep(image, files)?;
    let (image, disk) = (kept.to_string_lossy(), files.disk());
    programs
        .run(
            "qemu-img",
            &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &image, &disk.to_string_lossy(), size],
        )
        .map(drop)
}

/// Another name of the image, so that it lasts as long as the machine whatever becomes of the cache that it comes from.
fn keep(image: &Path, files: &Files) -> Result<PathBuf> {
    let kept = files.folder.join("image.raw");
    match fs::remove_file(&kept) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    match fs::hard_link(image, &kept) {
        Ok(()) => Ok(kept),
        // Whoever has his nodes on another file system has to keep the image himself.
        Err(error) if error.kind() == ErrorKind::CrossesDevices => Ok(image.to_owned()),
        Err(error) => Err(error).with_context(|| format!("cannot link {}", image.display())),
    }
}

/// Starts a machine on the disk in `files`.
pub fn start(
    programs: &Programs,
    accelerator: Accelerator,
    files: &Files,
    hardware: &Hardware,
) -> Result<Machine> {
    let ports = free_ports(hardware.forwarded_ports.len())?;
    start_with_ports(programs, accelerator, files, hardware, ports)
}

/// Starts a machine with given host ports.
pub fn start_with_ports(
    programs: &Programs,
    accelerator: Accelerator,
    files: &Files,
    hardware: &Hardware,
    ports: Vec<u16>,
) -> Result<Machine> {
    if !files.variables().exists() {
        fs::copy(programs.file("/usr/share/OVMF/OVMF_VARS_4M.fd"), files.variables())?;
    }
    for stale in [files.qmp(), files.console_socket(), files.host_socket()] {
        fs::remove_file(stale).ok();
    }
    let console = Console::open(&files.console_log())?;
    let mut command = command(programs, accelerator, files, hardware, &ports);
    let errors = File::create(files.folder.join("qemu.log"))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(errors.try_clone()?)
        .stderr(errors)
        // Its own process group: Ctrl-C of a test run or of `up` does not cut the machine's power.
        .process_group(0)
        .spawn()
        .context("cannot start QEMU")?;
    fs::write(files.pid(), child.id().to_string())?;
    Ok(Machine { files: files.clone(), child, console, ports })
}

impl Machine {
    /// Host port that leads to the guest's n-th forwarded port.
    pub fn port(&self, index: usize) -> u16 {
        self.ports[index]
    }

    /// The machine's files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// QEMU's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether QEMU runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for a console line that contains `text`.
    pub fn wait_for(&mut self, text: &str, deadline: Duration) -> Result<String> {
        let child = &mut self.child;
        self.console.wait_for(text, deadline, || matches!(child.try_wait(), Ok(None)))
    }

    /// Waits for a console line that contains one of `texts`.
    pub fn wait_for_any(&mut self, texts: &[&str], deadline: Duration) -> Result<(usize, String)> {
        let child = &mut self.child;
        self.console.wait_for_any(texts, deadline, || matches!(child.try_wait(), Ok(None)))
    }

    /// The console.
    pub fn console(&mut self) -> &mut Console {
        &mut self.console
    }

    /// A new QMP connection.
    pub fn qmp(&mut self) -> Result<Qmp> {
        let until = Instant::now() + SOCKET_DEADLINE;
        loop {
            match Qmp::connect(&self.files.qmp()) {
                Ok(qmp) => return Ok(qmp),
                Err(error) if Instant::now() >= until || !self.is_running() => {
                    let log = fs::read_to_string(self.files.folder.join("qemu.log")).unwrap_or_default();
                    return Err(error.context(format!("QEMU said: {}", log.trim())));
                }
                // The socket appears when QEMU is up; a directory watch would race with its creation.
                Err(_) => std::thread::park_timeout(RETRY),
            }
        }
    }

    /// Plugs the gateway into the hub of a silent network.
    pub fn plug_in_gateway(&mut self, hardware: &Hardware) -> Result<()> {
        network::plug_in_gateway(&mut self.qmp()?, hardware, &self.ports)
    }

    /// Cuts the power: QEMU is killed, nothing is flushed.
    pub fn cut_power(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill QEMU")?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets the machine run for a while: the moment of a power cut is a time, not an event.
    pub fn run_for(&mut self, duration: Duration) -> Result<()> {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            if !self.is_running() {
                bail!("the machine ended by itself");
            }
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()).min(RETRY));
        }
        Ok(())
    }

    /// A photograph of the screen, a binary PPM, of a machine that has one.
    pub fn photograph(&mut self) -> Result<Vec<u8>> {
        let path = self.files.folder.join("screen.ppm");
        self.qmp()?.execute("screendump", json!({"filename": path}))?;
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Presses the reset button.
    pub fn reset(&mut self) -> Result<()> {
        self.qmp()?.execute("system_reset", json!({})).map(drop)
    }

    /// Waits until QEMU ends by itself, as after a power-off.
    pub fn wait_for_end(&mut self, deadline: Duration) -> Result<()> {
        let until = Instant::now() + deadline;
        while self.is_running() {
            if Instant::now() >= until {
                bail!("the machine did not power off within {deadline:?}");
            }
            std::thread::park_timeout(RETRY);
        }
        Ok(())
    }

    /// Leaves QEMU running when this value goes.
    pub fn detach(self) {
        let mut this = std::mem::ManuallyDrop::new(self);
        // Reaped by init of the host once this process has ended.
        this.child.try_wait().ok();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Ends a detached machine by its pid file; false when it was not running.
pub fn stop_detached(files: &Files) -> Result<bool> {
    let Some(pid) = running_pid(files) else { return Ok(false) };
    kill(pid, Signal::SIGKILL)?;
    fs::remove_file(files.pid()).ok();
    Ok(true)
}

/// The process of a detached machine, if it still runs.
pub fn running_pid(files: &Files) -> Option<Pid> {
    let pid: i32 = fs::read_to_string(files.pid()).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let disk = files.disk().to_string_lossy().into_owned();
    String::from_utf8_lossy(&command).contains(&disk).then(|| Pid::from_raw(pid))
}

/// TCP ports of loopback that are free now, each another one: all are held until the last is known.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let bound: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<Result<_, _>>()?;
    bound.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn command(
    programs: &Programs,
    accelerator: Accelerator,
    files: &Files,
    hardware: &Hardware,
    ports: &[u16],
) -> Command {
    let share = programs.file("/usr/share");
    let path = |p: PathBuf| p.to_string_lossy().into_owned();
    let mut command = programs.command("qemu-system-x86_64");
    command.arg("-L").arg(share.join("qemu")).args(["-machine", "q35"]).args(accelerator.arguments());
    command.args(["-m", &hardware.memory_mib.to_string(), "-smp", &hardware.cpus.to_string()]);
    command.args(["-display", "none", "-nodefaults", "-no-user-config"]);
    let code = path(share.join("OVMF/OVMF_CODE_4M.fd"));
    command.args(["-drive", &format!("if=pflash,format=raw,readonly=on,file={code}")]);
    command.args(["-drive", &format!("if=pflash,format=raw,file={}", path(files.variables()))]);
    disk(&mut command, files, hardware);
    let sectors = hardware.sector_bytes;
    let sectors = format!("logical_block_size={sectors},physical_block_size={sectors}");
    let device = match hardware.attachment {
        // Boot index 0 is for a disk that a test wants to be preferred.
        Attachment::Virtio => format!("virtio-blk-pci,drive=disk,bootindex=1,{sectors}"),
        Attachment::Nvme => format!("nvme,drive=disk,serial=internal,{sectors}"),
    };
    command.args(["-device", &device]);
    if files.config_volume().exists() {
        let volume = path(files.config_volume());
        command.args(["-drive", &format!("if=virtio,file={volume},format=raw,readonly=on")]);
    }
    let (socket, log) = (path(files.console_socket()), path(files.console_log()));
    let console = format!("socket,id=console,path={socket},server=on,wait=off,logfile={log},logappend=on");
    command.args(["-chardev", &console, "-serial", "chardev:console"]);
    command.args(["-qmp", &format!("unix:{},server=on,wait=off", path(files.qmp()))]);
    command.args(["-device", "virtio-rng-pci"]);
    if hardware.host_port.is_some() {
        let host = path(files.host_socket());
        command.args([
            "-chardev",
            &format!("socket,id={},path={host},server=on,wait=off", network::HOST_CHARDEV),
        ]);
    }
    command.args(network::arguments(hardware, ports));
    for (index, port) in hardware.links.iter().enumerate() {
        command.args(port.arguments(index));
    }
    match hardware.watchdog {
        Watchdog::Tco => command.args(["-global", "ICH9-LPC.noreboot=off"]),
        Watchdog::I6300esb => command.args(["-device", "i6300esb", "-global", "ICH9-LPC.noreboot=on"]),
        Watchdog::None => command.args(["-global", "ICH9-LPC.noreboot=on"]),
    };
    command.args(["-watchdog-action", "reset"]);
    if let Some(hooks) = &hardware.test_hooks {
        command.args(["-fw_cfg", &format!("name=opt/cairn.test,string={}", hooks.replace(',', ",,"))]);
    }
    if let Some(time) = &hardware.clock {
        command.args(["-rtc", &format!("base={time}")]);
    }
    command.args(&hardware.extra);
    command
}

/// The disk as block device "disk". No host flush is needed: a power cut here is the end of QEMU, not of the host.
fn disk(command: &mut Command, files: &Files, hardware: &Hardware) {
    let is_plain = hardware.write_log.is_none() && hardware.unreadable_byte.is_none();
    let disk = json!({
        "driver": "qcow2",
        "node-name": if is_plain { "disk" } else { "overlay" },
        "discard": "unmap",
        "cache": {"no-flush": true},
        "file": {"driver": "file", "filename": files.disk(), "cache": {"no-flush": true}},
    });
    command.args(["-blockdev", &disk.to_string()]);
    if let Some(at) = hardware.unreadable_byte {
        let bad = json!({"event": "none", "iotype": "read", "sector": at / SECTOR_BYTES, "errno": EIO});
        let faulty =
            json!({"driver": "blkdebug", "node-name": "disk", "image": "overlay", "inject-error": [bad]});
        command.args(["-blockdev", &faulty.to_string()]);
    }
    if let Some(log) = &hardware.write_log {
        let recorder = json!({
            "driver": "blklogwrites",
            "node-name": "disk",
            "file": "overlay",
            "log": {"driver": "file", "filename": log},
            "log-sector-size": 512,
        });
        command.args(["-blockdev", &recorder.to_string()]);
    }
}

//! From the kernel's hand-over to the first service.

use std::convert::Infallible;
use std::fs::{self, DirBuilder};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::reboot::set_cad_enabled;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::cgroup::{self, Cgroups};
use crate::event_loop::{LoopError, Sources};
use crate::machine::{Machine, MachineError};
use crate::table::{INIT_CGROUP, INNER_CGROUPS, SERVICES, SHIMS_CGROUP};
use crate::watchdog::Watchdogs;
use crate::{kmsg, mounts, raw, sysctl};

/// Until machined sets the configured one.
const HOSTNAME: &str = "cairn";

/// Why PID 1 cannot take up its work.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Signals and timer.
    #[error("cannot set the event loop up")]
    Loop(#[source] LoopError),
    /// Services and sockets.
    #[error("cannot set the machine up")]
    Machine(#[source] MachineError),
}

/// Brings the machine up and runs it. Whatever a node can do without is reported and left out.
pub fn run() -> Result<Infallible, SetupError> {
    mounts::mount_pseudo();
    sysctl::open_console_log();
    kmsg::notice!("init started");
    let watchdogs = Watchdogs::open();
    prepare_process();
    mounts::share_root();
    sysctl::apply();
    prepare_network();
    let cgroups = prepare_cgroups();
    prepare_directories();
    let sources = Sources::open().map_err(SetupError::Loop)?;
    let mut machine = Machine::new(cgroups, watchdogs, random_seed()).map_err(SetupError::Machine)?;
    machine.start();
    sources.run(machine)
}

fn prepare_process() {
    // A root block that can no longer be read must not be PID 1's end.
    if let Err(error) = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE) {
        kmsg::warning!("cannot lock memory: {error}");
    }
    // Ctrl-Alt-Del becomes SIGINT.
    if let Err(error) = set_cad_enabled(false) {
        kmsg::warning!("cannot take Ctrl-Alt-Del over: {error}");
    }
    // Helpers inherit it.
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "-1000") {
        kmsg::warning!("cannot set oom_score_adj: {error}");
    }
}

fn prepare_network() {
    if let Err(error) = rustix::system::sethostname(HOSTNAME.as_bytes()) {
        kmsg::warning!("cannot set the host name: {error}");
    }
    let up = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(std::io::Error::from)
        .and_then(|socket| raw::set_interface_up(socket, "lo"));
    if let Err(error) = up {
        kmsg::error!("cannot bring lo up: {error}");
    }
}

/// Processes live in leaves only, so PID 1 leaves the root before it enables controllers there.
fn prepare_cgroups() -> Cgroups {
    let cgroups = Cgroups::new(cgroup::ROOT);
    let report = |result: Result<(), cgroup::CgroupError>| {
        if let Err(error) = result {
            kmsg::error!("{}", kmsg::Chain(&error));
        }
    };
    report(cgroups.create(INIT_CGROUP).and_then(|()| cgroups.join(INIT_CGROUP)));
    let missing = cgroups.delegate("/");
    if !missing.is_empty() {
        kmsg::error!("cgroup controllers missing: {}", missing.join(" "));
    }
    for path in INNER_CGROUPS {
        report(cgroups.create(path));
        // What the root lacks was reported above.
        let _ = cgroups.delegate(path);
    }
    report(cgroups.create(SHIMS_CGROUP));
    for service in SERVICES {
        let created = cgroups.create(service.cgroup);
        report(created.and_then(|()| cgroups.limit(service.cgroup, &service.limits)));
    }
    cgroups
}

fn prepare_directories() {
    // Every service reaches the notify socket; logs may tell secrets.
    for (path, mode) in [("/run/init", 0o755), (layout::path::SERVICE_LOGS, 0o750)] {
        if let Err(error) = DirBuilder::new().mode(mode).create(path) {
            kmsg::error!("cannot make {path}: {error}");
        }
    }
}

/// Spreads restarts; need not be secret. /dev/urandom never blocks.
fn random_seed() -> u64 {
    let mut seed = [0; 8];
    let read = fs::File::open("/dev/urandom").and_then(|mut device| device.read_exact(&mut seed));
    if let Err(error) = read {
        kmsg::info!("no random seed: {error}");
    }
    u64::from_ne_bytes(seed)
}

//! Which accelerator QEMU can really use here: found by booting the kernel with each, with a deadline.

use std::{
    fs::File,
    io::Read as _,
    os::fd::AsFd as _,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use crate::programs::Programs;

/// A kernel without a root panics within 2 s under KVM. `/dev/kvm` may exist and still not run it.
const KVM_DEADLINE: Duration = Duration::from_secs(15);

/// QEMU's accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// Hardware virtualization.
    Kvm,
    /// Software emulation.
    Tcg,
}

impl Accelerator {
    /// QEMU's arguments for it.
    pub fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// Tries KVM by booting `kernel` into the panic of a missing root.
pub fn probe(programs: &Programs, kernel: &Path) -> Result<Accelerator> {
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(Accelerator::Tcg);
    }
    let mut child = programs
        .command("qemu-system-x86_64")
        .args(Accelerator::Kvm.arguments())
        .arg("-L")
        .arg(programs.file("/usr/share/qemu"))
        // QEMU's own firmware that does no more than start a kernel; the SDK has no other for it.
        .args(["-bios", "qboot.rom"])
        .args(["-m", "512", "-display", "none", "-no-reboot", "-nodefaults", "-serial", "stdio", "-append"])
        .args(["console=ttyS0 panic=-1", "-kernel"])
        .arg(kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run QEMU")?;
    let alive = child.stdout.take().is_some_and(|output| panics_in_time(output.into()));
    child.kill().ok();
    child.wait()?;
    Ok(if alive { Accelerator::Kvm } else { Accelerator::Tcg })
}

fn panics_in_time(output: std::os::fd::OwnedFd) -> bool {
    let until = Instant::now() + KVM_DEADLINE;
    let mut output = File::from(output);
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(timeout) = PollTimeout::try_from(left) else { return false };
        let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut ready, timeout), Ok(1..)) {
            return false;
        }
        match output.read(&mut buffer) {
            Ok(length @ 1..) => text.extend_from_slice(&buffer[..length]),
            _ => return false,
        }
        if text.windows(12).any(|window| window == b"Kernel panic") {
            return true;
        }
    }
}

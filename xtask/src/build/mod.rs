//! Everything that a device runs, from source to disk image, and the osctl of this host.

pub mod go;
pub mod image;
pub mod kernel;
pub mod rust;

use std::{
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, bail};
use testbed::{
    accelerator::{self, Accelerator},
    bed::{HostKubernetes, Hostile},
    node::Tools,
    programs::Programs,
};

use crate::{
    cache,
    release::keys,
    report::{Step, say},
    sdk::{self, Sdk},
};

/// Release version of this source tree.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version that is so many minor ones above the source tree's.
pub fn next_version(step: u16) -> Result<String> {
    let mut parts = VERSION.split('.');
    let (major, minor) = (parts.next().context("no major")?, parts.next().context("no minor")?);
    Ok(format!("{major}.{}.0", minor.parse::<u32>()? + u32::from(step)))
}

/// All that is built.
#[derive(Clone, Debug)]
pub struct Built {
    /// SDK.
    pub sdk: Sdk,
    /// Kernel.
    pub kernel: kernel::Kernel,
    /// Bootable image.
    pub image: image::Image,
    /// osctl of this host.
    pub osctl: PathBuf,
}

impl Built {
    /// What it takes to run nodes.
    pub fn tools(&self) -> Result<Tools> {
        let programs = Programs::new(&self.sdk.root);
        let accelerator = accelerator(&programs, &self.kernel)?;
        Ok(Tools { programs, osctl: self.osctl.clone(), accelerator })
    }
}

/// Builds everything, or takes it from the cache.
pub fn all(repository: &Path) -> Result<Built> {
    let sdk = sdk::provide(repository)?;
    let kernel = kernel::provide(repository, &sdk)?;
    // The long link of the daemons leaves a processor idle.
    thread::scope(|scope| {
        let osctl = scope.spawn(|| osctl(repository));
        let image = image::provide(&inputs(repository, &sdk, &kernel)?)?;
        let osctl = osctl.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok(Built { sdk, kernel, image, osctl })
    })
}

/// Builds all that goes into an image of this version, or takes it from the cache. Nodes of the image trust this
/// computer's own keys.
pub fn inputs(repository: &Path, sdk: &Sdk, kernel: &kernel::Kernel) -> Result<image::Inputs> {
    Ok(image::Inputs {
        repository: repository.to_owned(),
        sdk: sdk.clone(),
        kernel: kernel.clone(),
        go: go::provide(repository, sdk)?,
        rust: rust::provide(repository, sdk)?,
        version: VERSION.to_owned(),
        update_root: keys::of_this_computer()?.anchor()?.to_owned(),
        store: cache::scratch("artifacts")?,
    })
}

/// Assembles the image of a node whose apid was taken over, for one test.
pub fn hostile(repository: &Path) -> Result<Hostile> {
    let sdk = sdk::provide(repository)?;
    let kernel = kernel::provide(repository, &sdk)?;
    image::hostile(&inputs(repository, &sdk, &kernel)?, &rust::hostile(repository, &sdk)?)
}

/// Builds Kubernetes' programs and its client for tests.
pub fn host_kubernetes(repository: &Path) -> Result<HostKubernetes> {
    let sdk = sdk::provide(repository)?;
    let kubernetes = go::provide(repository, &sdk)?.kubernetes.join("kubernetes");
    Ok(HostKubernetes { kubectl: go::kubectl(repository, &sdk)?.path.join("kubectl"), kubernetes })
}

/// Builds osctl with the host's cargo.
pub fn osctl(repository: &Path) -> Result<PathBuf> {
    let step = Step::start("osctl", "with your cargo");
    let target = host_target()?;
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--package", "osctl"])
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(repository)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("osctl does not build (see above)");
    }
    step.done();
    Ok(target.join("debug/osctl"))
}

/// Where your cargo builds osctl and the tests: in the cache, so that a fresh clone finds the dependencies built.
pub fn host_target() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => Ok(target.into()),
        None => cache::scratch("target"),
    }
}

/// Tries the accelerator once per boot of the host and kernel.
fn accelerator(programs: &Programs, kernel: &kernel::Kernel) -> Result<Accelerator> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let known = cache::scratch("accelerator")?.join(format!("{}-{}", kernel.key, boot.trim()));
    if let Ok(text) = std::fs::read_to_string(&known) {
        return Ok(serde_json::from_str(&text)?);
    }
    let step = Step::start("accelerator", "trying hardware virtualization, at most 15 s");
    let found = accelerator::probe(programs, &kernel.image)?;
    step.done();
    say(&format!("  accelerator: {found:?}"));
    std::fs::write(known, serde_json::to_string(&found)?)?;
    Ok(found)
}

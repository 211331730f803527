//! `cargo xtask test`: unit tests by your cargo, then the QEMU tests on the built image.

mod parallel;

use std::{fs, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result, bail};
use testbed::bed::{Bed, VARIABLE};

use crate::{
    build::{self, Built, go},
    cache, host, release,
    report::{Step, say, seconds},
    sdk::Sdk,
};

/// Good releases that tests of updates ask for.
const RELEASES: u16 = 2;
/// How long each fuzz target runs.
const FUZZ_SECONDS: &str = "CAIRN_FUZZ_SECONDS";

/// Which tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Every crate's own tests: no QEMU.
    Unit,
    /// The image in QEMU.
    Qemu,
}

/// Runs every test that needs no QEMU, the library of the test bed included.
pub fn unit(repository: &Path, filter: Option<&str>) -> Result<()> {
    host::prepare_tests()?;
    say("unit tests");
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(["test", "--quiet", "--locked"]).args(arguments).args(filter).current_dir(repository);
        command.env(FUZZ_SECONDS, "20");
        command
    };
    run(&mut cargo(&["--workspace", "--exclude", "testbed"]), "unit tests")?;
    // The tests in tests/qemu/tests need the bed that `qemu` prepares.
    run(&mut cargo(&["--package", "testbed", "--lib"]), "unit tests of the test bed")
}

/// Runs what no ordinary run has the time or the rights for.
pub fn long_units(repository: &Path, sdk: &Sdk) -> Result<()> {
    let ignored = |package: &str, filter: &str, arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(["test", "--locked", "--package", package]).args(arguments);
        command.args([filter, "--", "--ignored"]).current_dir(repository);
        command
    };
    let mut fuzz = Command::new("cargo");
    fuzz.args(["test", "--locked", "--package", "config", "--test", "fuzz", "--test", "fuzz_merge"]);
    fuzz.args(["--", "--nocapture"]).env(FUZZ_SECONDS, "3600").current_dir(repository);
    run(&mut fuzz, "an hour of damaged configurations for each target")?;
    let mut fuzz = Command::new("cargo");
    fuzz.args(["test", "--locked", "--package", "logstore", "--test", "fuzz", "--", "--nocapture"]);
    run(fuzz.env(FUZZ_SECONDS, "3600").current_dir(repository), "an hour of damaged segments of logs")?;
    let mut fuzz = Command::new("cargo");
    fuzz.args(["test", "--locked", "--package", "procview", "--test", "fuzz", "--", "--nocapture"]);
    run(fuzz.env(FUZZ_SECONDS, "3600").current_dir(repository), "an hour of strange text of the kernel")?;
    run(&mut ignored("bootstate", "model", &["--release"]), "every state of BOOTSTATE")?;
    run(&mut ignored("generation", "model", &["--release"]), "more states of generations")?;
    run(&mut ignored("machined", "no_flipped_byte_of_many", &[]), "10,000 flipped bytes of a release")?;
    if nix::unistd::geteuid().is_root() {
        let mut networks = Command::new("cargo");
        networks.args(["test", "--locked", "--package", "machined", "every_network_is", "--", "--nocapture"]);
        networks.env("CAIRN_NETWORKS", "200").current_dir(repository);
        run(&mut networks, "200 networks one after the other on this kernel")?;
        let containerd = go::provide(repository, sdk)?.containerd.join("containerd");
        let mut command = ignored("machined", "containerd_takes", &[]);
        return run(command.env("CAIRN_TEST_CONTAINERD", containerd), "import into a real containerd");
    }
    say("networks on this kernel, and the import into a real containerd, need root: left out");
    Ok(())
}

/// Runs the QEMU tests.
pub fn qemu(
    repository: &Path,
    built: &Built,
    filter: Option<&str>,
    long: bool,
    jobs: Option<usize>,
) -> Result<()> {
    say("QEMU tests");
    let started = Instant::now();
    if filter.is_none() {
        // Tests ask for them: made now, they keep no other test waiting.
        build::hostile(repository)?;
        release::fixtures::provide(repository, RELEASES)?;
    }
    let bed = bed(repository, built, "test", long)?;
    let work = &bed.work;
    let path = work.join("bed.json");
    fs::write(&path, serde_json::to_vec_pretty(&bed)?)?;
    let step = Step::start("QEMU tests", "running");
    if let Err(error) = parallel::run(repository, filter, &[(VARIABLE, &path)], work, jobs) {
        bail!("{error}; logs, consoles and QEMU's messages are in {}", work.display());
    }
    step.done();
    say(&format!("QEMU tests passed in {}", seconds(started.elapsed())));
    cache::remove(work)
}

/// What nodes are made of, with an empty folder of this process for them in the cache's `purpose`.
pub fn bed(repository: &Path, built: &Built, purpose: &str, long: bool) -> Result<Bed> {
    let work = cache::scratch(purpose)?.join(std::process::id().to_string());
    cache::remove(&work)?;
    fs::create_dir_all(&work)?;
    let tools = built.tools()?;
    Ok(Bed {
        sdk: built.sdk.root.clone(),
        disk: built.image.disk.clone(),
        test_disk: built.image.test_disk.clone(),
        installer: built.image.installer.clone(),
        root_image: built.image.root.clone(),
        uki: built.image.uki.clone(),
        kernel: built.kernel.image.clone(),
        osctl: built.osctl.clone(),
        xtask: std::env::current_exe()?,
        probe_image: built.image.probe_image.clone(),
        floor_disk: built.image.floor_disk.clone(),
        verify_reader: built.image.verify_reader.clone(),
        work,
        accelerator: tools.accelerator,
        seed: seed(repository)?,
        long,
    })
}

/// `CAIRN_SEED`, else from the commit, so that a run can be repeated and runs of different commits differ.
fn seed(repository: &Path) -> Result<u64> {
    if let Ok(text) = std::env::var("CAIRN_SEED") {
        return text.parse().with_context(|| format!("CAIRN_SEED={text} is no number"));
    }
    let output =
        Command::new("git").args(["rev-parse", "--short=15", "HEAD"]).current_dir(repository).output()?;
    let commit = String::from_utf8_lossy(&output.stdout);
    Ok(u64::from_str_radix(commit.trim(), 16).unwrap_or(1))
}

fn run(command: &mut Command, what: &str) -> Result<()> {
    command.env("CARGO_TARGET_DIR", build::host_target()?);
    let step = Step::start(what, "running");
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("{what} failed");
    }
    step.done();
    Ok(())
}

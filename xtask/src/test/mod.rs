//! `cargo xtask test`: unit tests by your cargo, then the QEMU tests on the built image.

mod parallel;

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use testbed::bed::{Bed, VARIABLE};

use crate::{
    build::{self, Built, go},
    cache, host, release,
    report::{Step, say, seconds},
    reproduce,
    sdk::{self, Sdk},
};

/// Good releases that tests of updates ask for.
const RELEASES: u16 = 2;
/// After how many minutes continuous integration (`CI=true`) begins no further QEMU test: a processor that is half as
/// fast as usual must not make it miss its own limit.
const CI_MINUTES: u64 = 60;
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

/// What is tested, and within which limits.
#[derive(clap::Args)]
pub struct Options {
    kind: Option<Kind>,
    filter: Option<String>,
    /// The long forms, whose figures stand in docs/MEASURED.md
    #[arg(long)]
    long: bool,
    /// QEMU tests at a time [default: as many as processors, as far as memory reaches]
    #[arg(long)]
    jobs: Option<usize>,
    /// Minutes after which no further QEMU test is begun: the rest is named, and comes first the next time
    /// [default: no limit; with CI=true 60]
    #[arg(long, value_name = "MINUTES")]
    within: Option<u64>,
}

impl Options {
    fn deadline(&self) -> Option<Instant> {
        let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        let minutes = self.within.or(in_ci.then_some(CI_MINUTES))?;
        Instant::now().checked_add(Duration::from_secs(60 * minutes))
    }
}

/// Runs the tests.
pub fn run(repository: &Path, options: &Options) -> Result<()> {
    let deadline = options.deadline();
    let filter = options.filter.as_deref();
    host::prepare_tests()?;
    if options.kind != Some(Kind::Qemu) {
        unit(repository, filter)?;
        if options.long && filter.is_none() {
            long_units(repository, &sdk::provide(repository)?)?;
        }
    }
    if options.kind != Some(Kind::Unit) {
        let built = build::all(repository)?;
        if filter.is_none() {
            reproduce::assembly(repository, &built)?;
        }
        if filter.is_none() && options.long {
            reproduce::everything(&built)?;
        }
        qemu(repository, &built, options, deadline)?;
    }
    Ok(())
}

/// Runs every test that needs no QEMU, the library of the test bed included.
fn unit(repository: &Path, filter: Option<&str>) -> Result<()> {
    say("unit tests");
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(["test", "--quiet", "--locked"]).args(arguments).args(filter).current_dir(repository);
        command.env(FUZZ_SECONDS, "20");
        command
    };
    finish(&mut cargo(&["--workspace", "--exclude", "testbed"]), "unit tests")?;
    // The tests in tests/qemu/tests need the bed that `qemu` prepares.
    finish(&mut cargo(&["--package", "testbed", "--lib"]), "unit tests of the test bed")
}

/// Runs what no ordinary run has the time or the rights for.
fn long_units(repository: &Path, sdk: &Sdk) -> Result<()> {
    let ignored = |package: &str, filter: &str, arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(["test", "--locked", "--package", package]).args(arguments);
        command.args([filter, "--", "--ignored"]).current_dir(repository);
        command
    };
    let mut fuzz = Command::new("cargo");
    fuzz.args(["test", "--locked", "--package", "config", "--test", "fuzz", "--test", "fuzz_merge"]);
    fuzz.args(["--", "--nocapture"]).env(FUZZ_SECONDS, "3600").current_dir(repository);
    finish(&mut fuzz, "an hour of damaged configurations for each target")?;
    let mut fuzz = Command::new("cargo");
    fuzz.args(["test", "--locked", "--package", "logstore", "--test", "fuzz", "--", "--nocapture"]);
    finish(fuzz.env(FUZZ_SECONDS, "3600").current_dir(repository), "an hour of damaged segments of logs")?;
    let mut fuzz = Command::new("cargo");
    fuzz.args(["test", "--locked", "--package", "procview", "--test", "fuzz", "--", "--nocapture"]);
    finish(fuzz.env(FUZZ_SECONDS, "3600").current_dir(repository), "an hour of strange text of the kernel")?;
    finish(&mut ignored("bootstate", "model", &["--release"]), "every state of BOOTSTATE")?;
    finish(&mut ignored("generation", "model", &["--release"]), "more states of generations")?;
    finish(&mut ignored("machined", "no_flipped_byte_of_many", &[]), "10,000 flipped bytes of a release")?;
    if nix::unistd::geteuid().is_root() {
        let mut networks = Command::new("cargo");
        networks.args(["test", "--locked", "--package", "machined", "every_network_is", "--", "--nocapture"]);
        networks.env("CAIRN_NETWORKS", "200").current_dir(repository);
        finish(&mut networks, "200 networks one after the other on this kernel")?;
        let containerd = go::provide(repository, sdk)?.containerd.join("containerd");
        let mut command = ignored("machined", "containerd_takes", &[]);
        return finish(command.env("CAIRN_TEST_CONTAINERD", containerd), "import into a real containerd");
    }
    say("networks on this kernel, and the import into a real containerd, need root: left out");
    Ok(())
}

/// Runs the QEMU tests.
fn qemu(repository: &Path, built: &Built, options: &Options, deadline: Option<Instant>) -> Result<()> {
    say("QEMU tests");
    let started = Instant::now();
    let filter = options.filter.as_deref();
    if filter.is_none() {
        // Tests ask for them: made now, they keep no other test waiting.
        build::hostile(repository)?;
        build::host_kubernetes(repository)?;
        release::fixtures::provide(repository, RELEASES)?;
    }
    let bed = bed(repository, built, "test", options.long)?;
    let work = &bed.work;
    let path = work.join("bed.json");
    fs::write(&path, serde_json::to_vec_pretty(&bed)?)?;
    let step = Step::start("QEMU tests", "running");
    let limits = parallel::Limits { jobs: options.jobs, deadline };
    if let Err(error) = parallel::run(repository, filter, &[(VARIABLE, &path)], work, &limits) {
        bail!("{error}; logs, consoles and QEMU's messages are in {}", work.display());
    }
    step.done();
    say(&format!("QEMU tests took {}", seconds(started.elapsed())));
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

fn finish(command: &mut Command, what: &str) -> Result<()> {
    command.env("CARGO_TARGET_DIR", build::host_target()?);
    let step = Step::start(what, "running");
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("{what} failed");
    }
    step.done();
    Ok(())
}

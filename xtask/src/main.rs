//! `cargo xtask`: builds, runs, tests and measures Cairn. Nothing of this runs on a node.
//!
//! Every expensive output is an artifact in `$XDG_CACHE_HOME/cairn`, keyed by its inputs (`cache`). What runs on a
//! device is built inside the SDK (`sdk`), what runs on a laptop by your own cargo. Start reading at `build`.

mod bench;
mod build;
mod cache;
mod crash;
mod host;
mod nodes;
mod quality;
mod release;
mod release_image;
mod report;
mod reproduce;
mod sdk;
mod test;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, run, test and measure Cairn OS")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything, boot a node in QEMU and wait until its pod answers
    Up {
        /// Name of the node: hostname and osctl context
        #[arg(long, default_value = NODE)]
        name: String,
        /// Begin with an empty disk and new secrets
        #[arg(long)]
        fresh: bool,
    },
    /// End a node's machine; its disk stays
    Down {
        #[arg(long, default_value = NODE)]
        name: String,
    },
    /// Where everything of a node is
    Status {
        #[arg(long, default_value = NODE)]
        name: String,
        #[arg(short, long, default_value = "text", value_parser = ["text", "json"])]
        output: String,
    },
    /// Show a node's console
    Console {
        #[arg(long, default_value = NODE)]
        name: String,
    },
    /// Run osctl against a node: cargo xtask osctl -- health
    Osctl {
        #[arg(long, default_value = NODE)]
        name: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the tests: all, or `unit` or `qemu`, optionally only those whose name contains FILTER
    Test(test::Options),
    /// Measure boots, memory, sizes and writes; fails only where a limit of docs/SPECIFICATION.md is broken
    Bench(bench::Options),
    /// Judge every disk state that a power cut could have left, and boot some (docs/crash-replay.md)
    Crash(crash::Options),
    /// Measure what an update costs to fetch, against other methods
    BenchDelta(bench::delta::Options),
    /// Write what is published of the disk image: raw, packed, checksums, signature
    Image {
        /// Folder
        #[arg(short, long, default_value = "target/image")]
        output: PathBuf,
        /// Ed25519 key in PEM that signs the checksums (default: one of this computer's own, made once)
        #[arg(long)]
        sign_key: Option<PathBuf>,
        /// Folder of the keys whose releases its nodes take (default: this computer's own)
        #[arg(long)]
        keys: Option<PathBuf>,
    },
    /// Build a release and add it to a repository that nodes update from
    Release(release::Options),
    /// Make the keys of a release repository
    ReleaseKeys(release::keys::Options),
    /// Formatting, lints, documentation, kernel fragments, dependencies
    Check,
    /// Print where an artifact lies, building it first when needed
    Artifact {
        #[arg(value_enum)]
        name: ArtifactName,
    },
    /// Renew the lock of Debian packages (image/debian.lock)
    Lock,
    /// Releases, for a test that asks for them
    #[command(hide = true)]
    TestReleases { good: u16 },
    /// The image whose apid was taken over, for a test that asks for it
    #[command(hide = true)]
    TestHostile,
    /// Kubernetes' programs for this host, for a test that asks for them
    #[command(hide = true)]
    TestKubernetes,
    #[command(hide = true)]
    SdkExec { spec: String },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ArtifactName {
    Sdk,
    Kernel,
    KernelConfig,
    Kubernetes,
    Containerd,
    Cni,
    Selector,
    Root,
    Uki,
    Disk,
    TestDisk,
    Osctl,
}

const NODE: &str = "dev";

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain of causes; a backtrace of the build tool helps nobody.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let repository = repository()?;
    match task {
        Task::SdkExec { spec } => sdk::exec::enter(&spec),
        Task::TestReleases { good } => print(&release::fixtures::provide(repository, good)?),
        Task::TestKubernetes => print(&build::host_kubernetes(repository)?),
        Task::TestHostile => print(&build::hostile(repository)?),
        Task::Lock => sdk::relock(repository),
        Task::Up { name, fresh } => nodes::up(&build::all(repository)?, &name, fresh),
        Task::Down { name } => nodes::down(&name),
        Task::Status { name, output } => nodes::status(&name, output == "json"),
        Task::Console { name } => nodes::console(&name),
        Task::Osctl { name, arguments } => nodes::osctl(&build::osctl(repository)?, &name, &arguments),
        Task::Test(options) => test::run(repository, &options),
        Task::Bench(options) => bench::run(repository, &build::all(repository)?, &options),
        Task::Crash(options) => crash::run(repository, &build::all(repository)?, &options),
        Task::BenchDelta(options) => bench::delta::run(repository, &options),
        Task::Image { output, sign_key, keys } => {
            release_image::write(repository, &output, sign_key.as_deref(), keys.as_deref())
        }
        Task::Release(options) => release::run(repository, &options),
        Task::ReleaseKeys(options) => release::keys::write(&options),
        Task::Check => quality::check(repository, &sdk::provide(repository)?),
        Task::Artifact { name } => artifact(repository, name),
    }
}

/// For [`testbed::bed::Bed`], which asks for it.
fn print(made: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(made)?);
    Ok(())
}

fn repository() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no repository")
}

fn artifact(repository: &Path, name: ArtifactName) -> Result<()> {
    let sdk = || sdk::provide(repository);
    let path: PathBuf = match name {
        ArtifactName::Sdk => sdk()?.root,
        ArtifactName::Kernel => build::kernel::provide(repository, &sdk()?)?.image,
        ArtifactName::KernelConfig => build::kernel::provide(repository, &sdk()?)?.config,
        ArtifactName::Kubernetes => build::go::provide(repository, &sdk()?)?.kubernetes,
        ArtifactName::Containerd => build::go::provide(repository, &sdk()?)?.containerd,
        ArtifactName::Cni => build::go::provide(repository, &sdk()?)?.cni,
        ArtifactName::Selector => build::rust::provide(repository, &sdk()?)?.selector.path,
        ArtifactName::Osctl => build::osctl(repository)?,
        ArtifactName::Root => build::all(repository)?.image.root,
        ArtifactName::Uki => build::all(repository)?.image.uki,
        ArtifactName::Disk => build::all(repository)?.image.disk,
        ArtifactName::TestDisk => build::all(repository)?.image.test_disk,
    };
    println!("{}", path.display());
    Ok(())
}

//! `cargo xtask`: builds, runs, tests and measures Cairn. Nothing of this runs on a node.
//!
//! Every expensive output is an artifact in `$XDG_CACHE_HOME/cairn`, keyed by its inputs (`cache`). What runs on a
//! device is built inside the SDK (`sdk`), what runs on a laptop by your own cargo. Start reading at `build`.

mod build;
mod cache;
mod host;
mod report;
mod sdk;

use std::path::{Path, PathBuf};

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
    /// Print where an artifact lies, building it first when needed
    Artifact {
        /// sdk, kernel, kubernetes, containerd, cni, selector, statics, daemons
        name: String,
    },
    /// Renew the lock of Debian packages (image/debian.lock)
    Lock,
    #[command(hide = true)]
    SdkExec { spec: String },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Task::SdkExec { spec } => sdk::exec::enter(&spec),
        Task::Lock => sdk::relock(repository()?),
        Task::Artifact { name } => artifact(&name),
    }
}

fn repository() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no repository")
}

fn artifact(name: &str) -> Result<()> {
    let repository = repository()?;
    let sdk = sdk::provide(repository)?;
    let path: PathBuf = match name {
        "sdk" => sdk.root,
        "kernel" => build::kernel::provide(repository, &sdk)?.image,
        "kubernetes" => build::go::provide(repository, &sdk)?.kubernetes,
        "containerd" => build::go::provide(repository, &sdk)?.containerd,
        "cni" => build::go::provide(repository, &sdk)?.cni,
        "selector" => build::rust::provide(repository, &sdk)?.selector.path,
        "statics" => build::rust::provide(repository, &sdk)?.statics.path,
        "daemons" => build::rust::provide(repository, &sdk)?.daemons.path,
        other => anyhow::bail!("no artifact named {other:?}"),
    };
    println!("{}", path.display());
    Ok(())
}

//! Commands on the releases of a node.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::configuration;

const UPGRADE_EXAMPLES: &str = "\
Examples:
  osctl upgrade --release ./release --wait         from a folder on this computer
  osctl upgrade --url https://updates.example.org/cairn --version 1.4.0
  osctl upgrade --volume CAIRNRELEASE --stage      from a USB stick in the node; at its next reboot
  osctl upgrade                                    from the sources that its configuration names
  osctl upgrade status --watch

A release that does not prove healthy in time is taken back by the node itself; with --wait that is exit code 7.";

const ROLLBACK_EXAMPLES: &str = "\
Examples:
  osctl rollback --wait           to the release in the other slot (see `osctl slots`)
  osctl rollback config --to 3    to an earlier machine configuration";

/// Arguments of `upgrade`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = UPGRADE_EXAMPLES)]
pub struct Upgrade {
    /// What to do about an upgrade that goes on.
    #[command(subcommand)]
    pub action: Option<UpgradeCommand>,
    /// The one to begin.
    #[command(flatten)]
    pub begin: Begin,
}

impl Upgrade {
    /// Whether it ends only when the user wants.
    pub fn watches(&self) -> bool {
        matches!(self.action, Some(UpgradeCommand::Status { watch: true }))
    }
}

/// Commands on an upgrade that goes on.
#[derive(Clone, Debug, Subcommand)]
pub enum UpgradeCommand {
    /// Show what goes on, how the last one ended, and what the node waits for
    Status {
        /// Keep showing changes
        #[arg(short, long)]
        watch: bool,
    },
    /// End an upgrade whose release does not run yet
    Cancel,
}

/// Which release to install, and how.
#[derive(Clone, Debug, Args)]
pub struct Begin {
    /// Release repository on this computer: the folder that `cargo xtask release -o` wrote
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "volume"])]
    pub release: Option<PathBuf>,
    /// Release repository that the node fetches from itself: an http:// or https:// URL
    #[arg(long, value_name = "URL", conflicts_with = "volume")]
    pub url: Option<String>,
    /// Release repository on a volume in the node, such as a USB stick, by its label
    #[arg(long, value_name = "LABEL")]
    pub volume: Option<String>,
    /// Release (default: the newest of the node's Kubernetes minor version)
    #[arg(long, value_name = "X.Y.Z")]
    pub version: Option<String>,
    /// Let the next reboot start it, whenever that is
    #[arg(long, conflicts_with = "wait")]
    pub stage: bool,
    /// Only write it into its slot; `osctl upgrade` again then needs no download
    #[arg(long, conflicts_with_all = ["wait", "stage"])]
    pub no_reboot: bool,
    /// Wait until the release has proved healthy, or the node went back
    #[arg(long)]
    pub wait: bool,
    /// Also install an older release than the one that runs
    #[arg(long)]
    pub allow_downgrade: bool,
    /// Also install a release that failed on this node before
    #[arg(long)]
    pub retry_failed: bool,
    /// Also accept metadata that has expired
    #[arg(long)]
    pub allow_expired: bool,
    /// Also install a release with another minor version of Kubernetes
    #[arg(long)]
    pub allow_kubernetes_minor: bool,
}

/// Arguments of `rollback`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = ROLLBACK_EXAMPLES)]
pub struct Rollback {
    /// What else to roll back.
    #[command(subcommand)]
    pub subject: Option<RollbackCommand>,
    /// Wait until the node runs the other release and that has proved healthy
    #[arg(long)]
    pub wait: bool,
}

/// What `rollback` can return besides the release.
#[derive(Clone, Debug, Subcommand)]
pub enum RollbackCommand {
    /// Return to an earlier machine configuration
    Config(configuration::Rollback),
}

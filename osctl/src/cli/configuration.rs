//! Commands on the machine configuration of a node.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use pairing::{Code, Fingerprint, Url};
use pki::SubjectName;

use super::{fingerprint, subject};
use crate::duration;
use crate::failure::chain;

/// What a command changes or shows; leaves room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// The machine configuration
    Config,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Now, rebooting if needed; what could cut you off must be confirmed, which osctl does by connecting anew
    Auto,
    /// At the next boot
    Staged,
    /// Now, and taken back unless `osctl confirm-config` comes in time
    Try,
    /// Now; refused when it would need a reboot
    NoReboot,
}

/// How a change is made.
#[derive(Clone, Copy, Debug, Args)]
pub struct How {
    /// When it takes effect
    #[arg(long, value_enum, default_value = "auto")]
    pub mode: Mode,
    /// Show the differences and what would restart or reboot; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long the node waits for a confirmation before it takes the change back
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration::parse)]
    pub confirm_within: Duration,
    /// Keep the change although a gateway, name server or mirror that it names does not answer
    #[arg(long)]
    pub accept_unreachable: bool,
}

/// Arguments of `apply-config`.
#[derive(Clone, Debug, Args)]
pub struct ApplyConfig {
    /// Machine configuration; "-" reads standard input
    #[arg(short, long = "file", value_name = "FILE")]
    pub file: PathBuf,
    /// How.
    #[command(flatten)]
    pub how: How,
    /// To a node without one.
    #[command(flatten)]
    pub first: First,
}

/// How a node gets its first configuration.
#[derive(Clone, Debug, Args)]
pub struct First {
    /// To a node that has no configuration yet; it is adopted in the same step
    #[arg(long, requires = "secrets", conflicts_with_all = ["mode", "dry_run", "confirm_within", "accept_unreachable"])]
    pub insecure: bool,
    /// With --insecure: secrets bundle whose CA the configuration names
    #[arg(long, value_name = "FILE", requires = "insecure")]
    pub secrets: Option<PathBuf>,
    /// With --insecure: pairing code that the node's console shows
    #[arg(long, value_name = "XXXX-XXXX-XXXX", requires = "insecure", value_parser = code)]
    pub code: Option<Code>,
    /// With --insecure: fingerprint that the node's console shows: 64 hexadecimal digits or 16 words
    #[arg(long, value_name = "HEX|WORDS", requires = "insecure", value_parser = fingerprint)]
    pub fingerprint: Option<Fingerprint>,
    /// With --insecure: URL in the QR code on the node's console: address, fingerprint and pairing code in one
    #[arg(long, value_name = "URL", requires = "insecure", conflicts_with_all = ["code", "fingerprint"], value_parser = url)]
    pub url: Option<Url>,
    /// With --insecure: how long the admin certificate of the new context is valid
    #[arg(long, value_name = "DURATION", default_value = "365d", requires = "insecure", value_parser = duration::parse)]
    pub ttl: Duration,
    /// With --insecure: name in the admin certificate of the new context
    #[arg(long, default_value = "admin", requires = "insecure", value_parser = subject)]
    pub name: SubjectName,
}

fn code(text: &str) -> Result<Code, String> {
    Code::parse(text).map_err(|error| error.to_string())
}

fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| chain(&error))
}

/// Arguments of `patch`.
#[derive(Clone, Debug, Args)]
pub struct Patch {
    /// What to patch
    pub subject: Subject,
    /// Documents to merge (YAML): lists merge by their keys, `$patch: delete` removes. "-" reads standard input
    #[arg(short, long = "file", value_name = "FILE", required_unless_present = "json")]
    pub file: Option<PathBuf>,
    /// JSON patch (RFC 6902); the first step of a path is the document, such as /Machine/hostname
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub json: Option<PathBuf>,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// Arguments of `edit`.
#[derive(Clone, Debug, Args)]
pub struct Edit {
    /// What to edit
    pub subject: Subject,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// Arguments of `diff`.
#[derive(Clone, Debug, Args)]
pub struct Diff {
    /// What to compare
    pub subject: Subject,
    /// Configuration to compare with the one that runs
    #[arg(short, long = "file", value_name = "FILE", required_unless_present = "generation")]
    pub file: Option<PathBuf>,
    /// Generation to compare with the one that runs
    #[arg(long, value_name = "N", conflicts_with = "file")]
    pub generation: Option<u64>,
}

/// Arguments of `rollback config`.
#[derive(Clone, Debug, Args)]
pub struct Rollback {
    /// Generation to return to (default: the one before); `osctl get generations` lists them
    #[arg(long, value_name = "N")]
    pub to: Option<u64>,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// Arguments of `reset`.
#[derive(Clone, Debug, Args)]
pub struct Reset {
    /// Also wipe all data: images, containers, volumes of pods
    #[arg(long)]
    pub wipe_data: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

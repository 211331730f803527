//! `cargo xtask release`: what nodes update from, as static files.

mod bill;
pub mod fixtures;
pub mod keys;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use bootstate::ReleaseVersion;
use jiff::{SignedDuration, Timestamp};
use release::{
    channels::Changes,
    files::Release,
    keys::Keys,
    repository::{self, Contents, Validity},
};
use update::{ChannelRelease, KubernetesVersion};

use crate::{
    build::{
        self, go,
        image::{Inputs, SlotFiles, slot_files},
    },
    report::{Step, say},
    sdk,
};

/// Options of `cargo xtask release`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Version to build and add; without one only channels change and the metadata are signed anew
    #[arg(long, value_parser = parse_version)]
    version: Option<ReleaseVersion>,
    /// Folder of the repository; what it holds already stays
    #[arg(short, long)]
    output: PathBuf,
    /// Folder with the keys (default: this computer's own, which only images built here trust)
    #[arg(long)]
    keys: Option<PathBuf>,
    /// Channel that gets the release, such as stable-k1.37
    #[arg(long = "channel", requires = "version")]
    channels: Vec<String>,
    /// When the first node of the channels may have it (RFC 3339) [default: at once]
    #[arg(long, requires = "channels")]
    begin: Option<Timestamp>,
    /// How long after that the last one may, such as 48h
    #[arg(long, requires = "channels", default_value = "0s")]
    spread: SignedDuration,
    /// No node begins with it for the time being; without this option a paused release goes on
    #[arg(long, requires = "channels")]
    paused: bool,
    /// Version that no node begins with any more
    #[arg(long = "poison", value_parser = parse_version)]
    poisoned: Vec<ReleaseVersion>,
    /// Nodes that have confirmed the release refuse versions below this
    #[arg(long, requires = "version", value_parser = parse_version)]
    rollback_floor: Option<ReleaseVersion>,
    /// Days until nodes take the repository for frozen, if it is not signed anew
    #[arg(long, default_value_t = 30)]
    timestamp_days: u16,
    /// Days that the list of metadata is valid
    #[arg(long, default_value_t = 90)]
    snapshot_days: u16,
    /// Days that the list of releases is valid
    #[arg(long, default_value_t = 365)]
    targets_days: u16,
}

/// Adds to a repository, and verifies it as a node would.
pub fn run(repository: &Path, options: &Options) -> Result<()> {
    let keys = keys::choose(options.keys.as_deref())?;
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    let validity = Validity {
        timestamp: days(options.timestamp_days),
        snapshot: days(options.snapshot_days),
        targets: days(options.targets_days),
    };
    let changes = changes(options, now)?;
    let publish = |releases: &[Release<'_>]| {
        repository::publish(&options.output, &keys, releases, &changes, validity, now)
    };
    match options.version {
        Some(version) => {
            let built = Built::new(&inputs(repository, &keys, version)?, created_s(repository))?;
            publish(&[built.release(version, options.rollback_floor)?])?;
        }
        None => publish(&[])?,
    }
    let step = Step::start("verify", "as a node would, and every file of every release");
    let contents = repository::verify(&options.output, keys.anchor()?.as_bytes(), now)?;
    step.done();
    describe(&options.output, &contents, options.version)
}

fn inputs(repository: &Path, keys: &Keys, version: ReleaseVersion) -> Result<Inputs> {
    let sdk = sdk::provide(repository)?;
    let kernel = build::kernel::provide(repository, &sdk)?;
    Ok(Inputs {
        version: version.as_str().to_owned(),
        update_root: keys.anchor()?.to_owned(),
        ..build::inputs(repository, &sdk, &kernel)?
    })
}

/// A release's parts, built.
pub struct Built {
    /// Images.
    pub files: SlotFiles,
    sbom: Vec<u8>,
    kernel: String,
    created_s: u64,
}

impl Built {
    /// Assembles the version that the inputs name.
    pub fn new(inputs: &Inputs, created_s: u64) -> Result<Self> {
        let files = slot_files(inputs)?;
        let sbom = bill::collect(inputs, &files, created_s)?.document()?;
        Ok(Self { files, sbom, kernel: inputs.kernel.release.clone(), created_s })
    }

    /// As the repository takes it.
    pub fn release(&self, version: ReleaseVersion, floor: Option<ReleaseVersion>) -> Result<Release<'_>> {
        Ok(Release {
            version,
            kubernetes: KubernetesVersion::new(go::KUBERNETES_VERSION).context("no version of Kubernetes")?,
            kernel: &self.kernel,
            created_s: self.created_s,
            time_floor_s: image::root::TIME_FLOOR_S,
            rollback_floor: floor.unwrap_or(ReleaseVersion::UNKNOWN),
            root: &self.files.root,
            facts: &self.files.facts,
            a: &self.files.a,
            b: &self.files.b,
            sbom: &self.sbom,
        })
    }
}

fn changes(options: &Options, now: Timestamp) -> Result<Changes> {
    let mut changes = Changes { scheduled: Vec::new(), poisoned: options.poisoned.clone() };
    if let Some(version) = options.version {
        let release = ChannelRelease {
            version,
            begin_s: u64::try_from(options.begin.unwrap_or(now).as_second())
                .context("--begin is before 1970")?,
            spread_s: u64::try_from(options.spread.as_secs()).context("--spread is negative")?,
            paused: options.paused,
            poisoned: false,
        };
        changes.scheduled = options.channels.iter().map(|name| (name.clone(), release.clone())).collect();
    }
    Ok(changes)
}

/// When the sources were committed: the same sources make the same release.
fn created_s(repository: &Path) -> u64 {
    let output =
        Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(repository).output().ok();
    let committed = output.and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse().ok());
    committed.unwrap_or(image::root::TIME_FLOOR_S)
}

fn describe(folder: &Path, contents: &Contents, version: Option<ReleaseVersion>) -> Result<()> {
    say(&format!("{}: metadata valid until {}", folder.display(), contents.expires));
    for manifest in &contents.releases {
        say(&format!("  release {} with Kubernetes {}", manifest.version, manifest.kubernetes));
    }
    for channel in &contents.channels {
        let versions: Vec<_> = channel.releases.iter().map(told).collect();
        say(&format!("  channel {}: {}", channel.name, versions.join(", ")));
    }
    let Some(version) = version else { return Ok(()) };
    let files = folder.join("targets/releases").join(version.as_str());
    say(&format!("{}:", files.display()));
    for file in crate::cache::files_below(&files)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        say(&format!("  {:>11} bytes  {name}", fs::metadata(&file)?.len()));
    }
    Ok(())
}

fn told(release: &ChannelRelease) -> String {
    let state = match release {
        ChannelRelease { poisoned: true, .. } => " (poisoned)",
        ChannelRelease { paused: true, .. } => " (paused)",
        _ => "",
    };
    format!("{}{state}", release.version)
}

fn days(days: u16) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(days))
}

fn parse_version(text: &str) -> Result<ReleaseVersion, bootstate::VersionError> {
    ReleaseVersion::new(text)
}

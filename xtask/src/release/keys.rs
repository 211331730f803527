//! Where the keys of releases come from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use release::keys::Keys;

use crate::{cache, report::say};

/// Where a computer's own keys lie in the cache.
const OWN: &str = "release/keys";
/// A node that was off for years must still find its way; whoever loses the keys has no nodes left to lose.
const DEFAULT_ROOT_YEARS: u32 = 20;

/// Options of `cargo xtask release-keys`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Folder; what it lacks is made
    folder: PathBuf,
    /// How long the list of keys is valid
    #[arg(long, default_value_t = DEFAULT_ROOT_YEARS, value_parser = clap::value_parser!(u32).range(1..=100))]
    root_years: u32,
    /// Folder of keys that these replace: nodes that trust them will trust these
    #[arg(long)]
    replacing: Option<PathBuf>,
}

/// Makes a folder of keys.
pub fn write(options: &Options) -> Result<()> {
    let Options { folder, root_years, replacing } = options;
    let expires = after_years(*root_years)?;
    match replacing {
        Some(old) => Keys::open(old)?.replace(folder, expires)?,
        None => Keys::make(folder, expires)?,
    };
    say(&format!("{}: keys of a release repository", folder.display()));
    say("  root.pem is needed for the next change of keys only: keep it off this computer.");
    say(
        "  Images made with `cargo xtask image --keys` take releases made with `cargo xtask release --keys`.",
    );
    Ok(())
}

/// The keys in a folder; without one this computer's own.
pub fn choose(folder: Option<&Path>) -> Result<Keys> {
    if let Some(folder) = folder {
        return Keys::open(folder);
    }
    say("  no --keys: signing with keys of this computer's cache, which only images built here trust");
    of_this_computer()
}

/// Keys in the cache, made once. They vouch for nothing but that a release comes from this computer.
pub fn of_this_computer() -> Result<Keys> {
    let folder = cache::scratch(OWN)?;
    let _lock = cache::lock(&folder.join(".lock"), "release keys")?;
    Keys::make(&folder, after_years(DEFAULT_ROOT_YEARS)?)
}

/// Gives another cache this computer's keys, below `$XDG_CACHE_HOME`.
pub fn copy_to(cache_home: &Path) -> Result<()> {
    of_this_computer()?;
    let target = cache_home.join("cairn").join(OWN);
    fs::create_dir_all(&target)?;
    for file in cache::files_below(&cache::scratch(OWN)?)? {
        fs::copy(&file, target.join(file.file_name().context("key without a name")?))?;
    }
    Ok(())
}

fn after_years(years: u32) -> Result<Timestamp> {
    let hours = i64::from(years) * 365 * 24;
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    Ok(now.checked_add(SignedDuration::from_hours(hours))?)
}

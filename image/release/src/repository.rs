//! A repository's folder and its signed metadata (The Update Framework 1.0, no consistent snapshots, no delegations).
//!
//! It is changed in such an order that whoever reads meanwhile sees the old state or the new one, or metadata that do
//! not fit together and that he refuses: new files, then metadata, `timestamp.json` very last.

use std::{
    fs::{self, File},
    io::Write as _,
    num::NonZeroU64,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use tough::{
    ExpirationEnforcement, IntoVec as _, RepositoryLoader, TargetName,
    editor::RepositoryEditor,
    schema::{Role, Target},
};
use update::{Channel, Manifest};
use url::Url;

use crate::{
    channels::{self, Changes},
    files::{self, MANIFEST, Release},
    keys::Keys,
};

const METADATA: &str = "metadata";
const TARGETS: &str = "targets";
const RELEASES: &str = "releases";
const CHANNELS: &str = "channels";

/// How long metadata are valid from when they are signed.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// Of `timestamp.json`: after so long without a signature nodes take the repository for frozen.
    pub timestamp: SignedDuration,
    /// Of `snapshot.json`.
    pub snapshot: SignedDuration,
    /// Of `targets.json`.
    pub targets: SignedDuration,
}

/// What a repository offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Releases.
    pub releases: Vec<Manifest>,
    /// Channels.
    pub channels: Vec<Channel>,
    /// When the first of its metadata expires.
    pub expires: Timestamp,
}

/// Adds releases, changes channels and signs anew; makes the repository when the folder is empty.
pub fn publish(
    folder: &Path,
    keys: &Keys,
    releases: &[Release<'_>],
    changes: &Changes,
    validity: Validity,
    now: Timestamp,
) -> Result<()> {
    fs::create_dir_all(folder.join(METADATA))
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = File::create(folder.join(METADATA).join(".lock"))?;
    lock.lock().context("cannot lock the repository")?;
    block_on(async {
        // First of all: who has other keys changes nothing.
        let existing = match folder.join(METADATA).join("timestamp.json").exists() {
            true => Some(load(folder, oldest(keys)?, None).await?),
            false => None,
        };
        let known = match &existing {
            Some(repository) => read_channels(repository).await?,
            None => Vec::new(),
        };
        let channels = channels::apply(known, changes)?;
        let mut new_targets = Vec::new();
        for release in releases {
            add_release(&folder.join(TARGETS).join(RELEASES), release)?;
            new_targets.push(format!("{RELEASES}/{}/{MANIFEST}", release.version));
        }
        for channel in channels {
            let path = folder.join(TARGETS).join(CHANNELS);
            fs::create_dir_all(&path)?;
            put(&path, &format!("{}.json", channel.name), &serde_json::to_vec_pretty(&channel)?)?;
            new_targets.push(format!("{CHANNELS}/{}.json", channel.name));
        }
        sign(folder, keys, existing, &new_targets, validity, now).await
    })
}

/// Loads a repository as a node would that trusts `root`, and checks every file of every release.
pub fn verify(folder: &Path, root: &[u8], now: Timestamp) -> Result<Contents> {
    block_on(async {
        let repository = load(folder, root, Some(now)).await?;
        let mut releases = Vec::new();
        for name in names_below(&repository, RELEASES) {
            let manifest = Manifest::parse(&read(&repository, &name).await?)?;
            let files = folder.join(TARGETS).join(RELEASES).join(manifest.version.as_str());
            ensure!(
                name.raw() == format!("{RELEASES}/{}/{MANIFEST}", manifest.version),
                "{} is misplaced",
                name.raw()
            );
            files::check(&files, &manifest).with_context(|| format!("release {}", manifest.version))?;
            releases.push(manifest);
        }
        releases.sort_by(|a, b| a.version.precedence(&b.version));
        let metadata = [
            repository.timestamp().signed.expires(),
            repository.snapshot().signed.expires(),
            repository.targets().signed.expires(),
            repository.root().signed.expires(),
        ];
        let expires = metadata.into_iter().min().context("no metadata")?;
        Ok(Contents { releases, channels: read_channels(&repository).await?, expires })
    })
}

/// Writes a release's files, whole or not at all. A version that is there must be the same.
fn add_release(releases: &Path, release: &Release<'_>) -> Result<()> {
    let path = releases.join(release.version.as_str());
    let temporary = releases.join(format!(".{}.tmp", release.version));
    if temporary.exists() {
        fs::remove_dir_all(&temporary)?;
    }
    fs::create_dir_all(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;
    release.write(&temporary).with_context(|| format!("release {}", release.version))?;
    if path.exists() {
        let read =
            |folder: &Path| Ok::<_, anyhow::Error>(Manifest::parse(&fs::read(folder.join(MANIFEST))?)?);
        let (known, new) = (read(&path)?, read(&temporary)?);
        fs::remove_dir_all(&temporary)?;
        // The manifest holds all else by its digest; what is only told about the release may be told anew, and is not.
        if (Manifest { created_s: known.created_s, sbom: known.sbom.clone(), ..new }) != known {
            bail!("release {} is there already with other content: a release never changes", release.version);
        }
        return Ok(());
    }
    for file in fs::read_dir(&temporary)? {
        File::open(file?.path())?.sync_all()?;
    }
    fs::rename(&temporary, &path)?;
    Ok(File::open(releases)?.sync_all()?)
}

async fn load(folder: &Path, root: &[u8], now: Option<Timestamp>) -> Result<tough::Repository> {
    let (metadata, targets) = (url(&folder.join(METADATA))?, url(&folder.join(TARGETS))?);
    let repository = RepositoryLoader::new(&root, metadata, targets)
        // Expired metadata can be signed anew; whoever verifies tells the time.
        .expiration_enforcement(ExpirationEnforcement::Unsafe)
        .load()
        .await
        .with_context(|| format!("{} is no repository signed with these keys", folder.display()))?;
    if let Some(now) = now {
        let timestamp = repository.timestamp().signed.expires();
        ensure!(now < timestamp, "the repository's metadata expired at {timestamp}");
    }
    Ok(repository)
}

fn oldest(keys: &Keys) -> Result<&[u8]> {
    Ok(keys.roots().next().context("no list of keys")?.1)
}

fn names_below(repository: &tough::Repository, folder: &str) -> Vec<TargetName> {
    let inside = |name: &TargetName| name.raw().split_once('/').is_some_and(|(first, _)| first == folder);
    let mut names: Vec<_> =
        repository.targets().signed.targets.keys().filter(|name| inside(name)).cloned().collect();
    names.sort_by(|a, b| a.raw().cmp(b.raw()));
    names
}

async fn read(repository: &tough::Repository, name: &TargetName) -> Result<Vec<u8>> {
    let stream = repository.read_target(name).await?.with_context(|| format!("no target {}", name.raw()))?;
    stream.into_vec().await.with_context(|| format!("cannot read {}", name.raw()))
}

async fn read_channels(repository: &tough::Repository) -> Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for name in names_below(repository, CHANNELS) {
        let stem = name.raw().trim_start_matches("channels/").trim_end_matches(".json");
        channels.push(Channel::parse(stem, &read(repository, &name).await?)?);
    }
    Ok(channels)
}

async fn sign(
    folder: &Path,
    keys: &Keys,
    existing: Option<tough::Repository>,
    new_targets: &[String],
    validity: Validity,
    now: Timestamp,
) -> Result<()> {
    let metadata = folder.join(METADATA);
    let mut newest_root = PathBuf::new();
    for (name, root) in keys.roots() {
        put(&metadata, &name, root)?;
        newest_root = metadata.join(name);
    }
    let next =
        |version: Option<NonZeroU64>| version.map_or(NonZeroU64::MIN, |version| version.saturating_add(1));
    let versions = existing.as_ref().map(|repository| {
        let targets = repository.targets().signed.version();
        (targets, repository.snapshot().signed.version(), repository.timestamp().signed.version())
    });
    let mut editor = match existing {
        Some(repository) => RepositoryEditor::from_repo(&newest_root, repository).await?,
        None => RepositoryEditor::new(&newest_root).await?,
    };
    editor.targets_version(next(versions.map(|all| all.0)))?.targets_expires(now + validity.targets)?;
    editor.snapshot_version(next(versions.map(|all| all.1))).snapshot_expires(now + validity.snapshot);
    editor.timestamp_version(next(versions.map(|all| all.2))).timestamp_expires(now + validity.timestamp);
    for name in new_targets {
        editor.add_target(name.as_str(), Target::from_path(folder.join(TARGETS).join(name)).await?)?;
    }
    let signed = editor.sign(&keys.sources()).await.context("cannot sign the metadata")?;
    let scratch = tempfile::tempdir_in(&metadata)?;
    signed.write(scratch.path()).await?;
    for name in ["targets.json", "snapshot.json", "timestamp.json"] {
        put(&metadata, name, &fs::read(scratch.path().join(name))?)?;
    }
    Ok(())
}

/// Replaces a file, whole or not at all.
fn put(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    // Temporary files are their owner's alone; these are for servers.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(folder.join(name)).with_context(|| format!("cannot write {name}"))?;
    Ok(File::open(folder)?.sync_all()?)
}

fn url(folder: &Path) -> Result<Url> {
    let path = std::path::absolute(folder)?;
    Url::from_directory_path(&path).ok().with_context(|| format!("{} has no URL", path.display()))
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().build()?.block_on(work)
}

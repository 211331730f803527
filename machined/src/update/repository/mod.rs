//! A release repository: signed metadata (The Update Framework), and what it vouches for. Mirrors are not trusted.
//!
//! The library's own clock is not used. Expiry is judged by the node's clock floor, which no network and no battery can
//! move; a node that starts in 1970 updates like any other.

mod store;
#[cfg(test)]
mod tests;
mod transport;

use std::{fs, io, path::Path};

use bootstate::ReleaseVersion;
use tough::{
    ExpirationEnforcement, IntoVec as _, Limits, RepositoryLoader, TargetName,
    error::Error as TufError,
    schema::{Root, Signed},
};
use update::{Channel, ChannelError, Failure, Manifest, ManifestError};
use url::Url;

use super::{mirrors::Mirrors, source::SourceError};
use crate::error_chain::error_chain;
use transport::{FILE_MAX_BYTES, MirrorTransport};

pub use store::{MetadataStore, StoreError};

/// The library joins names to these; the transport makes paths of them.
const METADATA: &str = "release:/metadata/";
const TARGETS: &str = "release:/targets/";
/// What a repository's metadata may weigh, a hundred times what it does.
const LIMITS: Limits = Limits {
    max_root_size: 64 << 10,
    max_timestamp_size: 16 << 10,
    max_snapshot_size: 64 << 10,
    max_targets_size: FILE_MAX_BYTES,
    max_root_updates: 64,
};
/// Releases, the newest first, that are looked at to find one that fits the node.
const LOOKED_AT_MAX: usize = 16;

/// Why a repository is not believed, or does not have what is wanted.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The image has no trust anchor.
    #[error("cannot read {}", layout::path::UPDATE_ROOT)]
    Root(#[source] io::Error),
    /// The image's trust anchor is of no use.
    #[error("{} is of no use", layout::path::UPDATE_ROOT)]
    Anchor(#[source] serde_json::Error),
    /// What was seen of it cannot be read or kept.
    #[error("the memory of the repository's metadata")]
    Store(#[source] StoreError),
    /// The work beside the runtime broke off.
    #[error("the memory of the repository's metadata is not reached")]
    Aside(#[source] tokio::task::JoinError),
    /// There is nobody to ask.
    #[error("the source has no mirror")]
    NoMirror,
    /// A file of it does not come.
    #[error("{mirror} does not give the repository's metadata")]
    Unavailable {
        /// Who was asked.
        mirror: String,
        /// Cause.
        #[source]
        source: SourceError,
    },
    /// Signatures, versions or hashes are wrong.
    #[error("the repository at {mirror} is not to be trusted")]
    Untrusted {
        /// Who was asked.
        mirror: String,
        /// Cause.
        #[source]
        source: Box<TufError>,
    },
    /// It has expired.
    #[error(
        "the repository's metadata at {mirror} has expired: {role} was good until {until}; somebody may hold back newer releases"
    )]
    Expired {
        /// Who was asked.
        mirror: String,
        /// Which of its parts.
        role: String,
        /// The end of its validity.
        until: String,
    },
    /// It does not have a file.
    #[error("the repository has no {0}")]
    NotThere(String),
    /// No release of it fits the node.
    #[error("the repository has no release for {0}")]
    NothingFits(String),
    /// A signed manifest is of no use.
    #[error("release {version}")]
    Manifest {
        /// Of which release.
        version: String,
        /// Cause.
        #[source]
        source: ManifestError,
    },
    /// A signed channel file is of no use.
    #[error("channel {name}")]
    Channel {
        /// Of which channel.
        name: String,
        /// Cause.
        #[source]
        source: ChannelError,
    },
}

impl RepositoryError {
    /// Whether to try again.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Unavailable { source: SourceError::NotFound(_), .. } => Failure::Final,
            Self::Unavailable { .. } | Self::Store(_) | Self::Aside(_) => Failure::Passing,
            _ => Failure::Final,
        }
    }
}

/// What judges a repository.
#[derive(Clone, Debug)]
pub struct Judge {
    /// The image's trust anchor, a `root.json`.
    pub anchor: Vec<u8>,
    /// What was seen before.
    pub store: MetadataStore,
    /// The node's clock floor, in seconds since 1970; `None` to take what has expired.
    pub now_s: Option<u64>,
}

/// The image's trust anchor.
pub fn anchor() -> Result<Vec<u8>, RepositoryError> {
    fs::read(Path::new(layout::path::UPDATE_ROOT)).map_err(RepositoryError::Root)
}

/// A repository that is believed. What its metadata vouches for may come from any mirror.
#[derive(Debug)]
pub struct Repository<'a> {
    inner: tough::Repository,
    transport: MirrorTransport,
    mirrors: &'a Mirrors,
}

impl<'a> Repository<'a> {
    /// Opens it at the first mirror that is to be believed.
    pub async fn open(mirrors: &'a Mirrors, judge: &Judge) -> Result<Self, RepositoryError> {
        let mut refusals = Refusals::default();
        for mirror in mirrors.order() {
            match Self::open_at(mirrors, mirror, judge).await {
                Ok(repository) => return Ok(repository),
                Err(error) => refusals.add(mirrors, mirror, error),
            }
        }
        Err(refusals.into_error())
    }

    async fn open_at(mirrors: &'a Mirrors, mirror: usize, judge: &Judge) -> Result<Self, RepositoryError> {
        let (store, alone) = (judge.store.clone(), judge.store.alone().await);
        let copy = beside(move || store.check_out(alone)).await?;
        let root = newest_root(&judge.anchor, judge.store.root())?;
        let transport = MirrorTransport::new(mirrors.source().clone(), mirror);
        let name = mirrors.name(mirror);
        let loaded = RepositoryLoader::new(&root, base(METADATA)?, base(TARGETS)?)
            .transport(transport.clone())
            .limits(LIMITS)
            .datastore(copy.folder())
            // By the node's own clock, below.
            .expiration_enforcement(ExpirationEnforcement::Unsafe)
            .load()
            .await;
        // Whatever came of it: what was proven to be newer stays known.
        beside(move || copy.check_in()).await?;
        let inner = loaded.map_err(|error| failed(&transport, &name, error))?;
        if let Some(now_s) = judge.now_s {
            check_expiry(&inner, &name, now_s)?;
        }
        Ok(Self { inner, transport, mirrors })
    }

    /// The manifest of a release.
    pub async fn manifest(&self, version: &ReleaseVersion) -> Result<Manifest, RepositoryError> {
        let json = self.target(&manifest_path(version.as_str())).await?;
        let manifest = Manifest::parse(&json)
            .map_err(|source| RepositoryError::Manifest { version: version.to_string(), source })?;
        if manifest.version == *version {
            Ok(manifest)
        } else {
            Err(RepositoryError::NotThere(manifest_path(version.as_str())))
        }
    }

    /// The newest release that fits; `what` says for what it should.
    pub async fn newest(
        &self,
        what: &str,
        fits: impl Fn(&Manifest) -> bool,
    ) -> Result<Manifest, RepositoryError> {
        let mut versions: Vec<ReleaseVersion> =
            self.inner.all_targets().filter_map(|(name, _)| version_of(name.resolved())).collect();
        versions.sort_by(|left, right| right.precedence(left));
        for version in versions.iter().take(LOOKED_AT_MAX) {
            let manifest = self.manifest(version).await?;
            if fits(&manifest) {
                return Ok(manifest);
            }
        }
        Err(RepositoryError::NothingFits(what.to_owned()))
    }

    /// A channel.
    pub async fn channel(&self, name: &str) -> Result<Channel, RepositoryError> {
        let json = self.target(&format!("channels/{name}.json")).await?;
        Channel::parse(name, &json)
            .map_err(|source| RepositoryError::Channel { name: name.to_owned(), source })
    }

    /// A file that the metadata vouches for, from the first mirror that has it as it is signed.
    async fn target(&self, path: &str) -> Result<Vec<u8>, RepositoryError> {
        let missing = || RepositoryError::NotThere(path.to_owned());
        let name = TargetName::new(path).map_err(|_| missing())?;
        let mut refusals = Refusals::default();
        for mirror in self.mirrors.order() {
            self.transport.turn_to(mirror);
            match self.inner.read_target(&name).await {
                Ok(None) => return Err(missing()),
                Ok(Some(stream)) => match stream.into_vec().await {
                    Ok(content) => return Ok(content),
                    Err(error) => refusals.add(self.mirrors, mirror, self.failed(mirror, error)),
                },
                Err(error) => refusals.add(self.mirrors, mirror, self.failed(mirror, error)),
            }
        }
        Err(refusals.into_error())
    }

    fn failed(&self, mirror: usize, error: TufError) -> RepositoryError {
        failed(&self.transport, &self.mirrors.name(mirror), error)
    }
}

/// What came of it where one mirror after the other was asked in vain.
#[derive(Debug, Default)]
struct Refusals(Option<RepositoryError>);

impl Refusals {
    fn add(&mut self, mirrors: &Mirrors, mirror: usize, error: RepositoryError) {
        let wrong = matches!(error, RepositoryError::Untrusted { .. } | RepositoryError::Expired { .. });
        mirrors.blame(mirror, wrong, error_chain(&error));
        // What may pass is not hidden by what will not.
        let is_told = self
            .0
            .as_ref()
            .is_none_or(|told| told.failure() == Failure::Final && error.failure() != Failure::Final);
        if is_told {
            self.0 = Some(error);
        }
    }

    fn into_error(self) -> RepositoryError {
        self.0.unwrap_or(RepositoryError::NoMirror)
    }
}

fn check_expiry(repository: &tough::Repository, mirror: &str, now_s: u64) -> Result<(), RepositoryError> {
    let ends = [
        ("root", repository.root().signed.expires),
        ("timestamp", repository.timestamp().signed.expires),
        ("snapshot", repository.snapshot().signed.expires),
        ("targets", repository.targets().signed.expires),
    ];
    let is_over = |end: i64| u64::try_from(end).map_or(true, |end| end < now_s);
    match ends.into_iter().find(|(_, end)| is_over(end.as_second())) {
        None => Ok(()),
        Some((role, end)) => Err(RepositoryError::Expired {
            mirror: mirror.to_owned(),
            role: role.to_owned(),
            until: end.to_string(),
        }),
    }
}

/// The root to begin with: the newest that was seen, if the image's own vouches for it, else the image's. An older one
/// would let old keys speak again, and make the library forget what it has seen.
fn newest_root(anchor: &[u8], seen: Option<Vec<u8>>) -> Result<Vec<u8>, RepositoryError> {
    let own: Signed<Root> = serde_json::from_slice(anchor).map_err(RepositoryError::Anchor)?;
    let is_newer = |seen: &Vec<u8>| {
        let root = serde_json::from_slice::<Signed<Root>>(seen);
        root.is_ok_and(|root| {
            root.signed.version > own.signed.version && own.signed.verify_role(&root).is_ok()
        })
    };
    Ok(seen.filter(is_newer).unwrap_or_else(|| anchor.to_vec()))
}

fn failed(transport: &MirrorTransport, mirror: &str, error: TufError) -> RepositoryError {
    let mirror = mirror.to_owned();
    match transport.take_failure() {
        Some(source) if matches!(error, TufError::Transport { .. }) => {
            RepositoryError::Unavailable { mirror, source }
        }
        Some(_) | None => RepositoryError::Untrusted { mirror, source: Box::new(error) },
    }
}

fn manifest_path(version: &str) -> String {
    format!("releases/{version}/manifest.json")
}

fn version_of(target: &str) -> Option<ReleaseVersion> {
    let version = target.strip_prefix("releases/")?.strip_suffix("/manifest.json")?;
    ReleaseVersion::new(version).ok()
}

fn base(url: &str) -> Result<Url, RepositoryError> {
    Url::parse(url).map_err(|_| RepositoryError::NotThere(url.to_owned()))
}

async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, RepositoryError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(RepositoryError::Aside)?;
    done.map_err(RepositoryError::Store)
}

//! What the node trusts, outside of all generations: client CAs, withdrawn CAs, revoked clients and the time floor.
//! Nothing here ever goes back with a configuration or an OS: sets only grow, the floor only rises.
//!
//! Two copies lie on STATE, written one after the other, so that a rotten one costs nothing.

use std::{
    convert::Infallible,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use config::NodeConfig;
use pki::{Bundle, BundleError, RevocationError, Revocations};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    error_chain::error_chain,
    logs,
    storage::{StorageError, replace_file},
};

/// Both copies, below STATE.
pub const FILES: [&str; 2] = ["trust.json", "trust.mirror.json"];
/// Between writes of the floor: so much may a power cut set it back, and so often flash is written for it.
const FLOOR_INTERVAL: Duration = Duration::from_secs(3600);
/// For the last lines to reach the disk, of what PID 1 gives a service to end.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Why trust cannot be read, extended or kept.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A copy cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// There are copies, and each is rotten.
    #[error("what the node trusts is damaged in every copy on STATE")]
    Damaged,
    /// A copy cannot be written.
    #[error("cannot keep what the node trusts")]
    Write(#[source] StorageError),
    /// It cannot be written as JSON.
    #[error("cannot encode what the node trusts")]
    Encode(#[source] serde_json::Error),
    /// The configured CAs are of no use.
    #[error("the configured client CAs are of no use")]
    Cas(#[source] BundleError),
    /// The configured revocations are of no use, or too many.
    #[error("the configured revocations are of no use")]
    Revocations(#[source] RevocationError),
}

/// Who is let in under a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// CAs of clients.
    pub cas: Bundle,
    /// Clients of these CAs that are let in no more.
    pub revoked: Revocations,
}

/// The node's trust.
pub struct Trust {
    state: PathBuf,
    kept: Mutex<Kept>,
    /// When it was opened; raised by what is learnt since.
    floor_s: AtomicU64,
    opened: Instant,
}

impl Trust {
    /// Reads what was kept below `state`. `image_time_s` is when the running image was made: it is not earlier now.
    pub fn open(state: &Path, image_time_s: u64) -> Result<Self, TrustError> {
        let kept = read(state)?;
        let floor_s = kept.time_floor_s.max(image_time_s).into();
        Ok(Self { state: state.to_owned(), kept: Mutex::new(kept), floor_s, opened: Instant::now() })
    }

    /// The earliest time that it can be now, in seconds since 1970. Rises with the monotonic clock.
    pub fn floor_s(&self) -> u64 {
        self.floor_s.load(Ordering::Relaxed).saturating_add(self.opened.elapsed().as_secs())
    }

    /// Learns from somebody who is to be believed that it is not earlier than this, in seconds since 1970. A large step is
    /// kept at once, a small one in its turn. Says whether it was a large one.
    pub fn raise_floor(&self, now_s: u64) -> Result<bool, TrustError> {
        let former_s = self.floor_s();
        self.floor_s.fetch_max(now_s.saturating_sub(self.opened.elapsed().as_secs()), Ordering::Relaxed);
        let is_large = now_s.saturating_sub(former_s) >= FLOOR_INTERVAL.as_secs();
        if is_large {
            self.advance_floor()?;
        }
        Ok(is_large)
    }

    /// The CAs of the configuration that was confirmed last; nothing before the first.
    pub fn known_cas(&self) -> Option<Bundle> {
        self.kept().cas.clone()
    }

    /// Who is let in while `config` runs: without what was withdrawn or revoked before. Should none of its CAs remain,
    /// the known ones stay, so that no old configuration locks everybody out.
    pub fn clients(&self, config: &NodeConfig) -> Result<Clients, TrustError> {
        self.kept().clients(config)
    }

    /// Keeps what a confirmed configuration says: its revocations are final, and so is it that it does without a CA
    /// which the one before it had. Returns once it is on disk.
    pub fn learn(&self, config: &NodeConfig) -> Result<(), TrustError> {
        let mut kept = self.kept();
        let Clients { cas, revoked } = kept.clients(config)?;
        let mut withdrawn = kept.withdrawn.clone();
        let former = kept.cas.iter().flat_map(Bundle::certificates);
        for ca in former.filter(|ca| !cas.certificates().contains(ca)) {
            withdrawn.revoke(ca.hash()).map_err(TrustError::Revocations)?;
        }
        let learnt = Kept { cas: Some(cas), withdrawn, revoked, time_floor_s: kept.time_floor_s };
        if learnt != *kept {
            self.replace(&mut kept, learnt)?;
        }
        Ok(())
    }

    /// All of it as one copy on STATE holds it, for a third place.
    pub fn copy(&self) -> Result<String, TrustError> {
        let content = self.kept().encode()?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// Keeps the time that has passed.
    pub fn advance_floor(&self) -> Result<(), TrustError> {
        let mut kept = self.kept();
        let advanced = kept.clone();
        self.replace(&mut kept, advanced)
    }

    /// Writes both copies, then obeys them. The floor is always written as it is now.
    fn replace(&self, kept: &mut Kept, next: Kept) -> Result<(), TrustError> {
        let next = Kept { time_floor_s: self.floor_s().max(next.time_floor_s), ..next };
        let content = next.encode()?;
        for name in FILES {
            replace_file(&self.state.join(name), &content, 0o600).map_err(TrustError::Write)?;
        }
        *kept = next;
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first copy that is whole; the second is as new unless power was cut between both.
fn read(state: &Path) -> Result<Kept, TrustError> {
    let mut is_new = true;
    for name in FILES {
        let path = state.join(name);
        match fs::read(&path) {
            Ok(content) => match Kept::decode(&content) {
                Some(kept) => return Ok(kept),
                None => tracing::error!(path = %path.display(), "a copy of what the node trusts is damaged"),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(TrustError::Read { path, source }),
        }
        is_new = false;
    }
    if is_new { Ok(Kept::default()) } else { Err(TrustError::Damaged) }
}

/// Keeps the floor at start, which also mends a damaged copy, and then every hour. PID 1 ends machined with SIGTERM:
/// the floor and the last lines of the logs are kept, and the process ends.
pub async fn run(trust: Arc<Trust>, logs: logs::Handle) -> io::Result<Infallible> {
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        advance(&trust).await;
        tokio::select! {
            () = tokio::time::sleep(FLOOR_INTERVAL) => {}
            _ = terminate.recv() => {
                advance(&trust).await;
                // A disk that hangs must not hold up the end.
                tokio::time::timeout(LAST_LINES, logs.finish()).await.ok();
                std::process::exit(0);
            }
        }
    }
}

async fn advance(trust: &Arc<Trust>) {
    let trust = Arc::clone(trust);
    let error = match tokio::task::spawn_blocking(move || trust.advance_floor()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error_chain(&error),
        Err(error) => error.to_string(),
    };
    tracing::error!(error, "the time floor is not kept");
}

/// What is on STATE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Kept {
    cas: Option<Bundle>,
    withdrawn: Revocations,
    revoked: Revocations,
    time_floor_s: u64,
}

/// One copy. The hash is over `trust` as it is encoded here.
#[derive(Serialize, Deserialize)]
struct Copy {
    trust: Encoded,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Encoded {
    client_cas: String,
    withdrawn_cas: String,
    revoked_certificates: String,
    time_floor_s: u64,
}

impl Encoded {
    fn sha256(&self) -> Result<String, serde_json::Error> {
        Ok(hex::encode(digest::digest(&digest::SHA256, &serde_json::to_vec(self)?)))
    }
}

impl Kept {
    fn encode(&self) -> Result<Vec<u8>, TrustError> {
        let trust = Encoded {
            client_cas: self.cas.as_ref().map(Bundle::to_pem).unwrap_or_default(),
            withdrawn_cas: self.withdrawn.to_string(),
            revoked_certificates: self.revoked.to_string(),
            time_floor_s: self.time_floor_s,
        };
        let sha256 = trust.sha256().map_err(TrustError::Encode)?;
        serde_json::to_vec(&Copy { trust, sha256 }).map_err(TrustError::Encode)
    }

    /// Nothing when the copy is not what was written.
    fn decode(content: &[u8]) -> Option<Self> {
        let Copy { trust, sha256 } = serde_json::from_slice(content).ok()?;
        if trust.sha256().ok()? != sha256 {
            return None;
        }
        let cas = match trust.client_cas.as_str() {
            "" => None,
            pem => Some(Bundle::from_pem(pem).ok()?),
        };
        Some(Self {
            cas,
            withdrawn: Revocations::parse(&trust.withdrawn_cas).ok()?,
            revoked: Revocations::parse(&trust.revoked_certificates).ok()?,
            time_floor_s: trust.time_floor_s,
        })
    }

    fn clients(&self, config: &NodeConfig) -> Result<Clients, TrustError> {
        let mut revoked = self.revoked.clone();
        for text in &config.revoked {
            let hash = text.parse().map_err(TrustError::Revocations)?;
            revoked.revoke(hash).map_err(TrustError::Revocations)?;
        }
        let configured = Bundle::from_pem(&config.client_cas.join("\n")).map_err(TrustError::Cas)?;
        let remaining: Vec<_> = configured
            .certificates()
            .iter()
            .filter(|ca| !self.withdrawn.contains(&ca.hash()))
            .cloned()
            .collect();
        let cas = match &self.cas {
            Some(known) if remaining.is_empty() => known.clone(),
            Some(_) | None => Bundle::new(remaining).map_err(TrustError::Cas)?,
        };
        Ok(Clients { cas, revoked })
    }
}

#[cfg(test)]
mod tests {
    use pki::{Ca, SubjectName, Validity};
    use proptest::prelude::*;

    use super::*;

    fn ca() -> Ca {
        Ca::create(&SubjectName::parse("ca").unwrap(), Validity::UNLIMITED).unwrap()
    }

    fn config(cas: &[&Ca], revoked: &[u8]) -> NodeConfig {
        NodeConfig {
            client_cas: cas.iter().map(|ca| ca.certificate().to_pem()).collect(),
            revoked: revoked.iter().map(|byte| hex::encode([*byte; 32])).collect(),
            ..NodeConfig::default()
        }
    }

    fn hashes(revocations: &Revocations) -> Vec<String> {
        revocations.iter().map(|hash| hash.to_string()[..2].to_owned()).collect()
    }

    fn trusted(clients: &Clients, cas: &[&Ca]) -> bool {
        clients.cas.certificates().iter().eq(cas.iter().map(|ca| ca.certificate()))
    }

    #[test]
    fn the_floor_is_raised_by_who_is_believed_and_never_lowered() {
        let state = tempfile::tempdir().unwrap();
        let trust = Trust::open(state.path(), 1_000).unwrap();
        assert!(!trust.raise_floor(500).unwrap());
        assert!((1_000..1_060).contains(&trust.floor_s()));
        assert!(trust.raise_floor(1_900_000_000).unwrap());
        assert!((1_900_000_000..1_900_000_060).contains(&trust.floor_s()));
        // A power cut now takes nothing of it.
        let reopened = Trust::open(state.path(), 1_000).unwrap();
        assert!(reopened.floor_s() >= 1_900_000_000);
    }

    #[test]
    fn revocations_stay_whatever_is_configured_later() {
        let (state, ca) = (tempfile::tempdir().unwrap(), ca());
        let trust = Trust::open(state.path(), 0).unwrap();
        assert_eq!(trust.known_cas(), None);
        trust.learn(&config(&[&ca], &[2, 1])).unwrap();
        trust.learn(&config(&[&ca], &[3])).unwrap();
        trust.learn(&config(&[&ca], &[])).unwrap();
        assert_eq!(hashes(&trust.kept().revoked), ["01", "02", "03"]);

        let trust = Trust::open(state.path(), 0).unwrap();
        assert_eq!(hashes(&trust.kept().revoked), ["01", "02", "03"]);
        let clients = trust.clients(&config(&[&ca], &[9])).unwrap();
        assert_eq!(hashes(&clients.revoked), ["01", "02", "03", "09"]);
        assert_eq!(hashes(&trust.kept().revoked), ["01", "02", "03"], "a trial leaves nothing behind");
    }

    #[test]
    fn a_withdrawn_ca_does_not_come_back_with_an_old_configuration() {
        let (state, old, new) = (tempfile::tempdir().unwrap(), ca(), ca());
        let trust = Trust::open(state.path(), 0).unwrap();
        let steps = [config(&[&old], &[]), config(&[&old, &new], &[]), config(&[&new], &[])];
        steps.iter().for_each(|step| trust.learn(step).unwrap());

        let trust = Trust::open(state.path(), 0).unwrap();
        assert!(trusted(&trust.clients(&steps[2]).unwrap(), &[&new]));
        assert!(trusted(&trust.clients(&steps[1]).unwrap(), &[&new]), "of the overlap, the new one remains");
        assert!(trusted(&trust.clients(&steps[0]).unwrap(), &[&new]), "nobody is locked out");
        trust.learn(&steps[0]).unwrap();
        assert_eq!(trust.known_cas().as_ref(), Some(new.bundle()));
    }

    #[test]
    fn what_is_of_no_use_changes_nothing() {
        let (state, ca) = (tempfile::tempdir().unwrap(), ca());
        let trust = Trust::open(state.path(), 0).unwrap();
        assert!(matches!(trust.learn(&config(&[], &[])), Err(TrustError::Cas(_))));
        let odd = NodeConfig { revoked: vec!["x".into()], ..config(&[&ca], &[]) };
        assert!(matches!(trust.learn(&odd), Err(TrustError::Revocations(_))));
        assert_eq!(trust.known_cas(), None);
        assert!(!state.path().join(FILES[0]).exists());
    }

    #[test]
    fn the_floor_never_falls() {
        let state = tempfile::tempdir().unwrap();
        let floor_s = |image_time_s| {
            let trust = Trust::open(state.path(), image_time_s).unwrap();
            trust.advance_floor().unwrap();
            trust.floor_s()
        };
        let floors_s = [floor_s(1_000), floor_s(5_000), floor_s(0)];
        assert!(floors_s[0] < 5_000 && floors_s[1] >= 5_000 && floors_s[2] >= floors_s[1], "{floors_s:?}");
    }

    #[test]
    fn time_passes_by_the_monotonic_clock() {
        let state = tempfile::tempdir().unwrap();
        let mut trust = Trust::open(state.path(), 1_000).unwrap();
        trust.opened = trust.opened.checked_sub(Duration::from_secs(7_200)).unwrap();
        assert!((8_200..8_260).contains(&trust.floor_s()));
        trust.advance_floor().unwrap();
        assert!(Trust::open(state.path(), 1_000).unwrap().floor_s() >= 8_200);
    }

    #[test]
    fn one_copy_is_enough_and_none_is_an_error() {
        let (state, ca) = (tempfile::tempdir().unwrap(), ca());
        let open = || Trust::open(state.path(), 0);
        open().unwrap().learn(&config(&[&ca], &[1])).unwrap();
        let paths = FILES.map(|name| state.path().join(name));
        for path in &paths {
            let whole = fs::read(path).unwrap();
            fs::write(path, &whole[..whole.len() / 2]).unwrap();
            assert_eq!(hashes(&open().unwrap().kept().revoked), ["01"]);
            fs::remove_file(path).unwrap();
            assert_eq!(hashes(&open().unwrap().kept().revoked), ["01"]);
            fs::write(path, "").unwrap();
            open().unwrap().advance_floor().unwrap();
            assert_eq!(
                Kept::decode(&fs::read(path).unwrap()).unwrap().revoked,
                open().unwrap().kept().revoked
            );
        }
        fs::write(&paths[0], "{}").unwrap();
        fs::remove_file(&paths[1]).unwrap();
        assert!(matches!(open(), Err(TrustError::Damaged)), "rot is not a fresh start");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn rot_is_noticed(position: prop::sample::Index, bit in 0..8_u32, revoked: Vec<u8>) {
            let mut revocations = Revocations::default();
            for byte in revoked {
                revocations.revoke(hex::encode([byte; 32]).parse().unwrap()).unwrap();
            }
            let kept = Kept { revoked: revocations, time_floor_s: 1_790_000_000, ..Kept::default() };
            let mut content = kept.encode().unwrap();
            prop_assert_eq!(Kept::decode(&content), Some(kept.clone()));
            let index = position.index(content.len());
            content[index] ^= 1 << bit;
            prop_assert!(Kept::decode(&content).is_none_or(|read| read == kept));
        }
    }
}

//! Takes the first configuration, once. Whoever comes while another is at it, or later, is refused.

use std::sync::Arc;

use config::ConfigErrors;
use pki::{Bundle, BundleError};
use proto::maintenance::v1::ConfigureRequest;
use tokio::sync::watch;

use super::door::{Door, Given, Turned};
use crate::{
    configuration::{self, BootClock, BootError, GenerationStore},
    error_chain::error_chain,
    identity::{IdentityError, Keys},
    trust::Trust,
};

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Somebody who may not.
    #[error(transparent)]
    Turned(Turned),
    /// Another admin's configuration is being taken.
    #[error("another configuration is being taken at this moment")]
    Busy,
    /// The node has one.
    #[error("the node has taken its first configuration and starts with it")]
    Configured,
    /// Somebody plugged in a volume.
    #[error("the node starts with a configuration volume that was plugged in")]
    Closed,
    /// It is none.
    #[error("the configuration is refused")]
    Content(#[source] ConfigErrors),
    /// It would let nobody in.
    #[error("its client CAs are of no use")]
    Cas(#[source] BundleError),
    /// STATE does not keep it.
    #[error("the configuration cannot be kept")]
    Keep(#[source] BootError),
    /// Only a panic or the end of the process leads here.
    #[error("the node could not finish")]
    Unfinished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Busy,
    Configured,
    Closed,
}

/// Where the first configuration is handed over.
pub struct Desk {
    keys: Keys,
    trust: Trust,
    door: Door,
    clock: BootClock,
    store: Arc<GenerationStore>,
    phase: watch::Sender<Phase>,
    news: watch::Sender<String>,
    now_ms: fn(&BootClock) -> u64,
}

impl Desk {
    /// Open from the start.
    pub fn new(keys: Keys, trust: Trust, door: Door, clock: BootClock, store: Arc<GenerationStore>) -> Self {
        let (phase, news) = (watch::Sender::new(Phase::Open), watch::Sender::default());
        Self { keys, trust, door, clock, store, phase, news, now_ms: |clock| clock.now().since_boot_ms }
    }

    /// Writes apid's files.
    pub fn render(&self) -> Result<(), IdentityError> {
        self.keys.render_maintenance(self.door.medium(), self.trust.floor_s())
    }

    /// Id of the node.
    pub fn node_id(&self) -> &str {
        self.keys.node_id.as_str()
    }

    /// SHA-256 of the public key (subjectPublicKeyInfo), hex.
    pub fn fingerprint(&self) -> String {
        self.keys.key.fingerprint()
    }

    /// Who may hand a configuration over.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Milliseconds since boot.
    pub fn now_ms(&self) -> u64 {
        (self.now_ms)(&self.clock)
    }

    /// What the console should say of tries that failed; the same thing only once.
    pub fn news(&self) -> watch::Receiver<String> {
        self.news.subscribe()
    }

    /// Shows a client that the node knows the pairing code.
    pub fn prove(&self, nonce: &[u8]) -> Result<Vec<u8>, Refused> {
        self.is_open()?;
        let pairing = self.door.pairing().map_err(Refused::Turned)?;
        pairing.prove(nonce, self.now_ms()).map_err(|turned| self.turn(turned))
    }

    /// Takes a configuration from whoever may hand it over, keeps it as the first generation, and closes.
    pub async fn configure(&self, request: ConfigureRequest) -> Result<(), Refused> {
        self.is_open()?;
        let judged = self.door.judge(request, &self.keys.node_id, self.trust.floor_s(), self.now_ms());
        let given = judged.map_err(|turned| self.turn(turned))?;
        self.change(Phase::Open, Phase::Busy)?;
        let (store, time_s) = (Arc::clone(&self.store), self.trust.floor_s());
        let taken = tokio::task::spawn_blocking(move || take(&given, &store, time_s)).await;
        let taken = taken.unwrap_or(Err(Refused::Unfinished));
        let next = if taken.is_ok() { Phase::Configured } else { Phase::Open };
        self.phase.send_replace(next);
        taken
    }

    /// Waits until a configuration was taken.
    pub async fn configured(&self) {
        // The sender is `self.phase`.
        self.phase.subscribe().wait_for(|phase| *phase == Phase::Configured).await.ok();
    }

    /// Takes no configuration from now on, unless somebody is at it or was.
    pub fn close(&self) -> bool {
        self.change(Phase::Open, Phase::Closed).is_ok()
    }

    fn is_open(&self) -> Result<(), Refused> {
        self.change(Phase::Open, Phase::Open)
    }

    fn change(&self, from: Phase, to: Phase) -> Result<(), Refused> {
        let mut found = from;
        self.phase.send_if_modified(|phase| {
            found = *phase;
            if found == from {
                *phase = to;
            }
            found == from && found != to
        });
        match found {
            _ if found == from => Ok(()),
            Phase::Open | Phase::Busy => Err(Refused::Busy),
            Phase::Configured => Err(Refused::Configured),
            Phase::Closed => Err(Refused::Closed),
        }
    }

    fn turn(&self, turned: Turned) -> Refused {
        tracing::warn!(reason = error_chain(&turned), "somebody is turned away");
        if let Turned::Exhausted(_) | Turned::WrongCode { .. } = turned {
            let said = turned.to_string();
            self.news.send_if_modified(|news| {
                let is_new = *news != said;
                *news = said;
                is_new
            });
        }
        Refused::Turned(turned)
    }
}

/// Checks everything before anything is kept.
fn take(given: &Given, store: &GenerationStore, time_s: u64) -> Result<(), Refused> {
    let config = config::parse(&given.text).map_err(Refused::Content)?;
    Bundle::from_pem(&config.client_cas.concat()).map_err(Refused::Cas)?;
    let created_s = i64::try_from(time_s).unwrap_or(i64::MAX);
    configuration::found(store, &given.text, &given.author, created_s).map_err(Refused::Keep)
}

#[cfg(test)]
mod tests {
    use pairing::{Code, KeyHash, proof};
    use pki::{Ca, SubjectName, Validity};

    use super::*;
    use crate::maintenance::door::Pairing;

    struct Rig {
        state: tempfile::TempDir,
        desk: Desk,
    }

    impl Rig {
        fn new() -> Self {
            let state = tempfile::tempdir().unwrap();
            let keys = Keys::open(state.path()).unwrap();
            let pairing =
                Pairing::open(&state.path().join("pairing.json"), &keys.key.public_key_der()).unwrap();
            let trust = Trust::open(state.path(), 7).unwrap();
            let store = Arc::new(GenerationStore::at(state.path()));
            let desk = Desk::new(keys, trust, Door::Code(pairing), BootClock::open().unwrap(), store);
            // Tests may run long after the computer's start; the code is valid for half an hour.
            Self { state, desk: Desk { now_ms: |_| 0, ..desk } }
        }

        fn code(&self) -> Code {
            self.desk.door.pairing().unwrap().code().clone()
        }

        fn request(&self, text: &str) -> ConfigureRequest {
            let key = KeyHash::of(&self.desk.keys.key.public_key_der());
            ConfigureRequest {
                text: text.to_owned(),
                proof: proof::client(&self.code(), &key, text),
                signed: None,
            }
        }

        fn first_generation(&self) -> Option<String> {
            let store = GenerationStore::at(self.state.path());
            let index = store.load_index().unwrap()?;
            Some(store.load(index.confirmed()).unwrap())
        }
    }

    fn configuration() -> String {
        let ca = Ca::create(&SubjectName::parse("ca").unwrap(), Validity::UNLIMITED).unwrap();
        let pem = ca.bundle().to_pem().replace('\n', "\n    ");
        format!("apiVersion: cairn.dev/v1alpha1\nkind: Api\nclientCAs:\n  - |\n    {pem}\n")
    }

    #[tokio::test]
    async fn the_first_admin_stays_the_first() {
        let rig = Rig::new();
        let (first, second) = (configuration(), configuration());
        let (taken, refused) =
            tokio::join!(rig.desk.configure(rig.request(&first)), rig.desk.configure(rig.request(&second)),);
        taken.unwrap();
        assert!(matches!(refused, Err(Refused::Busy | Refused::Configured)), "{refused:?}");
        let late = rig.desk.configure(rig.request(&second)).await;
        assert!(matches!(late, Err(Refused::Configured)));
        assert!(matches!(rig.desk.prove(&[0; 32]), Err(Refused::Configured)));
        assert_eq!(rig.first_generation(), Some(first));
        rig.desk.configured().await;
        assert!(!rig.desk.close(), "a volume comes too late");
    }

    #[tokio::test]
    async fn what_is_no_configuration_changes_nothing_and_costs_no_try() {
        let rig = Rig::new();
        for text in ["", "kind: Nonsense\n", "apiVersion: cairn.dev/v1alpha1\nkind: Machine\nhostname: a\n"] {
            let refused = rig.desk.configure(rig.request(text)).await;
            assert!(matches!(refused, Err(Refused::Content(_))), "{text}: {refused:?}");
        }
        assert_eq!(rig.first_generation(), None);
        rig.desk.configure(rig.request(&configuration())).await.unwrap();
    }

    #[tokio::test]
    async fn wrong_codes_are_told_of_and_end() {
        let rig = Rig::new();
        let mut news = rig.desk.news();
        let wrong = || ConfigureRequest { proof: vec![0; 32], ..rig.request(&configuration()) };
        for left in (0..5).rev() {
            let refused = rig.desk.configure(wrong()).await.unwrap_err().to_string();
            assert!(refused.contains(&format!("{left} tries are left")), "{refused}");
        }
        for _ in 0..3 {
            let refused = rig.desk.configure(rig.request(&configuration())).await;
            assert!(matches!(refused, Err(Refused::Turned(Turned::Exhausted(_)))));
            assert!(matches!(rig.desk.prove(&[0; 32]), Err(Refused::Turned(Turned::Exhausted(_)))));
        }
        news.changed().await.unwrap();
        assert!(news.borrow_and_update().contains("reboot the node"));
        rig.desk.prove(&[0; 32]).unwrap_err();
        assert!(!news.has_changed().unwrap(), "a flood says nothing new");
        assert_eq!(rig.first_generation(), None);
    }

    #[tokio::test]
    async fn a_volume_ends_it_unless_somebody_was_faster() {
        let rig = Rig::new();
        assert!(rig.desk.close());
        let refused = rig.desk.configure(rig.request(&configuration())).await;
        assert!(matches!(refused, Err(Refused::Closed)));
        assert_eq!(rig.first_generation(), None);
    }
}

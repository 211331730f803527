//! What a node cannot do without: who it is, whom it lets in, how it is reached. Mirrored outside of STATE.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use config::{ConfigErrors, Documents, YamlError};
use serde::{Deserialize, Serialize};

use crate::{
    configuration::{self, BootError, GenerationStore},
    identity::{IdentityError, KeptIdentity},
    storage::{StorageError, replace_file},
    trust::{self, TrustError},
};

/// Kinds that say who is let in and where the node is; without the others it runs no pods.
const KINDS: [&str; 8] = ["Api", "Bond", "Bridge", "Dummy", "Interface", "Machine", "Resolver", "Vlan"];

/// Why there is no essence, or none that is of use.
#[derive(Debug, thiserror::Error)]
pub enum EssenceError {
    /// The configuration is none.
    #[error("the confirmed configuration cannot be read")]
    Config(#[source] ConfigErrors),
    /// Its essential documents cannot be written.
    #[error("the essential part of the configuration cannot be written")]
    Yaml(#[source] YamlError),
    /// What the node trusts cannot be written.
    #[error("trust")]
    Trust(#[source] TrustError),
    /// It is no JSON of this form.
    #[error("the mirror is of another form")]
    Form(#[source] serde_json::Error),
    /// A folder cannot be made.
    #[error("cannot make {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot restore")]
    Write(#[source] StorageError),
    /// The identity cannot be restored.
    #[error("identity")]
    Identity(#[source] IdentityError),
    /// The configuration cannot be restored.
    #[error("configuration")]
    Found(#[source] BootError),
}

/// The essence. It holds the node's key: no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Essence {
    identity: KeptIdentity,
    /// As in `trust.json`.
    trust: String,
    /// YAML of the essential documents.
    configuration: String,
}

impl Essence {
    /// The essence of a node with this identity, trust and confirmed configuration.
    pub fn of(identity: KeptIdentity, trust: &trust::Trust, text: &str) -> Result<Self, EssenceError> {
        let trust = trust.copy().map_err(EssenceError::Trust)?;
        Ok(Self { identity, trust, configuration: essential(text)? })
    }

    /// As it is mirrored.
    pub fn encode(&self) -> Result<Vec<u8>, EssenceError> {
        serde_json::to_vec(self).map_err(EssenceError::Form)
    }

    /// Reads what was mirrored.
    pub fn decode(content: &[u8]) -> Result<Self, EssenceError> {
        serde_json::from_slice(content).map_err(EssenceError::Form)
    }

    /// Lays it out in an empty folder as a STATE with one generation. `created_s` is the node's clock.
    pub fn restore(&self, state: &Path, created_s: i64) -> Result<(), EssenceError> {
        let folder = state.join("network");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|source| EssenceError::Folder { path: folder, source })?;
        self.identity.restore(state).map_err(EssenceError::Identity)?;
        for name in trust::FILES {
            replace_file(&state.join(name), self.trust.as_bytes(), 0o600).map_err(EssenceError::Write)?;
        }
        let store = GenerationStore::at(state);
        fs::create_dir_all(state.join("config"))
            .map_err(|source| EssenceError::Folder { path: state.join("config"), source })?;
        configuration::found(&store, &self.configuration, "", created_s).map_err(EssenceError::Found)
    }
}

fn essential(text: &str) -> Result<String, EssenceError> {
    let mut documents = Documents::parse(text).map_err(EssenceError::Config)?;
    let keys: Vec<_> = documents.iter().map(|document| document.key().clone()).collect();
    for key in keys.iter().filter(|key| !KINDS.contains(&key.kind.as_str())) {
        documents.remove(key);
    }
    documents.to_yaml().map_err(EssenceError::Yaml)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pki::{Ca, SubjectName, Validity};

    use super::*;
    use crate::{identity::Identity, trust::Trust};

    #[test]
    fn a_node_is_the_same_from_its_essence() {
        let (state, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ca = Ca::create(&SubjectName::parse("ca").unwrap(), Validity::UNLIMITED).unwrap();
        let pem = ca.bundle().to_pem().replace('\n', "\n    ");
        let text = format!(
            "apiVersion: cairn.dev/v1alpha1\nkind: Api\nclientCAs:\n  - |\n    {pem}\n---\n\
             apiVersion: cairn.dev/v1alpha1\nkind: Registry\nhost: example.org\ncredentials: {{username: u, password: hunter2}}\n---\n\
             apiVersion: cairn.dev/v1alpha1\nkind: Machine\nhostname: edge-1\n"
        );
        let config = config::parse(&text).unwrap();
        let trust = Arc::new(Trust::open(state.path(), 7).unwrap());
        let identity = Identity::open(state.path(), &config, Arc::clone(&trust)).unwrap();
        trust.learn(&config).unwrap();

        let essence = Essence::of(identity.kept(), &trust, &text).unwrap();
        let encoded = essence.encode().unwrap();
        assert!(!encoded.windows(7).any(|part| part == b"hunter2"), "a secret that nobody needs");
        Essence::decode(&encoded).unwrap().restore(restored.path(), 9).unwrap();

        let trust = Arc::new(Trust::open(restored.path(), 0).unwrap());
        let store = GenerationStore::at(restored.path());
        let index = store.load_index().unwrap().unwrap();
        let config = config::parse(&store.load(index.confirmed()).unwrap()).unwrap();
        assert_eq!((config.hostname.as_deref(), config.registries.len()), (Some("edge-1"), 0));
        assert_eq!(trust.known_cas().unwrap(), *ca.bundle());
        let again = Identity::open(restored.path(), &config, trust).unwrap();
        assert_eq!((again.node_id(), again.fingerprint()), (identity.node_id(), identity.fingerprint()));
        assert!(again.kept() == identity.kept());
        assert!(Essence::decode(b"{}").is_err());
    }
}

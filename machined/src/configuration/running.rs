//! The configuration that the node runs, read from its generation or, when that is damaged, from the next best.

use std::sync::Arc;

use config::{ConfigErrors, NodeConfig};
use generation::{Generation, Index, State};

use super::store::{GenerationStore, StoreError};
use crate::error_chain::error_chain;

/// A configuration in force.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its number.
    pub generation: Generation,
    /// As it was given.
    pub text: Arc<str>,
    /// What it says.
    pub config: Arc<NodeConfig>,
    /// Why another generation does not run that should.
    pub damage: Option<String>,
}

/// Why a generation cannot run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its text is gone or damaged.
    #[error("generation {generation} cannot be read")]
    Store {
        /// Which.
        generation: Generation,
        /// Cause.
        #[source]
        source: StoreError,
    },
    /// This release does not understand it.
    #[error("this release refuses generation {generation}")]
    Refused {
        /// Which.
        generation: Generation,
        /// Cause.
        #[source]
        source: ConfigErrors,
    },
}

/// Reads one generation. Each call makes a configuration of its own, which tells one change from another.
pub fn load(store: &GenerationStore, generation: Generation) -> Result<Running, LoadError> {
    let text = store.load(generation).map_err(|source| LoadError::Store { generation, source })?;
    let config = config::parse(&text).map_err(|source| LoadError::Refused { generation, source })?;
    Ok(Running { generation, text: text.into(), config: Arc::new(config), damage: None })
}

/// Reads the wanted generation, or else the latest that was confirmed once, or else the one confirmed with a slot.
/// The error is that of the wanted one.
pub fn load_best(store: &GenerationStore, index: &Index, wanted: Generation) -> Result<Running, LoadError> {
    let error = match load(store, wanted) {
        Ok(running) => return Ok(running),
        Err(error) => error,
    };
    let once_confirmed = |generation: &Generation| {
        matches!(index.state(*generation), Some(State::Confirmed | State::Superseded))
    };
    let candidates = index.entries().iter().rev().map(|entry| entry.number);
    for generation in candidates.filter(|generation| *generation != wanted).filter(once_confirmed) {
        if let Ok(running) = load(store, generation) {
            return Ok(Running { damage: Some(error_chain(&error)), ..running });
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hostname: &str) -> String {
        let ca = pki::Ca::create(&pki::SubjectName::parse("ca").unwrap(), pki::Validity::UNLIMITED).unwrap();
        let ca = ca.bundle().to_pem().replace('\n', "\n    ");
        format!(
            "apiVersion: cairn.dev/v1alpha1\nkind: Api\nclientCAs:\n  - |\n    {ca}\n---\napiVersion: cairn.dev/v1alpha1\nkind: Machine\nhostname: {hostname}\n"
        )
    }

    /// Generation 2 is confirmed, 1 was before it.
    fn index() -> Index {
        let mut index = Index::first("", 0);
        let now = generation::Moment { boot: generation::BootId("boot".into()), since_boot_ms: 0 };
        let change = generation::Apply {
            mode: generation::Mode::Auto,
            base: index.base(),
            needs_reboot: false,
            undo_needs_reboot: false,
            needs_confirmation: false,
            timeout_s: 60,
            author: String::new(),
            created_s: 0,
        };
        index.step(&now, generation::Event::Apply(change)).unwrap();
        index.step(&now, generation::Event::GatePassed { generation: Generation(2) }).unwrap();
        index
    }

    #[test]
    fn a_damaged_generation_is_replaced_by_the_one_before_it() {
        let state = tempfile::tempdir().unwrap();
        let store = GenerationStore::at(state.path());
        let index = index();
        assert!(load_best(&store, &index, index.confirmed()).is_err());
        store.save(Generation(1), &text("one")).unwrap();
        store.save(Generation(2), &text("two")).unwrap();
        let running = load_best(&store, &index, index.confirmed()).unwrap();
        assert_eq!((running.generation, running.damage), (Generation(2), None));
        let path = state.path().join("config/generations").join(Generation(2).file_name());
        std::fs::write(path, "kind: Machine\n").unwrap();
        let running = load_best(&store, &index, index.confirmed()).unwrap();
        assert_eq!(running.config.hostname.as_deref(), Some("one"));
        assert_eq!(
            running.damage.as_deref(),
            Some("generation 2 cannot be read: generation 2 is damaged on the disk")
        );
    }
}

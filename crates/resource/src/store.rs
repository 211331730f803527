//! The store: the present resources and a bounded history of their changes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde_json::Value;

use crate::{Kind, Spec};

/// Most changes that the history keeps. A watcher that falls further behind must list again; a busy node
/// makes some tens of changes a second, so this is some seconds of slack at about 100 KiB.
pub const HISTORY_MAX: usize = 256;

/// One resource at one version.
#[derive(Debug, PartialEq)]
pub struct Resource {
    /// Its kind.
    pub kind: &'static Kind,
    /// Unique among its kind.
    pub id: String,
    /// Version of the store at its last change.
    pub version: u64,
    /// Time of its last change, in milliseconds since 1970.
    pub updated_ms: u64,
    /// The spec as JSON.
    pub spec: Value,
}

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeType {
    /// It is new.
    Added,
    /// Its spec changed.
    Modified,
    /// It is gone; the change holds the last known spec.
    Removed,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What happened.
    pub change: ChangeType,
    /// Version of the store after it.
    pub version: u64,
    /// The resource after the change, or before its removal.
    pub resource: Arc<Resource>,
}

/// Answer to [`Store::changes_since`].
#[derive(Clone, Debug, PartialEq)]
pub enum Changes {
    /// All changes since, oldest first.
    All(Vec<Change>),
    /// Some are no longer in the history: list again.
    Lost,
}

/// Why a resource is not taken.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The spec has no JSON form.
    #[error("spec of {kind} {id:?} cannot be written as JSON")]
    Encode {
        /// Name of the kind.
        kind: &'static str,
        /// Of the resource.
        id: String,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
}

/// All resources. Versions start at 1 and rise by one with each change.
#[derive(Debug, Default)]
pub struct Store {
    version: u64,
    resources: BTreeMap<(&'static str, String), Arc<Resource>>,
    history: VecDeque<Change>,
}

impl Store {
    /// Version after the last change; 0 before the first.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Adds or replaces a resource. An equal spec is no change; returns whether there was one.
    pub fn put<S: Spec>(&mut self, id: &str, spec: &S, now_ms: u64) -> Result<bool, StoreError> {
        let kind = const { &S::KIND };
        let spec = serde_json::to_value(spec)
            .map_err(|source| StoreError::Encode { kind: kind.name, id: id.to_owned(), source })?;
        let change = match self.resources.get(&(kind.name, id.to_owned())) {
            Some(present) if present.spec == spec => return Ok(false),
            Some(_) => ChangeType::Modified,
            None => ChangeType::Added,
        };
        let version = self.version + 1;
        let resource = Arc::new(Resource { kind, id: id.to_owned(), version, updated_ms: now_ms, spec });
        self.resources.insert((kind.name, id.to_owned()), Arc::clone(&resource));
        self.record(change, resource);
        Ok(true)
    }

    /// Removes a resource; returns whether it was there.
    pub fn remove<S: Spec>(&mut self, id: &str) -> bool {
        let Some(resource) = self.resources.remove(&(S::KIND.name, id.to_owned())) else {
            return false;
        };
        self.record(ChangeType::Removed, resource);
        true
    }

    /// The resource, if it exists.
    #[must_use]
    pub fn get(&self, kind: &Kind, id: &str) -> Option<Arc<Resource>> {
        self.resources.get(&(kind.name, id.to_owned())).cloned()
    }

    /// All resources of a kind, ordered by id.
    pub fn list(&self, kind: &Kind) -> impl Iterator<Item = &Arc<Resource>> + use<'_> {
        let name = kind.name;
        let first: (&'static str, String) = (name, String::new());
        self.resources.range(first..).take_while(move |((kind, _), _)| *kind == name).map(|(_, resource)| resource)
    }

    /// Everything that happened after `version`.
    #[must_use]
    pub fn changes_since(&self, version: u64) -> Changes {
        let missed = self.version.saturating_sub(version);
        let kept = self.history.len();
        match usize::try_from(missed) {
            Ok(missed) if missed <= kept => {
                Changes::All(self.history.iter().skip(kept - missed).cloned().collect())
            }
            _ => Changes::Lost,
        }
    }

    fn record(&mut self, change: ChangeType, resource: Arc<Resource>) {
        self.version += 1;
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(Change { change, version: self.version, resource });
    }
}

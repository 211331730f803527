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
        let spec = serde_json::to_value(spec).map_err(|source| StoreError::Encode {
            kind: kind.name,
            id: id.to_owned(),
            source,
        })?;
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
        self.resources
            .range(first..)
            .take_while(move |((kind, _), _)| *kind == name)
            .map(|(_, resource)| resource)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::{Link, Service};

    fn service(restarts: u32) -> Service {
        Service { restarts, ..Service::default() }
    }

    fn changes(store: &Store, version: u64) -> Vec<(ChangeType, String)> {
        match store.changes_since(version) {
            Changes::All(changes) => {
                changes.into_iter().map(|change| (change.change, change.resource.id.clone())).collect()
            }
            Changes::Lost => panic!("history lost"),
        }
    }

    #[test]
    fn an_equal_spec_is_no_change() {
        let mut store = Store::default();
        assert!(store.put("apid", &service(0), 10).unwrap());
        assert!(!store.put("apid", &service(0), 20).unwrap());
        assert_eq!(store.version(), 1);
        assert_eq!(store.get(&Service::KIND, "apid").unwrap().updated_ms, 10);
    }

    #[test]
    fn changes_come_in_order_and_a_removal_holds_the_last_spec() {
        let mut store = Store::default();
        store.put("apid", &service(0), 1).unwrap();
        store.put("apid", &service(1), 2).unwrap();
        assert!(store.remove::<Service>("apid"));
        assert!(!store.remove::<Service>("apid"));
        let Changes::All(all) = store.changes_since(0) else { panic!("history lost") };
        let kinds: Vec<ChangeType> = all.iter().map(|change| change.change).collect();
        assert_eq!(kinds, [ChangeType::Added, ChangeType::Modified, ChangeType::Removed]);
        assert_eq!(all.last().unwrap().resource.spec["restarts"], 1);
        assert_eq!(changes(&store, 2), [(ChangeType::Removed, "apid".to_owned())]);
        assert_eq!(changes(&store, 3), []);
    }

    #[test]
    fn a_listing_holds_its_own_kind_only() {
        let mut store = Store::default();
        store.put("b", &service(0), 1).unwrap();
        store.put("eth0", &Link::default(), 1).unwrap();
        store.put("a", &service(0), 1).unwrap();
        let ids: Vec<&str> = store.list(&Service::KIND).map(|resource| resource.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(store.list(&Link::KIND).count(), 1);
        assert!(store.get(&Link::KIND, "a").is_none());
    }

    #[test]
    fn the_history_is_bounded_and_says_what_it_lost() {
        let mut store = Store::default();
        let puts = u32::try_from(HISTORY_MAX).unwrap() + 1;
        for restarts in 0..puts {
            store.put("apid", &service(restarts), 0).unwrap();
        }
        assert_eq!(store.changes_since(0), Changes::Lost);
        assert_eq!(changes(&store, 1).len(), HISTORY_MAX);
    }

    #[test]
    fn a_version_from_the_future_has_no_changes() {
        let store = Store::default();
        assert_eq!(changes(&store, 7), []);
    }

    proptest! {
        /// Whoever applies the changes that follow a listing ends with what the store holds.
        #[test]
        fn a_watcher_that_keeps_up_sees_what_a_listing_shows(
            before in prop::collection::vec((0..4_u8, 0..3_u32), 0..20),
            after in prop::collection::vec((0..4_u8, 0..3_u32), 0..40),
        ) {
            let mut store = Store::default();
            apply(&mut store, &before);
            let version = store.version();
            let mut watched = listing(&store);
            apply(&mut store, &after);
            let Changes::All(all) = store.changes_since(version) else { panic!("history lost") };
            let mut last = version;
            for change in all {
                prop_assert_eq!(change.version, last + 1);
                last = change.version;
                let id = change.resource.id.clone();
                let known = watched.remove(&id);
                match change.change {
                    ChangeType::Added => prop_assert!(known.is_none()),
                    ChangeType::Modified | ChangeType::Removed => prop_assert!(known.is_some()),
                }
                if change.change != ChangeType::Removed {
                    watched.insert(id, change.resource.spec.clone());
                }
            }
            prop_assert_eq!(last, store.version());
            prop_assert_eq!(watched, listing(&store));
        }
    }

    /// Each step puts a spec under one of four ids; 0 restarts stands for a removal.
    fn apply(store: &mut Store, steps: &[(u8, u32)]) {
        for (id, restarts) in steps {
            match restarts {
                0 => drop(store.remove::<Service>(&id.to_string())),
                restarts => drop(store.put(&id.to_string(), &service(*restarts), 0).unwrap()),
            }
        }
    }

    fn listing(store: &Store) -> BTreeMap<String, Value> {
        store.list(&Service::KIND).map(|resource| (resource.id.clone(), resource.spec.clone())).collect()
    }
}

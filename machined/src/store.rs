//! The resource store as tasks share it: the pure store behind a lock, and a signal that it changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use resource::Spec;
use tokio::sync::watch;

/// A handle on the one store of the node.
#[derive(Clone)]
pub struct Store {
    resources: Arc<Mutex<resource::Store>>,
    version: Arc<watch::Sender<u64>>,
    owned: Arc<Mutex<Owned>>,
}

/// Ids by kind and owner.
type Owned = BTreeMap<(&'static str, &'static str), BTreeSet<String>>;

impl Default for Store {
    fn default() -> Self {
        Self { resources: Arc::default(), version: Arc::new(watch::Sender::new(0)), owned: Arc::default() }
    }
}

impl Store {
    /// Adds or replaces a resource.
    pub fn put<S: Spec>(&self, id: &str, spec: &S) {
        let put = self.write(|store| store.put(id, spec, now_ms()));
        if let Err(error) = put {
            tracing::error!(%error, "a resource cannot be published");
        }
    }

    /// Removes a resource.
    pub fn remove<S: Spec>(&self, id: &str) {
        self.write(|store| store.remove::<S>(id));
    }

    /// Replaces all resources of a kind.
    pub fn replace_all<S: Spec>(&self, all: impl IntoIterator<Item = (String, S)>) {
        let mut kept = BTreeSet::new();
        for (id, spec) in all {
            self.put(&id, &spec);
            kept.insert(id);
        }
        let kind = const { &S::KIND };
        let gone: Vec<String> = self.read(|store| {
            store.list(kind).map(|resource| resource.id.clone()).filter(|id| !kept.contains(id)).collect()
        });
        for id in gone {
            self.remove::<S>(&id);
        }
    }

    /// Replaces the resources of a kind that this owner published before; those of others stay.
    pub fn replace_owned<S: Spec>(&self, owner: &'static str, all: impl IntoIterator<Item = (String, S)>) {
        let mut kept = BTreeSet::new();
        for (id, spec) in all {
            self.put(&id, &spec);
            kept.insert(id);
        }
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        let former = owned.insert((const { S::KIND.name }, owner), kept.clone()).unwrap_or_default();
        for gone in former.difference(&kept) {
            self.remove::<S>(gone);
        }
    }

    /// Looks into the store; must be quick.
    pub fn read<R>(&self, look: impl FnOnce(&resource::Store) -> R) -> R {
        look(&self.resources.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notified of every change with the store's version.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn write<R>(&self, change: impl FnOnce(&mut resource::Store) -> R) -> R {
        let mut store = self.resources.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut store);
        let version = store.version();
        drop(store);
        self.version.send_if_modified(|known| std::mem::replace(known, version) != version);
        result
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use resource::spec::Service;

    use super::*;

    #[tokio::test]
    async fn changes_are_signalled_and_replacing_removes_what_is_gone() {
        let store = Store::default();
        let mut changed = store.subscribe();
        store.replace_all([("a".to_owned(), Service::default()), ("b".to_owned(), Service::default())]);
        changed.changed().await.unwrap();
        store.replace_all([("b".to_owned(), Service::default())]);
        let left: Vec<String> = store.read(|s| s.list(&Service::KIND).map(|r| r.id.clone()).collect());
        assert_eq!(left, ["b"]);
        let before = *changed.borrow_and_update();
        store.put("b", &Service::default());
        assert_eq!(*changed.borrow(), before, "an equal spec is no change");
    }

    #[test]
    fn an_owner_replaces_only_what_is_its_own() {
        let store = Store::default();
        let rows =
            |ids: &[&str]| ids.iter().map(|id| ((*id).to_owned(), Service::default())).collect::<Vec<_>>();
        store.replace_owned("one", rows(&["a", "b"]));
        store.replace_owned("other", rows(&["c"]));
        store.replace_owned("one", rows(&["b"]));
        let left: Vec<String> = store.read(|s| s.list(&Service::KIND).map(|r| r.id.clone()).collect());
        assert_eq!(left, ["b", "c"]);
    }
}

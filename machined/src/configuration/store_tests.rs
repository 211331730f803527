use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use generation::{Action, Apply, Event, Mode, Moment};

use super::*;

/// A store whose replacements fail from a certain one on, as a full or dying disk's do.
fn failing_from(state: &Path, first: usize) -> (GenerationStore, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let replace = move |path: &Path, content: &[u8]| {
        if counted.fetch_add(1, Ordering::Relaxed) < first {
            return replace_file(path, content, MODE);
        }
        Err(StorageError::Replace { path: path.to_owned(), source: ErrorKind::StorageFull.into() })
    };
    (GenerationStore::with(state, Box::new(replace)), calls)
}

fn apply(index: &mut Index) -> Vec<Action> {
    let change = Apply {
        mode: Mode::Auto,
        base: index.base(),
        needs_reboot: false,
        undo_needs_reboot: false,
        needs_confirmation: false,
        timeout_s: 60,
        author: "admin".into(),
        created_s: 0,
    };
    let now = Moment { boot: generation::BootId("boot".into()), since_boot_ms: 0 };
    index.step(&now, Event::Apply(change)).unwrap()
}

/// The first configuration, then a change to a second one.
fn change(store: &GenerationStore) -> Result<(), StoreError> {
    let mut index = Index::first("", 0);
    store.save(index.confirmed(), "first")?;
    store.save_index(&index)?;
    let second = index.next();
    apply(&mut index);
    store.save(second, "second")?;
    store.save_index(&index)
}

#[test]
fn a_failure_at_any_write_leaves_the_former_state_whole() {
    let all = {
        let state = tempfile::tempdir().unwrap();
        let (store, calls) = failing_from(state.path(), usize::MAX);
        change(&store).unwrap();
        calls.load(Ordering::Relaxed)
    };
    assert_eq!(all, 6);
    for first in 0..all {
        let state = tempfile::tempdir().unwrap();
        let outcome = change(&failing_from(state.path(), first).0);
        // The last write is that of the second index, which may fail.
        assert_eq!(outcome.is_ok(), first == all - 1, "failing from {first}");
        let store = GenerationStore::at(state.path());
        let Some(index) = store.load_index().unwrap() else {
            assert!(first < 2);
            continue;
        };
        let running = if first < 5 { "first" } else { "second" };
        assert_eq!(store.load(index.running()).unwrap(), running, "failing from {first}");
        store.sweep(&index).unwrap();
        let kept = fs::read_dir(&store.texts).unwrap().count();
        assert_eq!(kept, index.entries().len(), "what no index names is swept");
    }
}

#[test]
fn every_flipped_bit_of_a_text_is_noticed() {
    let state = tempfile::tempdir().unwrap();
    let store = GenerationStore::at(state.path());
    let generation = Generation(1);
    let text = "kind: Machine\nhostname: a\n# sha256 not the trailer\n";
    store.save(generation, text).unwrap();
    assert_eq!(store.load(generation).unwrap(), text);
    let path = store.texts.join(generation.file_name());
    let good = fs::read(&path).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bad).unwrap();
        assert!(matches!(store.load(generation), Err(StoreError::Damaged { .. })), "bit {bit}");
    }
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert!(store.load(generation).is_err(), "cut to {length}");
    }
}

#[test]
fn a_damaged_index_is_read_from_its_second_copy() {
    let state = tempfile::tempdir().unwrap();
    let store = GenerationStore::at(state.path());
    assert!(store.load_index().unwrap().is_none());
    let mut index = Index::first("", 0);
    store.save(index.confirmed(), "first").unwrap();
    apply(&mut index);
    store.save_index(&index).unwrap();
    fs::write(&store.index, "{").unwrap();
    assert_eq!(store.load_index().unwrap(), Some(index));
    fs::write(&store.second_index, "{").unwrap();
    assert!(matches!(store.load_index(), Err(StoreError::Index(_))));
}

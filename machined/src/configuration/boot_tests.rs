use std::path::Path;

use generation::{Apply, BootId, Mode, State};

use super::*;

fn text(hostname: &str) -> String {
    let ca = pki::Ca::create(&pki::SubjectName::parse("ca").unwrap(), pki::Validity::UNLIMITED).unwrap();
    let ca = ca.bundle().to_pem().replace('\n', "\n    ");
    let header = "apiVersion: cairn.dev/v1alpha1\nkind:";
    format!("{header} Api\nclientCAs:\n  - |\n    {ca}\n---\n{header} Machine\nhostname: {hostname}\n")
}

fn moment(boot: &str) -> Moment {
    Moment { boot: BootId(boot.into()), since_boot_ms: 0 }
}

fn start(state: &Path, boot: &str) -> Chosen {
    choose(&GenerationStore::at(state), &moment(boot), Slot::A, false).unwrap().unwrap()
}

/// Generation 1, and 2 as a change of these properties made in this boot.
fn changed(state: &Path, boot: &str, mode: Mode, needs_reboot: bool) {
    let store = GenerationStore::at(state);
    let Chosen { mut index, .. } = start(state, boot);
    store.save(index.next(), &text("new")).unwrap();
    let apply = Apply {
        mode,
        base: index.base(),
        needs_reboot,
        undo_needs_reboot: false,
        needs_confirmation: true,
        timeout_s: 60,
        author: "admin".into(),
        created_s: 0,
    };
    index.step(&moment(boot), Event::Apply(apply)).unwrap();
    store.save_index(&index).unwrap();
}

fn provisioned() -> tempfile::TempDir {
    let state = tempfile::tempdir().unwrap();
    found(&GenerationStore::at(state.path()), &text("old"), "", 0).unwrap();
    state
}

fn hostname(chosen: &Chosen) -> &str {
    chosen.running.config.hostname.as_deref().unwrap()
}

#[test]
fn nothing_is_not_damage_and_damage_is_not_nothing() {
    let state = tempfile::tempdir().unwrap();
    let store = GenerationStore::at(state.path());
    assert!(choose(&store, &moment("1"), Slot::A, false).unwrap().is_none());
    assert!(matches!(found(&store, "kind: Machine\n", "", 0), Err(BootError::Refused(_))));
    assert!(choose(&store, &moment("1"), Slot::A, false).unwrap().is_none());
    found(&store, &text("old"), "", 0).unwrap();
    assert_eq!(hostname(&start(state.path(), "1")), "old");
    std::fs::remove_dir_all(state.path().join("config/generations")).unwrap();
    let damaged = choose(&store, &moment("1"), Slot::A, false);
    assert!(matches!(damaged.map(|_| ()), Err(BootError::Load(_))));
}

#[test]
fn a_live_trial_survives_machined_and_no_boot() {
    let state = provisioned();
    changed(state.path(), "1", Mode::Auto, false);
    assert_eq!(hostname(&start(state.path(), "1")), "new");
    let after = start(state.path(), "2");
    assert_eq!((hostname(&after), after.reboot), ("old", false));
    assert_eq!(after.index.state(Generation(2)), Some(State::Reverted));
    assert_eq!(hostname(&start(state.path(), "2")), "old");
}

#[test]
fn a_change_by_reboot_gets_one_boot() {
    for mode in [Mode::Auto, Mode::Staged] {
        let state = provisioned();
        changed(state.path(), "1", mode, true);
        let again = start(state.path(), "1");
        assert_eq!(
            (hostname(&again), again.reboot),
            ("old", mode == Mode::Auto),
            "the reboot is ordered again"
        );
        assert_eq!(hostname(&start(state.path(), "2")), "new");
        assert_eq!(hostname(&start(state.path(), "3")), "old");
    }
}

#[test]
fn a_damaged_trial_gives_way() {
    let state = provisioned();
    changed(state.path(), "1", Mode::Staged, false);
    let path = state.path().join("config/generations").join(Generation(2).file_name());
    std::fs::write(path, "kind: Machine\n").unwrap();
    let chosen = start(state.path(), "2");
    assert_eq!(hostname(&chosen), "old");
    assert_eq!(chosen.index.running(), Generation(2), "the manager takes it back");
    assert!(chosen.running.damage.is_some());
}

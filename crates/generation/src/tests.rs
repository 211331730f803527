//! Examples of the rules, the file's form, and long random lives.

use bootstate::Slot;
use proptest::prelude::*;

use crate::{
    Action, Apply, BootId, Event, FormError, GENERATIONS_MAX, Generation, Index, Mode, Moment, Refusal,
    State, TEXT_MAX_BYTES,
};

fn at(boot: u64, since_boot_ms: u64) -> Moment {
    Moment { boot: BootId(boot.to_string()), since_boot_ms }
}

fn booted() -> Index {
    let mut index = Index::first("CN=ann", 1_700_000_000);
    boot(&mut index, 1);
    index
}

fn boot(index: &mut Index, boot: u64) -> Vec<Action> {
    index.step(&at(boot, 9_000), Event::Boot { slot: Slot::A, slot_on_trial: false }).unwrap()
}

fn change(index: &Index, mode: Mode) -> Apply {
    Apply {
        mode,
        base: index.base(),
        needs_reboot: false,
        undo_needs_reboot: false,
        needs_confirmation: false,
        timeout_s: 60,
        author: "CN=ann".to_owned(),
        created_s: 1_700_000_001,
    }
}

const TWO: Generation = Generation(2);

#[test]
fn a_change_without_risk_is_confirmed_by_its_gate() {
    let mut index = booted();
    let apply = change(&index, Mode::Auto);
    let actions = index.step(&at(1, 10_000), Event::Apply(apply)).unwrap();
    assert_eq!(actions, [Action::Persist, Action::Run(TWO)]);
    assert_eq!((index.state(TWO), index.deadline_ms()), (Some(State::Trial), Some(70_000)));
    let actions = index.step(&at(1, 11_000), Event::GatePassed { generation: TWO }).unwrap();
    assert_eq!(actions, [Action::Persist]);
    assert_eq!((index.confirmed(), index.slots().a), (TWO, Some(TWO)));
    assert_eq!(index.state(Generation(1)), Some(State::Superseded));
}

#[test]
fn an_unconfirmed_change_goes_with_its_reason_and_takes_a_number() {
    let mut index = booted();
    let apply = Apply { undo_needs_reboot: true, ..change(&index, Mode::Try) };
    index.step(&at(1, 10_000), Event::Apply(apply)).unwrap();
    assert_eq!(index.step(&at(1, 11_000), Event::GatePassed { generation: TWO }), Ok(vec![]));
    assert_eq!(index.step(&at(1, 69_999), Event::Tick), Ok(vec![]));
    let second = change(&index, Mode::Auto);
    let refused = index.step(&at(1, 11_500), Event::Apply(second)).unwrap_err();
    assert_eq!(refused, Refusal::TrialRuns { generation: TWO, left_s: 59 });
    let actions = index.step(&at(1, 70_000), Event::Tick).unwrap();
    assert_eq!(actions, [Action::Run(Generation(1)), Action::Record, Action::Reboot]);
    assert_eq!(index.entry(TWO).unwrap().reverted.as_deref(), Some("nobody confirmed it within 60 s"));
    assert_eq!((index.running(), index.base()), (Generation(1), Generation(3)));
    let next = change(&index, Mode::Auto);
    assert_eq!(index.step(&at(1, 71_000), Event::Apply(next.clone())), Err(Refusal::Rebooting));
    assert_eq!(
        boot(&mut index.clone(), 1),
        [Action::Run(Generation(1)), Action::Reboot],
        "owed until it happens"
    );
    assert_eq!(boot(&mut index, 2), [Action::Run(Generation(1)), Action::Record]);
    let replayed = Apply { base: Generation(1), ..next };
    assert_eq!(
        index.step(&at(2, 10_000), Event::Apply(replayed)),
        Err(Refusal::Base { base: Generation(1), actual: Generation(3) })
    );
}

#[test]
fn what_needs_a_reboot_lives_for_one() {
    let mut index = booted();
    let apply = Apply { needs_reboot: true, needs_confirmation: true, ..change(&index, Mode::Auto) };
    assert_eq!(
        index.clone().step(&at(1, 9_500), Event::Apply(Apply { mode: Mode::NoReboot, ..apply.clone() })),
        Err(Refusal::NeedsReboot)
    );
    let actions = index.step(&at(1, 10_000), Event::Apply(apply)).unwrap();
    assert_eq!(actions, [Action::Persist, Action::Reboot]);
    let mut restarted = index.clone();
    assert_eq!(boot(&mut restarted, 1), [Action::Run(Generation(1)), Action::Reboot]);
    assert_eq!(boot(&mut index, 2), [Action::Persist, Action::Run(TWO)]);
    assert_eq!(index.deadline_ms(), Some(69_000));
    assert_eq!(boot(&mut index.clone(), 2), [Action::Run(TWO)], "machined alone started again");
    let mut kept = index.clone();
    assert_eq!(kept.step(&at(2, 10_000), Event::Confirm { generation: TWO }), Ok(vec![Action::Persist]));
    assert_eq!(kept.confirmed(), Generation(1), "the gate has yet to pass");
    let twice = Err(Refusal::NotAwaited { generation: TWO, trial: None });
    assert_eq!(kept.step(&at(2, 10_000), Event::Confirm { generation: TWO }), twice);
    kept.step(&at(2, 10_000), Event::GatePassed { generation: TWO }).unwrap();
    assert_eq!(kept.confirmed(), TWO);
    assert_eq!(kept.step(&at(2, 10_000), Event::Confirm { generation: TWO }), twice);
    assert_eq!(boot(&mut index, 3), [Action::Run(Generation(1)), Action::Record]);
    assert_eq!(index.state(TWO), Some(State::Reverted));
}

#[test]
fn a_staged_change_starts_at_the_next_boot_unless_replaced_or_dropped() {
    let mut index = booted();
    let apply = change(&index, Mode::Staged);
    assert_eq!(index.step(&at(1, 10_000), Event::Apply(apply)), Ok(vec![Action::Persist]));
    assert_eq!((index.running(), index.state(TWO)), (Generation(1), Some(State::Staged)));
    assert_eq!(boot(&mut index.clone(), 1), [Action::Run(Generation(1))]);
    assert_eq!(boot(&mut index.clone(), 2), [Action::Persist, Action::Run(TWO)]);
    let mut dropped = index.clone();
    let rollback = Event::Rollback { base: TWO, author: "CN=bob".to_owned() };
    assert_eq!(dropped.step(&at(1, 10_000), rollback.clone()), Ok(vec![Action::Record]));
    assert_eq!(dropped.entry(TWO).unwrap().reverted.as_deref(), Some("CN=bob rolled it back"));
    assert_eq!(dropped.step(&at(1, 10_000), rollback), Err(Refusal::NothingToRollBack));
    let apply = change(&index, Mode::Auto);
    index.step(&at(1, 10_000), Event::Apply(apply)).unwrap();
    assert_eq!(index.state(TWO), Some(State::Reverted));
}

#[test]
fn each_os_slot_comes_with_its_generation() {
    let mut index = booted();
    let start = |index: &mut Index, boot, slot, slot_on_trial| {
        index.step(&at(boot, 9_000), Event::Boot { slot, slot_on_trial }).unwrap()
    };
    start(&mut index, 2, Slot::B, true);
    let apply = change(&index, Mode::Auto);
    assert_eq!(index.step(&at(2, 10_000), Event::Apply(apply)), Err(Refusal::SlotOnTrial));
    let confirmed = index.step(&at(2, 10_000), Event::SlotConfirmed { slot: Slot::B });
    assert_eq!(confirmed, Ok(vec![Action::Persist]));
    let apply = change(&index, Mode::Auto);
    index.step(&at(2, 10_000), Event::Apply(apply)).unwrap();
    index.step(&at(2, 10_000), Event::GatePassed { generation: TWO }).unwrap();
    assert_eq!(start(&mut index, 3, Slot::A, false), [Action::Run(Generation(1)), Action::Record]);
    assert_eq!((index.confirmed(), index.base()), (Generation(1), Generation(3)));
    assert_eq!(start(&mut index.clone(), 4, Slot::B, false), [Action::Run(TWO), Action::Record]);
    // Another release in slot B knows nothing of generation 2.
    start(&mut index, 4, Slot::B, true);
    assert_eq!((index.confirmed(), index.slots().b), (Generation(1), None));
}

#[test]
fn the_other_slots_generation_outlives_all_others() {
    for slot in Slot::ALL {
        let mut index = Index::first("CN=ann", 0);
        for (boot, slot) in [(1, slot), (2, slot.other())] {
            index.step(&at(boot, 9_000), Event::Boot { slot, slot_on_trial: boot == 2 }).unwrap();
            index.step(&at(boot, 9_000), Event::SlotConfirmed { slot }).unwrap();
        }
        let mut removed = Vec::new();
        for _ in 0..2 * GENERATIONS_MAX {
            let (generation, apply) = (index.next(), change(&index, Mode::Auto));
            let actions = index.step(&at(2, 10_000), Event::Apply(apply)).unwrap();
            removed.extend(actions.into_iter().filter(|action| matches!(action, Action::Remove(_))));
            index.step(&at(2, 10_000), Event::GatePassed { generation }).unwrap();
        }
        assert_eq!(index.slots().get(slot), Some(Generation(1)));
        assert_eq!((index.entries().len(), index.entries()[0].number), (GENERATIONS_MAX, Generation(1)));
        assert_eq!(removed.len(), GENERATIONS_MAX + 1);
        assert_eq!(removed[0], Action::Remove(TWO));
    }
}

#[test]
fn rot_is_noticed_and_newer_forms_are_named() {
    let text = booted().encode().unwrap();
    assert_eq!(Index::decode(&text).unwrap(), booted());
    for (from, to, expected) in [
        ("CN=ann", "CN=anm", "checksum"),
        ("\"version\":1", "\"version\":2", "form 2"),
        ("\"checksum\":\"", "\"checksum\":\"f", "checksum"),
        ("}", "", "damaged or cut off"),
    ] {
        assert!(text.contains(from), "{text}");
        let error = Index::decode(&text.replace(from, to)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut faulty = booted();
    faulty.confirmed = TWO;
    let error = Index::decode(&faulty.encode().unwrap()).unwrap_err();
    assert!(matches!(error, FormError::Inconsistent { .. }), "{error}");
}

#[test]
fn file_names_are_those_of_generations_and_no_others() {
    assert_eq!(Generation(7).file_name(), "00000007.yaml");
    assert_eq!(Generation::from_file_name("00000007.yaml"), Some(Generation(7)));
    for name in ["7.yaml", "00000007.yaml.new", "+0000007.yaml", "index.json", ".yaml"] {
        assert_eq!(Generation::from_file_name(name), None, "{name}");
    }
}

#[test]
fn long_texts_are_cut() {
    let index = Index::first(&"é".repeat(TEXT_MAX_BYTES), 0);
    assert_eq!(index.entries()[0].author.len(), TEXT_MAX_BYTES);
}

/// One step of a long life: what happens, how much later by the monotonic clock, and what the wall clock says then.
type Turn = (u8, u16, i64);

fn event(index: &Index, (kind, _, created_s): Turn) -> Option<Event> {
    let generation = index.trial().map_or(index.confirmed(), |trial| trial.generation);
    let mode = |kind| [Mode::Auto, Mode::NoReboot, Mode::Staged, Mode::Try][usize::from(kind % 4)];
    Some(match kind % 16 {
        0..8 => Event::Apply(Apply {
            created_s,
            needs_reboot: kind & 16 != 0,
            needs_confirmation: kind & 32 != 0,
            ..change(index, mode(kind))
        }),
        8..10 => Event::GatePassed { generation },
        10..12 => Event::Confirm { generation },
        12 => Event::GateFailed { generation, reason: "broken".to_owned() },
        13 => Event::Rollback { base: index.base(), author: "CN=bob".to_owned() },
        14 => Event::Tick,
        _ => return None,
    })
}

proptest! {
    #[test]
    fn a_long_life_keeps_what_it_needs(turns in prop::collection::vec(any::<Turn>(), 1..400)) {
        let mut index = booted();
        let (mut boots, mut now_ms) = (1, 10_000);
        for turn in turns {
            now_ms += u64::from(turn.1);
            let base = index.base();
            match event(&index, turn) {
                Some(event) => drop(index.step(&at(boots, now_ms), event)),
                None => {
                    (boots, now_ms) = (boots + 1, 9_000);
                    index = Index::decode(&index.encode().unwrap()).unwrap();
                    let actions = boot(&mut index, boots);
                    prop_assert!(actions.contains(&Action::Run(index.running())));
                }
            }
            prop_assert!(index.base() >= base);
            prop_assert!(index.entries().len() <= GENERATIONS_MAX);
            prop_assert_eq!(index.contradiction(), None);
            prop_assert_eq!(index.slots().a, Some(index.confirmed()));
        }
    }

    #[test]
    fn no_cut_or_flipped_file_is_taken_for_another_index(byte in 0_usize..400, flip in 1_u8..128, cut in 0_usize..400) {
        let text = booted().encode().unwrap();
        if let Some(cut) = text.trim_end().get(..cut).filter(|cut| cut.len() < text.trim_end().len()) {
            prop_assert!(Index::decode(cut).is_err());
        }
        let mut bytes = text.into_bytes();
        let length = bytes.len();
        bytes[byte % length] ^= flip;
        if let Ok(index) = Index::decode(&String::from_utf8(bytes).unwrap_or_default()) {
            prop_assert_eq!(index, booted());
        }
    }
}

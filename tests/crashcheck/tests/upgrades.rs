//! An upgrade in the right order leaves no bad state; every wrong order is found.

#![allow(missing_docs)]

mod support;

use bootstate::{BootFlags, CopyIndex, Record, Slot};
use crashcheck::{
    chain::Fault,
    recipe::{Choice, Recipe},
    region::Region,
    search::Search,
};
use support::{Machine, Small, start};

/// More than one level of the tree.
const BLOCKS: u64 = 130;

fn releases() -> [Small; 2] {
    [Small::new("1.0.0", BLOCKS, "a"), Small::new("1.1.0", BLOCKS, "a")]
}

fn trial(release: &Small) -> impl FnOnce(&mut Record) {
    |record| record.begin_trial(Slot::A, release.release(Slot::B)).unwrap()
}

#[test]
fn the_right_order_leaves_no_bad_state() {
    let [old, new] = releases();
    let mut machine = Machine::flashed(&old);
    machine.write_slot(Slot::B, &new);
    machine.flush();
    machine.record(trial(&new));
    machine.record(|record| record.confirm(Slot::B).unwrap());
    // The next release takes slot A.
    machine.write_slot(Slot::A, &Small::new("1.2.0", BLOCKS, "a"));
    machine.flush();
    let found = machine.search();
    assert_eq!(found.faults().into_iter().next(), None);
    // Sectors of two slots, and the reorderings of their two epochs: each lost, each alone.
    let sectors = 2 * (BLOCKS + 3) * 8 + 2 * 4;
    let requests = 2 * ((BLOCKS + 3) * 8 + 4).div_ceil(16);
    let states = found.states.len() as u64;
    assert!((sectors + requests..sectors + 3 * requests).contains(&states), "{states}");
    let starts = |region| {
        let first = found
            .states
            .iter()
            .find(|(recipe, found, _)| matches!(recipe, Recipe::Prefix { .. }) && *found == region);
        first.unwrap().2.starts.iter().map(|start| (start.slot, start.flags)).collect::<Vec<_>>()
    };
    assert_eq!(starts(Region::RootB), [(Slot::A, BootFlags::NONE)]);
    let on_trial = (Slot::B, BootFlags::TRIAL);
    assert_eq!(starts(Region::BootState), [on_trial, on_trial, on_trial, (Slot::A, BootFlags::NONE)]);
    assert_eq!(found.states.last().unwrap().2.starts[0].slot, Slot::B);
}

#[test]
fn a_record_before_the_data_is_found() {
    let [old, new] = releases();
    let mut machine = Machine::flashed(&old);
    machine.record(trial(&new));
    machine.write_slot(Slot::B, &new);
    machine.flush();
    assert_eq!(machine.search().faults().keys().copied().collect::<Vec<_>>(), [Fault::SlotNotWhole]);
}

#[test]
fn a_missing_flush_is_found() {
    let [old, new] = releases();
    let mut machine = Machine::flashed(&old);
    machine.write_slot(Slot::B, &new);
    machine.record(trial(&new));
    let faults = machine.search().faults();
    assert_eq!(faults.keys().copied().collect::<Vec<_>>(), [Fault::SlotNotWhole]);
    // In the order in which it was written there is nothing wrong with it.
    assert!(matches!(faults[&Fault::SlotNotWhole], Recipe::Epoch { .. }));
}

#[test]
fn both_copies_at_once_are_found() {
    let [old, new] = releases();
    let mut machine = Machine::flashed(&old);
    machine.write_slot(Slot::B, &new);
    machine.flush();
    let mut record = Record::new(old.release(Slot::A));
    record.begin_trial(Slot::A, new.release(Slot::B)).unwrap();
    for copy in CopyIndex::ALL {
        machine.write(start(&layout::BOOTSTATE) + copy.offset_bytes(), &record.encode());
    }
    let faults = machine.search().faults();
    assert_eq!(faults.keys().copied().collect::<Vec<_>>(), [Fault::RecordsLost]);
    assert!(matches!(faults[&Fault::RecordsLost], Recipe::Epoch { choice: Choice::TornRecords, .. }));
}

#[test]
fn a_write_to_the_active_slot_is_found() {
    let [old, new] = releases();
    for (partition, content, fault) in [
        (layout::ROOT_A, new.root[..512].to_vec(), Fault::NeverWhole),
        (layout::ROOT_A, new.root[new.root.len() - 4096..].to_vec(), Fault::NeverWhole),
        (layout::BOOT_A, vec![0xff; 512], Fault::NothingStarts),
        (layout::ESP, vec![0xff; 512], Fault::SelectorTouched),
    ] {
        let mut machine = Machine::flashed(&old);
        machine.write(start(&partition), &content);
        let faults = machine.search().faults();
        assert_eq!(faults.keys().copied().collect::<Vec<_>>(), [fault], "{}", partition.name);
        assert!(fault.is_unbootable());
    }
}

#[test]
fn a_root_that_another_uki_names_is_found() {
    let [old, new] = releases();
    let mut machine = Machine::flashed(&old);
    machine.write_slot(Slot::B, &new);
    machine.write(start(&layout::ROOT_B), &old.root);
    machine.flush();
    machine.record(trial(&new));
    assert_eq!(machine.search().faults().keys().copied().collect::<Vec<_>>(), [Fault::SlotNotWhole]);
}

#[test]
fn a_provisioned_node_needs_its_state() {
    let [old, _] = releases();
    let mut machine = Machine::flashed(&old);
    machine.record(|record| record.set_provisioned([1; 32]));
    assert_eq!(machine.search().faults().keys().copied().collect::<Vec<_>>(), [Fault::StateLost]);
}

#[test]
fn a_recipe_makes_the_state_again() {
    let [old, new] = releases();
    let mut machine = Machine::flashed(&old);
    machine.record(trial(&new));
    machine.write_slot(Slot::B, &new);
    machine.flush();
    let log = machine.log();
    let found = machine.search();
    let mut kinds = std::collections::BTreeSet::new();
    for (recipe, _, verdict) in found.states.iter().step_by(29) {
        assert!(recipe.is_of(&log));
        assert_eq!(&Search::judge(&log, machine.disk(), recipe).unwrap(), verdict, "{recipe}");
        let text = recipe.to_string();
        kinds
            .insert(text.trim_start_matches(|c: char| c.is_ascii_digit() || "e-".contains(c)).chars().next());
        assert_eq!(text.parse::<Recipe>().unwrap(), *recipe);
    }
    assert!(kinds.len() >= 3, "{kinds:?}");
    assert!(found.states.iter().any(|(_, region, _)| *region == Region::RootB));
    let beyond = Recipe::Prefix { entry: log.entries().len(), sectors: 0 };
    assert!(!beyond.is_of(&log));
}

//! Power cut at any write: every state of the disk has a slot that boots, and those that are booted answer.

#![allow(missing_docs)]

mod support;

use support::{bed, folder};
use testbed::crash::{self, Effort, Recording};

/// Different states of one recording at least.
const STATES_MIN: u64 = 5000;

#[test]
fn every_disk_state_of_a_power_cut_boots() {
    let bed = bed();
    println!("crash: seed {}", bed.seed);
    let effort = if bed.long { Effort::LONG } else { Effort::CI };
    let recording = Recording::make(&bed, &folder(&bed, "crash"), effort.upgrades).unwrap();
    let report = crash::run(&bed, &recording, bed.seed, effort, &mut |line| println!("{line}")).unwrap();
    print!("{}", report.table());
    let again = format!("cargo xtask crash --recording {} --state ID", recording.folder.display());
    assert!(report.is_clean(), "again: {again}");
    assert!(report.states >= STATES_MIN);
}

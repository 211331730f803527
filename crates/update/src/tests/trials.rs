//! Trials: verdicts, and what is made of BOOTSTATE when there is none.

use bootstate::{ReleaseVersion, Slot};

use super::{Node, author, automatic, request};
use crate::{
    Action, Allow, BootId, Event, Goal, Outcome, Phase, Refusal, Request, TRIALS_MAX, Task, Unsuitable,
    Upgrade, fixture,
};

#[test]
fn a_release_whose_gate_failed_is_refused_until_a_request_allows_it() {
    let mut node = Node::new();
    node.arm(request(1), 1);
    node.boots(Slot::B, 1);
    let actions = node.answer(|task| Event::GateFailed { task, reason: "no pods".to_owned() });
    assert!(matches!(actions[..], [Action::Note, Action::EndTrial { slot: Slot::B, .. }]));
    assert_eq!(node.record(|record| record.fail(Slot::B)), [Action::Reboot]);
    assert_eq!(node.machined_starts(), [Action::Note, Action::Reboot], "machined ended before it");
    assert_eq!(node.boots(Slot::A, 0), [Action::Note]);
    assert_eq!((node.phase(), node.outcome()), (None, Outcome::Failed));
    let version = fixture::version(1);
    let before = Unsuitable::FailedBefore { version, reason: "no pods".to_owned() };
    assert_eq!(node.refusal(request(1)), before);
    let newest = Request { version: ReleaseVersion::UNKNOWN, ..request(0) };
    node.request(newest).unwrap();
    node.resolved(1);
    assert_eq!(node.outcome(), Outcome::Stopped);
    let leave = Allow { failed: true, ..Allow::default() };
    node.arm(Request { allow: leave, ..request(1) }, 1);
    node.boots(Slot::B, 1);
    node.answer(|task| Event::GatePassed { task });
    node.record(|record| record.confirm(Slot::B));
    assert_eq!(node.upgrade.failed(), []);
}

#[test]
fn a_gate_that_never_ends_is_ended() {
    let mut node = Node::new();
    node.arm(request(1), 1);
    node.boots(Slot::B, 1);
    assert_eq!(node.upgrade.wake_ms(&node.now), Some(320_000));
    assert_eq!(node.step(Event::Tick), Ok(vec![]));
    let stale = Event::GatePassed { task: Task(node.upgrade.task.0 - 1) };
    assert_eq!(node.step(stale), Ok(vec![]));
    node.now.since_boot_ms = 320_000;
    let actions = node.step(Event::Tick).unwrap();
    assert!(matches!(actions[..], [Action::Note, Action::EndTrial { slot: Slot::B, .. }]));
    // BOOTSTATE cannot be written: the tries run out instead, without another gate.
    let refused = |task| Event::RecordFailed { task, reason: "the disk refuses".to_owned() };
    assert_eq!(node.answer(refused), [Action::Reboot]);
    let actions = node.boots(Slot::B, 1);
    assert!(matches!(actions[..], [Action::Note, Action::EndTrial { slot: Slot::B, .. }]));
}

#[test]
fn a_late_start_leaves_the_gate_until_before_the_deadline_of_init() {
    let mut node = Node::new();
    node.arm(request(1), 1);
    node.boots(Slot::B, 1);
    node.now.since_boot_ms = 500_000;
    node.upgrade.enter(Phase::Confirming);
    let actions = node.machined_starts();
    assert!(
        matches!(actions[..], [Action::Note, Action::StartGate { deadline_ms: 570_000, .. }]),
        "{actions:?}"
    );
}

#[test]
fn without_a_verdict_an_admins_release_is_tried_again_and_at_last_counts_as_failed() {
    let mut node = Node::new();
    node.arm(request(1), 1);
    for trial in 1..=TRIALS_MAX {
        node.tries_run_out();
        assert_eq!(node.boots(Slot::A, 0), [Action::Note]);
        if trial == TRIALS_MAX {
            break;
        }
        assert_eq!((node.phase(), node.outcome()), (Some(&Phase::BackingOff), Outcome::NoVerdict));
        let wake_ms = node.upgrade.wake_ms(&node.now).unwrap();
        let pause_s = [1, 2, 4, 8, 16, 24][trial as usize - 1] * 3600;
        assert_eq!(wake_ms, node.now.since_boot_ms + pause_s * 1000);
        assert_eq!(node.step(Event::Tick), Ok(vec![]));
        assert_eq!(node.machined_starts(), []);
        node.now.now_s += pause_s;
        let actions = node.step(Event::Tick).unwrap();
        assert!(matches!(actions[..], [Action::Verify { .. }]));
        let actions = node.verified();
        let [Action::Persist, Action::BeginTrial { release, .. }] = actions[..] else {
            panic!("{actions:?}")
        };
        node.record(|record| record.begin_trial(Slot::A, release));
    }
    assert_eq!((node.phase(), node.outcome()), (None, Outcome::Failed));
    assert!(node.upgrade.failure(&fixture::version(1)).is_some());
}

#[test]
fn without_a_verdict_an_automatic_release_is_left_to_the_policy() {
    let mut node = Node::new();
    node.arm(automatic(1, None), 1);
    node.tries_run_out();
    node.boots(Slot::A, 0);
    assert_eq!((node.phase(), node.outcome()), (None, Outcome::NoVerdict));
    assert_eq!(node.upgrade.deferred_until_s(&fixture::version(1)), Some(node.now.now_s + 3600));
}

#[test]
fn a_trial_that_the_selector_passed_over_is_taken_back_and_put_off() {
    let since = BootId("0".to_owned());
    for phase in [
        Phase::Arming { since: since.clone() },
        Phase::Staged { since: since.clone() },
        Phase::Rebooting { since },
        Phase::Confirming,
    ] {
        let mut node = Node::new();
        node.arm(request(1), 1);
        node.upgrade.enter(phase);
        let actions = node.boots(Slot::A, 0);
        assert!(matches!(actions[..], [Action::Note, Action::EndTrial { slot: Slot::B, .. }]), "{actions:?}");
        assert_eq!(node.record(|record| record.fail(Slot::B)), [Action::Note]);
        assert_eq!((node.phase(), node.outcome()), (Some(&Phase::BackingOff), Outcome::NoVerdict));
        assert_eq!(node.upgrade.failed(), []);
    }
}

#[test]
fn a_trial_that_nobody_remembers_is_judged() {
    let mut node = Node::new();
    node.arm(request(1), 1);
    node.upgrade = Upgrade::new();
    let actions = node.boots(Slot::B, 1);
    assert!(matches!(actions[..], [Action::Note, Action::StartGate { .. }]));
    assert_eq!(node.upgrade.work().unwrap().goal, Goal::Found);
    node.answer(|task| Event::GateFailed { task, reason: "no pods".to_owned() });
    node.record(|record| record.fail(Slot::B));
    node.boots(Slot::A, 0);
    assert!(node.upgrade.failure(&fixture::version(1)).is_some());
}

#[test]
fn a_confirmation_that_only_bootstate_knows_counts() {
    let mut node = Node::new();
    node.arm(request(2), 2);
    node.boots(Slot::B, 2);
    node.answer(|task| Event::GatePassed { task });
    node.record.confirm(Slot::B).unwrap();
    assert_eq!(node.boots(Slot::B, 2), [Action::Note, Action::RaiseFloor(fixture::version(0))]);
    assert_eq!((node.phase(), node.outcome()), (None, Outcome::Confirmed));
    assert_eq!(node.upgrade.floor(), fixture::version(1));
}

#[test]
fn the_floor_follows_as_far_as_both_slots_allow() {
    let mut node = Node::new();
    node.arm(request(2), 2);
    node.boots(Slot::B, 2);
    node.answer(|task| Event::GatePassed { task });
    let actions = node.record(|record| record.confirm(Slot::B));
    assert_eq!(actions, [Action::Note, Action::RaiseFloor(fixture::version(0))]);
    let version = fixture::version(0);
    let allow = Allow { downgrade: true, failed: true, ..Allow::default() };
    let below = Unsuitable::BelowFloor { version, floor: fixture::version(1) };
    assert_eq!(node.refusal(Request { allow, ..request(0) }), below);
    node.arm(request(3), 3);
    node.boots(Slot::A, 3);
    node.answer(|task| Event::GatePassed { task });
    let actions = node.record(|record| record.confirm(Slot::A));
    assert_eq!(actions, [Action::Note, Action::RaiseFloor(fixture::version(1))]);
}

/// Else the node would go on in a slot that failed, and write its next release over the one that works.
#[test]
fn a_verdict_that_only_bootstate_knows_leads_back_as_well() {
    let mut node = Node::new();
    node.arm(request(1), 1);
    node.boots(Slot::B, 1);
    node.record.fail(Slot::B).unwrap();
    for state in [node.upgrade.clone(), Upgrade::new()] {
        node.upgrade = state;
        assert_eq!(node.machined_starts(), [Action::Note, Action::Reboot]);
        assert_eq!(node.request(request(2)), Err(Refusal::Rebooting));
    }
    node.boots(Slot::A, 0);
    assert!(node.upgrade.failure(&fixture::version(1)).is_some());
}

#[test]
fn a_trial_that_bootstate_did_not_take_for_sure_is_taken_back() {
    let mut node = Node::new();
    node.fetch(request(1), 1);
    let refused = |task| Event::RecordFailed { task, reason: "the disk refuses".to_owned() };
    let actions = node.answer(refused);
    assert!(matches!(actions[..], [Action::Note, Action::EndTrial { slot: Slot::B, .. }]));
    node.record(|_| Ok(()));
    assert_eq!((node.phase(), node.outcome()), (None, Outcome::Stopped));
    assert_eq!(node.upgrade.last().unwrap().reason, "the disk refuses");
}

#[test]
fn back_to_the_other_slot_by_a_trial_and_not_again_to_what_was_left() {
    let mut node = Node::new();
    let rollback = || Event::Rollback { author: author() };
    assert_eq!(node.step(rollback()), Err(Refusal::NothingToReturnTo { slot: Slot::B }));
    node.arm(request(1), 1);
    node.boots(Slot::B, 1);
    node.answer(|task| Event::GatePassed { task });
    node.record(|record| record.confirm(Slot::B));

    let actions = node.step(rollback()).unwrap();
    let [Action::Persist, Action::Verify { target, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((target.slot, target.version, &target.manifest), (Slot::A, fixture::version(0), &None));
    let actions = node.verified();
    let [Action::Persist, Action::BeginTrial { release, .. }] = actions[..] else { panic!("{actions:?}") };
    node.record(|record| record.begin_trial(Slot::B, release));
    node.boots(Slot::A, 0);
    assert!(node.upgrade.is_returning());
    node.answer(|task| Event::GatePassed { task });
    node.record(|record| record.confirm(Slot::A));
    assert_eq!(node.outcome(), Outcome::Confirmed);
    assert_eq!(node.upgrade.failure(&fixture::version(1)).unwrap().reason, "admin went back from it");
}

#[test]
fn an_admin_rolls_a_trial_back() {
    let mut node = Node::new();
    node.arm(request(1), 1);
    assert_eq!(node.step(Event::Rollback { author: author() }), Err(Refusal::Rebooting));
    node.boots(Slot::B, 1);
    let actions = node.step(Event::Rollback { author: author() }).unwrap();
    assert!(matches!(actions[..], [Action::Note, Action::EndTrial { slot: Slot::B, .. }]));
    node.record(|record| record.fail(Slot::B));
    node.boots(Slot::A, 0);
    assert_eq!(node.upgrade.failure(&fixture::version(1)).unwrap().reason, "admin rolled it back");
}

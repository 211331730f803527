//! Exhaustive check: every state that power cuts, torn writes, rot and the running node can lead to.
//!
//! A breadth-first search drives the real code with the real limits. Abstracted are only names: sequence
//! numbers to "newer" and "older", digests to the smallest distinct numbers. The rollback floor and reserved
//! bytes take no part; property tests cover them.

use crate::choose::{Recording, Ukis, choose};
use crate::copies::Copies;
use crate::flags::BootFlags;
use crate::record::{DiskId, PerSlot, Provisioning, Record, Release, Slot, SlotRecord, SlotState, Uki};
use crate::version::ReleaseVersion;
use crate::{BOOTS_MAX, TRIAL_TRIES};
use std::collections::{HashMap, HashSet, VecDeque};
use std::vec;
use std::vec::Vec;

/// How far the search goes.
#[derive(Clone, Copy)]
struct Scope {
    /// Strikes of rot on the record in one run, besides the copies that a cut write tears.
    record_rots_max: u8,
    /// Starts that are told apart below [`BOOTS_MAX`]. Only reaching the limit has a meaning, so fewer are the
    /// same machine with a smaller limit.
    boots_counted: u8,
}

/// A digest that nothing in the present state has.
const FRESH: u8 = 9;

/// What a UKI partition holds: a UKI with this digest, or nothing that even looks like one.
type Content = Option<u8>;

/// A record without the names that do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Facts {
    active: Slot,
    provisioning: Provisioning,
    has_disk_id: bool,
    slots: PerSlot<SlotFacts>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SlotFacts {
    state: SlotState,
    boots_since_alive: u8,
    digest: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Without power, or in the firmware.
    Off,
    Running {
        slot: Slot,
        trial: bool,
    },
}

/// What the invariants need to know about the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct History {
    /// Both copies have said so.
    provisioned: bool,
    trial_starts: u8,
    record_rots: u8,
    slot_rotted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    newer: Option<Facts>,
    older: Option<Facts>,
    contents: PerSlot<Content>,
    phase: Phase,
    history: History,
}

impl Facts {
    fn of(record: &Record) -> Self {
        let slot = |slot| {
            let record = record.slot(slot);
            SlotFacts {
                state: record.state,
                boots_since_alive: record.boots_since_alive,
                digest: record.release.uki.sha256[0],
            }
        };
        Self {
            active: record.active,
            provisioning: record.provisioning,
            has_disk_id: !record.disk_id.is_unset(),
            slots: PerSlot { a: slot(Slot::A), b: slot(Slot::B) },
        }
    }

    fn record(&self, sequence: u64) -> Record {
        let slot = |slot| {
            let facts = self.slots.get(slot);
            SlotRecord {
                release: release(facts.digest),
                state: facts.state,
                boots_since_alive: facts.boots_since_alive,
                ..SlotRecord::EMPTY
            }
        };
        Record {
            sequence,
            disk_id: DiskId([u8::from(self.has_disk_id); 16]),
            provisioning: self.provisioning,
            active: self.active,
            slots: PerSlot { a: slot(Slot::A), b: slot(Slot::B) },
            rollback_floor: ReleaseVersion::UNKNOWN,
            reserved: [0; 120],
        }
    }
}

fn release(digest: u8) -> Release {
    Release { version: ReleaseVersion::UNKNOWN, uki: Uki { length_bytes: 1, sha256: [digest; 32] } }
}

/// The partitions, less the slot that would not start.
struct Partitions {
    contents: PerSlot<Content>,
    unusable: Option<Slot>,
}

impl Ukis for Partitions {
    fn holds(&mut self, slot: Slot, uki: &Uki) -> bool {
        self.unusable != Some(slot) && *self.contents.get(slot) == Some(uki.sha256[0])
    }

    fn discover(&mut self, slot: Slot) -> Option<Uki> {
        self.contents.get(slot).map(|digest| release(digest).uki)
    }
}

impl State {
    /// A freshly flashed disk.
    fn initial() -> Self {
        let facts = Facts::of(&Record::new(release(1)));
        Self {
            newer: Some(facts),
            older: Some(facts),
            contents: PerSlot { a: Some(1), b: None },
            phase: Phase::Off,
            history: History::default(),
        }
    }

    fn copies(&self) -> Copies {
        Copies {
            first: self.newer.map(|facts| facts.record(2)),
            second: self.older.map(|facts| facts.record(1)),
        }
    }

    /// The same state with these copies.
    fn with(mut self, copies: &Copies) -> Self {
        self.newer = copies.current().map(Facts::of);
        let is_older = |copy: &&Record| Some(copy.sequence) != copies.current().map(Record::sequence);
        self.older = [&copies.first, &copies.second].into_iter().flatten().find(is_older).map(Facts::of);
        self
    }

    /// The same state under its simplest names, with its history brought up to date.
    fn renamed(mut self) -> Self {
        for slot in Slot::ALL {
            let mut names: Vec<u8> = vec![];
            let mut rename = |digest: &mut u8| {
                let known = names.iter().position(|name| name == digest);
                let position = known.unwrap_or_else(|| {
                    names.push(*digest);
                    names.len() - 1
                });
                *digest = u8::try_from(position).unwrap() + 1;
            };
            for facts in [&mut self.newer, &mut self.older].into_iter().flatten() {
                rename(&mut facts.slots.get_mut(slot).digest);
            }
            if let Some(digest) = self.contents.get_mut(slot) {
                rename(digest);
            }
        }
        let provisioned = |facts: &Facts| facts.provisioning != Provisioning::Never;
        let settled =
            self.newer.as_ref().is_some_and(provisioned) && self.older.as_ref().is_some_and(provisioned);
        self.history.provisioned |= settled;
        self
    }

    fn with_content(mut self, slot: Slot, content: Content) -> Self {
        *self.contents.get_mut(slot) = content;
        self
    }

    fn off(mut self) -> Self {
        self.phase = Phase::Off;
        self
    }

    /// All that a write of `next` can lead to: `then` when it was completed, and power cuts in and after each
    /// block.
    fn writing(&self, next: Record, then: impl FnOnce(Self) -> Self) -> Vec<Self> {
        let mut copies = self.copies();
        let mut states = vec![];
        for write in copies.clone().plan(next) {
            let mut torn = copies.clone();
            match write.copy {
                crate::CopyIndex::First => torn.first = None,
                crate::CopyIndex::Second => torn.second = None,
            }
            assert!(
                torn.current().is_some() || copies.current().is_none(),
                "a write risked the only intact copy"
            );
            states.push(self.off().with(&torn));
            copies.written(write);
            states.push(self.off().with(&copies));
        }
        assert!(!copies.is_damaged(), "a completed write left a damaged copy");
        states.push(then(self.with(&copies)));
        states
    }

    fn successors(&self, scope: Scope) -> Vec<Self> {
        let mut states = match self.phase {
            Phase::Off => self.booting(None),
            Phase::Running { slot, trial } => self.running(slot, trial),
        };
        states.extend(self.rotting(scope));
        states.into_iter().map(|state| state.without_the_irrelevant(scope)).collect()
    }

    /// Drops what makes no difference. Once no copy can rot any more, the older one never comes into force: of it
    /// only counts whether it is there, and which of the newer one's lasting facts it lacks.
    fn without_the_irrelevant(mut self, scope: Scope) -> Self {
        for facts in [&mut self.newer, &mut self.older].into_iter().flatten() {
            for slot in [&mut facts.slots.a, &mut facts.slots.b] {
                slot.boots_since_alive = slot.boots_since_alive.max(BOOTS_MAX - scope.boots_counted);
            }
        }
        if let (Some(newer), Some(older)) = (self.newer, &mut self.older)
            && self.history.record_rots == scope.record_rots_max
        {
            *older = Facts { provisioning: older.provisioning, has_disk_id: older.has_disk_id, ..newer };
        }
        self.renamed()
    }

    /// The selector at work; with `unusable`, again after that slot did not start.
    fn booting(&self, unusable: Option<Slot>) -> Vec<Self> {
        let mut states = vec![];
        for recording in [Recording::Possible, Recording::Impossible] {
            let mut partitions = Partitions { contents: self.contents, unusable };
            let Some(mut plan) = choose(&self.copies(), &mut partitions, recording) else {
                assert!(self.history.slot_rotted || unusable.is_some(), "an intact slot was not started");
                continue;
            };
            let trial = plan.flags.contains(BootFlags::TRIAL);
            let running = |mut state: Self| {
                state.phase = Phase::Running { slot: plan.slot, trial };
                state.history.trial_starts += u8::from(trial);
                state
            };
            if recording == Recording::Impossible {
                states.push(running(*self));
                continue;
            }
            plan.record.set_disk_id(DiskId([1; 16]));
            let written = self.writing(plan.record, running);
            if let (None, Some(started)) = (unusable, written.last()) {
                states.extend(started.off().booting(Some(plan.slot)));
            }
            states.extend(written);
        }
        states
    }

    /// The node at work.
    fn running(&self, slot: Slot, trial: bool) -> Vec<Self> {
        let mut states = vec![self.off()];
        let copies = self.copies();
        let Some(record) = copies.current() else { return states };
        let after = |change: &dyn Fn(&mut Record)| {
            let mut record = record.clone();
            change(&mut record);
            record
        };
        states.extend(self.writing(after(&|record| record.mark_alive(slot)), |state| state));
        states.extend(self.writing(after(&|record| record.set_provisioned([1; 32])), |state| state));
        let mut confirmed = record.clone();
        if confirmed.confirm(slot).is_ok() {
            states.extend(self.writing(confirmed, |mut state| {
                state.phase = Phase::Running { slot, trial: false };
                state
            }));
        }
        if trial && matches!(record.slot(slot).state(), SlotState::Trial { .. }) {
            states.extend(self.writing(after(&|record| record.fail(slot).unwrap()), Self::off));
        }
        if let Ok(target) = record.trial_target(slot, &ReleaseVersion::UNKNOWN) {
            assert_ne!(target, slot);
            let begin = after(&|record| record.begin_trial(slot, release(FRESH)).unwrap());
            let half_written = [None, Some(FRESH)].map(|content| self.with_content(target, content));
            states.extend(half_written);
            let mut written = self.with_content(target, Some(FRESH));
            written.history.trial_starts = 0;
            states.push(written.off());
            states.extend(written.writing(begin, |state| state));
        }
        states
    }

    /// Blocks go bad at any time.
    fn rotting(&self, scope: Scope) -> Vec<Self> {
        let mut states = vec![];
        if self.history.record_rots < scope.record_rots_max {
            let mut rotted = *self;
            rotted.history.record_rots += 1;
            states.push(State { newer: rotted.older, older: None, ..rotted });
            states.push(State { older: None, ..rotted });
            states.push(State { newer: None, older: None, ..rotted });
        }
        if !self.history.slot_rotted {
            for slot in Slot::ALL {
                let mut rotted = *self;
                rotted.history.slot_rotted = true;
                states.extend([None, Some(FRESH)].map(|content| rotted.with_content(slot, content)));
            }
        }
        states
    }

    fn check(&self) {
        let History { provisioned, trial_starts, record_rots, .. } = self.history;
        let forgot = |facts: Facts| facts.provisioning == Provisioning::Never;
        assert!(!(provisioned && self.newer.is_some_and(forgot)), "a provisioned node forgot that it is");
        assert!(trial_starts <= TRIAL_TRIES + record_rots, "a trial was started {trial_starts} times");
        if record_rots == 0 {
            assert!(self.newer.is_some(), "both copies lost without rot");
        }
    }

    /// However often the node dies before it comes alive: every slot that its record vouches for gets its turn.
    fn check_turns(&self) {
        let mut state = self.off();
        let mut waiting: Vec<Slot> = Slot::ALL.into_iter().filter(|slot| self.vouches_for(*slot)).collect();
        for _ in 0..TRIAL_TRIES + 2 * BOOTS_MAX + 1 {
            if waiting.is_empty() {
                return;
            }
            let mut partitions = Partitions { contents: state.contents, unusable: None };
            let plan = choose(&state.copies(), &mut partitions, Recording::Possible);
            let plan = plan.expect("an intact slot starts");
            waiting.retain(|slot| *slot != plan.slot);
            state.newer = Some(Facts::of(&plan.record));
        }
        panic!("slots {waiting:?} are intact and never start");
    }

    fn vouches_for(&self, slot: Slot) -> bool {
        let content = *self.contents.get(slot);
        match &self.newer {
            Some(facts) => {
                let facts = facts.slots.get(slot);
                facts.state != SlotState::Empty && content == Some(facts.digest)
            }
            None => content.is_some(),
        }
    }
}

/// One strike of rot on the record, which may take both copies; a limit of two starts.
#[test]
fn every_reachable_state_is_sound() {
    assert_eq!(
        explore(Scope { record_rots_max: 1, boots_counted: 2 }),
        Explored { states: 407_146, transitions: 5_228_732 }
    );
}

/// Two strikes, anywhere in time, and the limits of real nodes.
#[test]
#[ignore = "long form: a minute with optimisation"]
fn every_reachable_state_is_sound_under_repeated_rot() {
    assert_eq!(
        explore(Scope { record_rots_max: 2, boots_counted: BOOTS_MAX }),
        Explored { states: 4_500_686, transitions: 59_873_739 }
    );
}

#[derive(Debug, PartialEq, Eq)]
struct Explored {
    states: usize,
    transitions: usize,
}

fn explore(scope: Scope) -> Explored {
    let initial = State::initial().without_the_irrelevant(scope);
    let mut origins = HashMap::from([(initial, initial)]);
    let mut turns_checked = HashSet::new();
    let mut queue = VecDeque::from([initial]);
    let mut transitions = 0;
    while let Some(state) = queue.pop_front() {
        let trace = Trace { origins: &origins, state };
        state.check();
        if turns_checked.insert((state.newer, state.contents)) {
            state.check_turns();
        }
        let successors = state.successors(scope);
        drop(trace);
        for next in successors {
            transitions += 1;
            origins.entry(next).or_insert_with(|| {
                queue.push_back(next);
                state
            });
        }
    }
    Explored { states: origins.len(), transitions }
}

/// Tells, when a check fails, how the state came about.
struct Trace<'a> {
    origins: &'a HashMap<State, State>,
    state: State,
}

impl Drop for Trace<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut path = vec![self.state];
        while let Some(origin) = path.last().and_then(|state| self.origins.get(state))
            && path.last() != Some(origin)
        {
            path.push(*origin);
        }
        for state in path.iter().rev() {
            std::eprintln!("{state:?}");
        }
    }
}

//! Exhaustive check: every state that requests, gates, deadlines, crashes, power cuts, failing writes and OS slots
//! can lead to, up to a bounded number of each.
//!
//! A breadth-first search drives the real code with the real limits. The executor is the world's: it does one action
//! at a time, a run takes two steps, and machined or the power may end between any two.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    rc::Rc,
};

use bootstate::Slot;

use crate::{
    Action, Apply, BootId, Event, GENERATIONS_MAX, Generation, Index, Mode, Moment, Phase, State,
    TRIAL_MIN_S, index::Entry,
};

/// How much may happen in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Budget {
    applies: u8,
    boots: u8,
    crashes: u8,
    failing_writes: u8,
    slot_changes: u8,
}

/// What an outcome must be justified by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct History {
    /// Confirmed by an index that was, or may have been, written.
    ever_confirmed: BTreeSet<Generation>,
    /// The boot in which an unconfirmed generation ran.
    ran_in: BTreeMap<Generation, u8>,
    needs_admin: BTreeSet<Generation>,
    admin_confirmed: BTreeSet<Generation>,
    gate_passed: BTreeSet<Generation>,
}

/// machined's memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Memory {
    index: Index,
    /// The index as it is once the actions are done, and those.
    step: Option<(Index, VecDeque<Action>)>,
    /// The step is that of a boot.
    booting: bool,
    /// What the node runs; `None` in the middle of a run.
    runs: Option<Generation>,
    running_to: Option<Generation>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    disk: Index,
    files: BTreeSet<Generation>,
    memory: Option<Memory>,
    boot: u8,
    time_ms: u64,
    slot: Slot,
    slot_on_trial: bool,
    budget: Budget,
    history: History,
}

impl World {
    fn start(budget: Budget) -> Self {
        let mut disk = Index::first("admin", 0);
        // Full, so that each further generation displaces one.
        for number in 2..=GENERATIONS_MAX as u64 {
            let entry =
                Entry { number: Generation(number), created_s: 0, author: String::new(), reverted: None };
            disk.entries.push(entry);
            disk.confirmed = Generation(number);
            disk.next = Generation(number + 1);
        }
        let files = disk.entries.iter().map(|entry| entry.number).collect();
        let history = History { ever_confirmed: BTreeSet::from([disk.confirmed]), ..History::default() };
        let (slot, memory) = (Slot::A, None);
        Self { disk, files, memory, boot: 0, time_ms: 0, slot, slot_on_trial: false, budget, history }
    }

    fn now(&self) -> Moment {
        Moment { boot: BootId(self.boot.to_string()), since_boot_ms: self.time_ms }
    }

    /// Every world that can come next.
    fn successors(&self) -> Vec<Self> {
        let mut next = Vec::new();
        next.extend(self.power_cut(self.slot, self.slot_on_trial));
        next.extend(self.slot_changes());
        match &self.memory {
            None => next.extend(self.machined_starts()),
            Some(memory) => {
                next.extend(self.machined_crashes());
                match (&memory.step, memory.running_to) {
                    (Some(_), _) => next.extend(self.actions(memory)),
                    (None, Some(_)) => unreachable!("a run outlived its step"),
                    (None, None) => next.extend(self.events(memory)),
                }
            }
        }
        next
    }

    fn power_cut(&self, slot: Slot, slot_on_trial: bool) -> Option<Self> {
        let mut next = self.clone();
        next.budget.boots = next.budget.boots.checked_sub(1)?;
        (next.memory, next.time_ms) = (None, 0);
        (next.slot, next.slot_on_trial) = (slot, slot_on_trial);
        next.boot += 1;
        Some(next)
    }

    fn slot_changes(&self) -> Vec<Self> {
        let Some(slot_changes) = self.budget.slot_changes.checked_sub(1) else { return Vec::new() };
        let mut world = self.clone();
        world.budget.slot_changes = slot_changes;
        let other = self.slot.other();
        [world.power_cut(other, true), world.power_cut(other, false)].into_iter().flatten().collect()
    }

    fn machined_crashes(&self) -> Option<Self> {
        let mut next = self.clone();
        next.budget.crashes = next.budget.crashes.checked_sub(1)?;
        next.memory = None;
        Some(next)
    }

    fn machined_starts(&self) -> Option<Self> {
        let mut next = self.clone();
        let disk = self.disk.clone();
        let memory = Memory { index: disk.clone(), step: None, booting: true, runs: None, running_to: None };
        next.memory = Some(memory);
        let event = Event::Boot { slot: self.slot, slot_on_trial: self.slot_on_trial };
        let next = next.with_event(event)?;
        let after = &next.memory.as_ref()?.step.as_ref()?.0;
        self.check_boot(&disk, after);
        Some(next)
    }

    /// A boot ends, resumes or starts exactly what it must.
    fn check_boot(&self, disk: &Index, after: &Index) {
        let remembered = disk.slots.get(self.slot).filter(|_| !self.slot_on_trial);
        if disk.slot != Some(self.slot) {
            let expected = remembered.unwrap_or(disk.confirmed());
            assert_eq!(after.confirmed(), expected, "not the slot's generation: {self:?}");
        }
        let now = self.now();
        let own_slot = disk.slot.is_none_or(|slot| slot == self.slot) && !self.slot_on_trial;
        let Some(trial) = &disk.trial else { return };
        let state = after.state(trial.generation);
        match &trial.phase {
            Phase::Running { boot, deadline_ms } if *boot == now.boot && now.since_boot_ms < *deadline_ms => {
                assert_eq!(state, Some(State::Trial), "a restart of machined ended a trial: {self:?}");
            }
            Phase::Running { .. } => assert_eq!(state, Some(State::Reverted), "{self:?}"),
            Phase::Rebooting { since } | Phase::Staged { since } if *since != now.boot && own_slot => {
                assert_eq!(after.running(), trial.generation, "a reboot did not start its trial: {self:?}");
            }
            Phase::Rebooting { .. } | Phase::Staged { .. } => {
                assert_ne!(after.running(), trial.generation, "{self:?}");
            }
        }
    }

    fn events(&self, memory: &Memory) -> Vec<Self> {
        let mut events = vec![
            Event::Tick,
            Event::Rollback { base: memory.index.base(), author: "admin".to_owned() },
            Event::SlotConfirmed { slot: self.slot },
        ];
        if let Some(trial) = memory.index.trial() {
            let generation = trial.generation;
            events.push(Event::Confirm { generation });
            events.push(Event::GatePassed { generation });
            events.push(Event::GateFailed { generation, reason: "broken".to_owned() });
        }
        let slot_confirmed = self.slot_on_trial && !memory.index.slot_on_trial;
        let mut next: Vec<Self> =
            slot_confirmed.then(|| Self { slot_on_trial: false, ..self.clone() }).into_iter().collect();
        next.extend(events.into_iter().filter_map(|event| self.with_event(event)));
        next.extend(self.applies(memory));
        next.extend(memory.index.deadline_ms().map(|deadline_ms| {
            let mut next = self.clone();
            next.time_ms = deadline_ms;
            next
        }));
        next
    }

    fn applies(&self, memory: &Memory) -> Vec<Self> {
        let Some(applies) = self.budget.applies.checked_sub(1) else { return Vec::new() };
        let mut next = Vec::new();
        for mode in [Mode::Auto, Mode::Staged, Mode::Try] {
            for needs_reboot in [false, true] {
                let mut world = self.clone();
                world.budget.applies = applies;
                let number = memory.index.next();
                let needs_confirmation = mode == Mode::Auto && needs_reboot;
                let apply = apply(mode, memory.index.base(), needs_reboot, needs_confirmation);
                // A number is given again when the write that named it may have failed.
                world.history.forget(number);
                if needs_confirmation || mode == Mode::Try {
                    world.history.needs_admin.insert(number);
                }
                world.files.insert(number);
                next.extend(world.with_event(Event::Apply(apply)));
            }
        }
        next
    }

    fn with_event(&self, event: Event) -> Option<Self> {
        let mut next = self.clone();
        let memory = next.memory.as_mut()?;
        memory.booting = matches!(event, Event::Boot { .. });
        let before = memory.index.clone();
        let mut after = before.clone();
        match after.step(&self.now(), event.clone()) {
            Ok(actions) => memory.step = Some((after.clone(), actions.into())),
            Err(_) => assert_eq!(before, after, "a refusal changed something"),
        }
        next.history.note(&event);
        next.check_step(&event, &before, &after);
        Some(next)
    }

    fn check_step(&self, event: &Event, before: &Index, after: &Index) {
        assert_eq!(after.contradiction(), None, "{event:?} from {before:?}");
        assert!(
            before.running() == after.running() || after.base() > before.base(),
            "another generation runs, but the base is as before: {event:?} from {before:?}"
        );
        if matches!(event, Event::Apply(_)) && before != after {
            let staged = before.trial().is_none_or(|trial| matches!(trial.phase, Phase::Staged { .. }));
            assert!(staged && !before.slot_on_trial, "{event:?} was taken during {before:?}");
        }
        if before.confirmed() != after.confirmed() && !matches!(event, Event::Boot { .. }) {
            let confirmed = after.confirmed();
            assert!(self.history.gate_passed.contains(&confirmed), "no gate passed: {self:?}");
            let by_admin = self.history.admin_confirmed.contains(&confirmed);
            assert!(by_admin || !self.history.needs_admin.contains(&confirmed), "no admin: {self:?}");
        }
        let late = after.deadline_ms().is_some_and(|deadline_ms| self.time_ms >= deadline_ms);
        assert!(!(late && matches!(event, Event::Tick | Event::Boot { .. })), "a trial outlived: {self:?}");
    }

    fn actions(&self, memory: &Memory) -> Vec<Self> {
        let Some((after, actions)) = &memory.step else { return Vec::new() };
        let Some(action) = actions.front() else { return vec![self.step_done(after)] };
        let mut done = self.clone();
        done.pop_action();
        match action {
            Action::Persist => {
                done.write(after);
                let mut next = vec![done];
                next.extend(self.write_fails(after, true));
                next
            }
            Action::Record => {
                let kept = done.clone();
                done.write(after);
                let mut next = vec![done];
                next.extend(kept.write_fails(after, false));
                next
            }
            Action::Run(generation) => vec![self.run(memory, *generation, done)],
            Action::Reboot => self.power_cut(self.slot, self.slot_on_trial).into_iter().collect(),
            Action::Remove(generation) => {
                done.files.remove(generation);
                vec![done]
            }
        }
    }

    fn pop_action(&mut self) {
        if let Some((_, actions)) = self.memory.as_mut().and_then(|memory| memory.step.as_mut()) {
            actions.pop_front();
        }
    }

    fn step_done(&self, after: &Index) -> Self {
        let mut next = self.clone();
        if let Some(memory) = &mut next.memory {
            (memory.index, memory.step) = (after.clone(), None);
            let rebooting = after.reboot_owed.is_some()
                || after.trial().is_some_and(|trial| matches!(trial.phase, Phase::Rebooting { .. }));
            assert!(rebooting || memory.runs == Some(after.running()), "{memory:?}");
        }
        next
    }

    fn write(&mut self, index: &Index) {
        let read = Index::decode(&index.encode().unwrap()).unwrap();
        assert_eq!(Index { slot_on_trial: index.slot_on_trial, ..read.clone() }, *index);
        self.disk = read;
        self.history.ever_confirmed.insert(index.confirmed());
    }

    /// The disk may have the new index or the old one; nobody can tell.
    fn write_fails(&self, after: &Index, stop: bool) -> Vec<Self> {
        let mut unwritten = self.clone();
        let Some(failing_writes) = self.budget.failing_writes.checked_sub(1) else { return Vec::new() };
        unwritten.budget.failing_writes = failing_writes;
        if stop && let Some(memory) = &mut unwritten.memory {
            memory.step = memory.booting.then(|| {
                let confirmed = memory.index.confirmed();
                (memory.index.clone(), VecDeque::from([Action::Run(confirmed)]))
            });
        }
        let mut written = unwritten.clone();
        written.write(after);
        vec![unwritten, written]
    }

    fn run(&self, memory: &Memory, generation: Generation, done: Self) -> Self {
        if memory.running_to == Some(generation) {
            let mut next = done;
            if let Some(memory) = &mut next.memory {
                (memory.runs, memory.running_to) = (Some(generation), None);
            }
            return next;
        }
        let mut next = self.clone();
        assert!(self.files.contains(&generation), "a generation without a file is run: {self:?}");
        if !self.history.ever_confirmed.contains(&generation) {
            let known = self.disk.trial().is_some_and(|trial| {
                trial.generation == generation
                    && matches!(&trial.phase, Phase::Running { boot, .. } if *boot == self.now().boot)
            });
            assert!(known, "an unconfirmed generation runs that the disk does not know: {self:?}");
            let first = *next.history.ran_in.entry(generation).or_insert(self.boot);
            assert_eq!(first, self.boot, "an unconfirmed generation ran in two boots: {self:?}");
        }
        if let Some(memory) = &mut next.memory {
            (memory.runs, memory.running_to) = (None, Some(generation));
        }
        next
    }

    /// What holds in every state.
    fn check(&self) {
        for entry in &self.disk.entries {
            assert!(
                self.files.contains(&entry.number),
                "generation {} lost its file: {self:?}",
                entry.number
            );
        }
        assert!(self.history.ever_confirmed.contains(&self.disk.confirmed()), "{self:?}");
    }
}

impl History {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Confirm { generation } => self.admin_confirmed.insert(*generation),
            Event::GatePassed { generation } => self.gate_passed.insert(*generation),
            Event::Boot { .. }
            | Event::Apply(_)
            | Event::GateFailed { .. }
            | Event::Tick
            | Event::Rollback { .. }
            | Event::SlotConfirmed { .. } => false,
        };
    }

    fn forget(&mut self, generation: Generation) {
        self.ran_in.remove(&generation);
        for set in [&mut self.needs_admin, &mut self.admin_confirmed, &mut self.gate_passed] {
            set.remove(&generation);
        }
    }
}

fn apply(mode: Mode, base: Generation, needs_reboot: bool, needs_confirmation: bool) -> Apply {
    Apply {
        mode,
        base,
        needs_reboot,
        undo_needs_reboot: mode == Mode::Try,
        needs_confirmation,
        timeout_s: TRIAL_MIN_S,
        author: "admin".to_owned(),
        created_s: 0,
    }
}

/// Explores everything within the budget; the number of states.
fn explore(budget: Budget) -> usize {
    let start = Rc::new(World::start(budget));
    let mut seen = HashSet::from([start.clone()]);
    let mut queue = VecDeque::from([start]);
    while let Some(world) = queue.pop_front() {
        world.check();
        for next in world.successors() {
            let next = Rc::new(next);
            if seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    seen.len()
}

const NOTHING: Budget = Budget { applies: 0, boots: 0, crashes: 0, failing_writes: 0, slot_changes: 0 };

fn check(name: &str, budget: Budget, states_min: usize) {
    let states = explore(budget);
    println!("{name}: {states} states");
    assert!(states >= states_min, "{name}: {states}");
}

#[test]
fn two_changes_among_power_cuts_and_crashes() {
    check("two boots", Budget { applies: 2, boots: 2, ..NOTHING }, 10_000);
    check("a boot, a crash", Budget { applies: 2, boots: 1, crashes: 1, ..NOTHING }, 10_000);
}

#[test]
fn a_change_among_failing_writes() {
    check(
        "failing writes",
        Budget { applies: 1, boots: 2, crashes: 1, failing_writes: 2, ..NOTHING },
        10_000,
    );
}

#[test]
fn a_change_among_slot_changes() {
    check("slot changes", Budget { applies: 1, boots: 3, slot_changes: 2, ..NOTHING }, 3_000);
}

#[test]
#[ignore = "minutes"]
fn more_of_everything() {
    check("more", Budget { applies: 2, boots: 3, crashes: 1, ..NOTHING }, 1_000_000);
    check("more slots", Budget { applies: 2, boots: 3, slot_changes: 2, ..NOTHING }, 100_000);
}

//! The transitions.

use bootstate::Slot;

use crate::{
    Action, Apply, Event, GENERATIONS_MAX, Generation, Index, Mode, Moment, Phase, Refusal, TRIAL_MAX_S,
    TRIAL_MIN_S, Trial,
    index::{Entry, cut},
};

impl Index {
    /// Takes an event and says what to do. After a refusal nothing has changed.
    pub fn step(&mut self, now: &Moment, event: Event) -> Result<Vec<Action>, Refusal> {
        match event {
            Event::Boot { slot, slot_on_trial } => Ok(self.boot(now, slot, slot_on_trial)),
            Event::Apply(apply) => self.apply(now, apply),
            Event::Confirm { generation } => self.admin_confirms(generation),
            Event::GatePassed { generation } => Ok(self.gate_passed(generation)),
            Event::GateFailed { generation, reason } => Ok(self.gate_failed(now, generation, &reason)),
            Event::Tick => Ok(self.tick(now)),
            Event::Rollback { base, author } => self.rollback(now, base, &author),
            Event::SlotConfirmed { slot } => Ok(self.slot_confirmed(slot)),
        }
    }

    fn apply(&mut self, now: &Moment, apply: Apply) -> Result<Vec<Action>, Refusal> {
        self.check_idle(now)?;
        self.check_base(apply.base)?;
        if apply.mode == Mode::NoReboot && apply.needs_reboot {
            return Err(Refusal::NeedsReboot);
        }
        if !(TRIAL_MIN_S..=TRIAL_MAX_S).contains(&apply.timeout_s) {
            return Err(Refusal::Timeout { timeout_s: apply.timeout_s });
        }
        let generation = self.next;
        if let Some(staged) = self.trial.take() {
            self.note_reverted(
                staged.generation,
                &format!("generation {generation} replaced it before it ran"),
            );
        }
        self.next = generation.following();
        self.trial = Some(trial(now, generation, &apply));
        self.entries.push(Entry {
            number: generation,
            created_s: apply.created_s,
            author: cut(&apply.author),
            reverted: None,
        });
        let mut actions = vec![Action::Persist];
        match (apply.mode, apply.needs_reboot) {
            (Mode::Staged, _) => {}
            (Mode::Auto | Mode::NoReboot | Mode::Try, true) => actions.push(Action::Reboot),
            (Mode::Auto | Mode::NoReboot | Mode::Try, false) => actions.push(Action::Run(generation)),
        }
        actions.extend(self.prune().into_iter().map(Action::Remove));
        Ok(actions)
    }

    /// Refuses while something is under way that must come to its end first.
    fn check_idle(&self, now: &Moment) -> Result<(), Refusal> {
        if self.slot_on_trial {
            return Err(Refusal::SlotOnTrial);
        }
        if self.reboot_owed.is_some() {
            return Err(Refusal::Rebooting);
        }
        match &self.trial {
            None | Some(Trial { phase: Phase::Staged { .. }, .. }) => Ok(()),
            Some(Trial { phase: Phase::Rebooting { .. }, .. }) => Err(Refusal::Rebooting),
            Some(Trial { phase: Phase::Running { deadline_ms, .. }, generation, .. }) => {
                let left_s = deadline_ms.saturating_sub(now.since_boot_ms).div_ceil(1000);
                Err(Refusal::TrialRuns { generation: *generation, left_s })
            }
        }
    }

    fn check_base(&self, base: Generation) -> Result<(), Refusal> {
        let actual = self.base();
        if base == actual { Ok(()) } else { Err(Refusal::Base { base, actual }) }
    }

    /// Only what waits for it, so that no confirmation does anything twice.
    fn admin_confirms(&mut self, generation: Generation) -> Result<Vec<Action>, Refusal> {
        match self.running_trial() {
            Some(trial) if trial.generation == generation && trial.awaits_admin => trial.awaits_admin = false,
            other => {
                let trial = other.filter(|trial| trial.awaits_admin).map(|trial| trial.generation);
                return Err(Refusal::NotAwaited { generation, trial });
            }
        }
        self.confirm_if_complete();
        Ok(vec![Action::Persist])
    }

    /// A result that comes late, of another generation, means nothing.
    fn gate_passed(&mut self, generation: Generation) -> Vec<Action> {
        let Some(trial) = self.running_trial().filter(|trial| trial.generation == generation) else {
            return Vec::new();
        };
        trial.awaits_gate = false;
        if self.confirm_if_complete() { vec![Action::Persist] } else { Vec::new() }
    }

    fn gate_failed(&mut self, now: &Moment, generation: Generation, reason: &str) -> Vec<Action> {
        if self.running_trial().is_some_and(|trial| trial.generation == generation) {
            self.revert(now, reason)
        } else {
            Vec::new()
        }
    }

    fn tick(&mut self, now: &Moment) -> Vec<Action> {
        match self.overdue(now) {
            Some(reason) => self.revert(now, &reason),
            None => Vec::new(),
        }
    }

    /// Why the trial must end, once its deadline has passed.
    pub(crate) fn overdue(&self, now: &Moment) -> Option<String> {
        let trial = self.trial.as_ref()?;
        let Phase::Running { deadline_ms, .. } = &trial.phase else { return None };
        if now.since_boot_ms < *deadline_ms {
            return None;
        }
        let missing =
            if trial.awaits_gate { "what it touched was not healthy" } else { "nobody confirmed it" };
        Some(format!("{missing} within {} s", trial.timeout_s))
    }

    fn rollback(&mut self, now: &Moment, base: Generation, author: &str) -> Result<Vec<Action>, Refusal> {
        if self.trial.is_none() {
            return Err(Refusal::NothingToRollBack);
        }
        self.check_base(base)?;
        Ok(self.revert(now, &format!("{author} rolled it back")))
    }

    fn slot_confirmed(&mut self, slot: Slot) -> Vec<Action> {
        self.slot_on_trial = false;
        if self.slot == Some(slot) && self.slots.get(slot) == Some(self.confirmed) {
            return Vec::new();
        }
        self.slot = Some(slot);
        self.slots.set(slot, self.confirmed);
        vec![Action::Persist]
    }

    fn running_trial(&mut self) -> Option<&mut Trial> {
        self.trial.as_mut().filter(|trial| matches!(trial.phase, Phase::Running { .. }))
    }

    fn confirm_if_complete(&mut self) -> bool {
        let Some(trial) = self.trial.take_if(|trial| !trial.awaits_admin && !trial.awaits_gate) else {
            return false;
        };
        self.confirmed = trial.generation;
        if let Some(slot) = self.slot {
            self.slots.set(slot, trial.generation);
        }
        true
    }

    /// Takes back what is not confirmed. What ran live is undone before the index is written: the admin comes back
    /// first, and after a crash in between the deadline or the boot leads to the same end.
    pub(crate) fn revert(&mut self, now: &Moment, reason: &str) -> Vec<Action> {
        let Some(trial) = self.trial.take() else { return Vec::new() };
        self.note_reverted(trial.generation, reason);
        self.next = self.next.following();
        let here = matches!(&trial.phase, Phase::Running { boot, .. } if *boot == now.boot);
        let mut actions = Vec::new();
        if matches!(trial.phase, Phase::Running { .. }) && !(here && trial.by_reboot) {
            actions.push(Action::Run(self.confirmed));
        }
        actions.push(Action::Record);
        if here && (trial.by_reboot || trial.undo_needs_reboot) {
            self.reboot_owed = Some(now.boot.clone());
            actions.push(Action::Reboot);
        }
        actions
    }

    fn note_reverted(&mut self, generation: Generation, reason: &str) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.number == generation) {
            entry.reverted = Some(cut(reason));
        }
    }

    /// Forgets the oldest generations beyond the limit that nobody needs.
    fn prune(&mut self) -> Vec<Generation> {
        let mut gone = Vec::new();
        while self.entries.len() > GENERATIONS_MAX {
            let Some(index) = self.entries.iter().position(|entry| !self.needs(entry.number)) else { break };
            gone.push(self.entries.remove(index).number);
        }
        gone
    }
}

fn trial(now: &Moment, generation: Generation, apply: &Apply) -> Trial {
    let phase = match (apply.mode, apply.needs_reboot) {
        (Mode::Staged, _) => Phase::Staged { since: now.boot.clone() },
        (Mode::Auto | Mode::NoReboot | Mode::Try, true) => Phase::Rebooting { since: now.boot.clone() },
        (Mode::Auto | Mode::NoReboot | Mode::Try, false) => running(now, apply.timeout_s),
    };
    Trial {
        generation,
        by_reboot: !matches!(phase, Phase::Running { .. }),
        phase,
        undo_needs_reboot: apply.undo_needs_reboot,
        timeout_s: apply.timeout_s,
        awaits_admin: apply.needs_confirmation || apply.mode == Mode::Try,
        awaits_gate: true,
    }
}

/// The phase of a trial that starts to run now.
pub(crate) fn running(now: &Moment, timeout_s: u32) -> Phase {
    let deadline_ms = now.since_boot_ms.saturating_add(u64::from(timeout_s) * 1000);
    Phase::Running { boot: now.boot.clone(), deadline_ms }
}

//! What a start of machined decides: the OS slot's generation, the end or the start of a trial, an owed reboot.

use bootstate::Slot;

use crate::{Action, Index, Moment, Phase, Trial, step::running};

impl Index {
    /// Says in each case what to run.
    pub(crate) fn boot(&mut self, now: &Moment, slot: Slot, slot_on_trial: bool) -> Vec<Action> {
        self.slot_on_trial = slot_on_trial;
        let before = self.clone();
        self.reboot_owed.take_if(|boot| *boot != now.boot);
        let reboot_owed = self.reboot_owed.is_some();
        let same_slot = self.slot == Some(slot);
        if slot_on_trial {
            // What the slot remembers is the release's that it held before.
            self.slots.forget(slot);
        } else if !same_slot {
            self.enter(now, slot);
        }
        let mut actions = self.begin(now, same_slot && !slot_on_trial);
        if !actions.iter().any(|action| matches!(action, Action::Run(_))) {
            actions.insert(0, Action::Run(self.running()));
        }
        let written = actions.iter().any(|action| matches!(action, Action::Persist | Action::Record));
        if !written && *self != before {
            actions.push(Action::Record);
        }
        if reboot_owed && !actions.contains(&Action::Reboot) {
            actions.push(Action::Reboot);
        }
        actions
    }

    /// The node runs another confirmed slot than before: its generation comes with it.
    fn enter(&mut self, now: &Moment, slot: Slot) {
        self.slot = Some(slot);
        match self.slots.get(slot) {
            Some(generation) if generation != self.confirmed => {
                self.revert(now, &format!("the node returned to OS slot {}", slot.letter()));
                self.confirmed = generation;
                self.next = self.next.following();
            }
            Some(_) | None => self.slots.set(slot, self.confirmed),
        }
    }

    /// Ends, resumes or starts the trial.
    fn begin(&mut self, now: &Moment, slot_as_before: bool) -> Vec<Action> {
        let overdue = self.overdue(now);
        let Some(trial) = &mut self.trial else { return Vec::new() };
        match &trial.phase {
            Phase::Running { boot, .. } if *boot != now.boot => {
                self.revert(now, "the node rebooted before it was confirmed")
            }
            Phase::Running { .. } => match overdue {
                Some(reason) => self.revert(now, &reason),
                None => resume(trial),
            },
            Phase::Rebooting { since } if *since == now.boot => vec![Action::Reboot],
            Phase::Rebooting { .. } if !slot_as_before => {
                self.revert(now, "the node started another release of the OS")
            }
            Phase::Staged { since } if *since == now.boot || !slot_as_before => Vec::new(),
            Phase::Rebooting { .. } | Phase::Staged { .. } => {
                trial.phase = running(now, trial.timeout_s);
                self.next = self.next.following();
                vec![Action::Persist, Action::Run(trial.generation)]
            }
        }
    }
}

/// machined alone was started again.
fn resume(trial: &mut Trial) -> Vec<Action> {
    trial.awaits_gate = true;
    vec![Action::Run(trial.generation)]
}

//! What a start of machined decides: BOOTSTATE tells what happened, the state what was meant.

use bootstate::SlotState;

use crate::{
    Action, Before, Boot, GATE_LATEST_MS, Goal, Moment, Phase, Target, Then, Upgrade, Work, state::Node,
    trial::higher,
};

impl Upgrade {
    pub(crate) fn boot(&mut self, now: &Moment, boot: Boot) -> Vec<Action> {
        let before = self.clone();
        let Boot { running, record, installed, gate_s } = boot;
        self.floor = higher(self.floor, record.rollback_floor());
        let node = Node { running, record, installed, gate_s };
        self.node = Some(node.clone());
        let mut actions = match node.record.slot(running).state() {
            SlotState::Trial { .. } => self.boot_on_trial(now, &node),
            SlotState::Empty | SlotState::Confirmed | SlotState::Failed => self.boot_off_trial(now, &node),
        };
        let noted = matches!(actions.first(), Some(Action::Note | Action::Persist));
        if !noted && (&self.work, &self.failed, &self.floor) != (&before.work, &before.failed, &before.floor)
        {
            actions.insert(0, Action::Note);
        }
        actions.extend(self.raise_floor().filter(|raise| !actions.contains(raise)));
        actions
    }

    fn boot_on_trial(&mut self, now: &Moment, node: &Node) -> Vec<Action> {
        self.find_trial(node);
        let phase = self.work.as_ref().map(|work| work.phase.clone());
        match phase {
            Some(Phase::Failing { reason, .. }) => self.fail_trial(now, &reason),
            Some(Phase::EndingTrial { then: Then::Cancelled { author } }) => {
                self.fail_trial(now, &format!("{author} cancelled it"))
            }
            Some(Phase::Trial { boot, deadline_ms }) if boot == now.boot => self.start_gate(deadline_ms),
            Some(_) | None => {
                let gate_ms = u64::from(node.gate_s).saturating_mul(1000);
                let deadline_ms = now.since_boot_ms.saturating_add(gate_ms).min(GATE_LATEST_MS);
                self.enter(Phase::Trial { boot: now.boot.clone(), deadline_ms });
                self.start_gate(deadline_ms)
            }
        }
    }

    /// Makes sure that the work is the trial that runs.
    fn find_trial(&mut self, node: &Node) {
        let Some(release) = node.record.slot(node.running).release() else { return };
        let found = Target::present(release, node.running);
        let same = |target: &Target| target.slot == found.slot && target.release() == found.release();
        let known = self.work.as_ref().and_then(|work| work.target.as_ref()).is_some_and(same);
        if !known {
            self.work = Some(Work::new(Goal::Found, Some(found)));
        }
    }

    fn start_gate(&mut self, deadline_ms: u64) -> Vec<Action> {
        let task = self.next_task();
        let before = self.work.as_ref().map_or_else(Before::default, |work| work.before.clone());
        vec![Action::StartGate { task, deadline_ms, before }]
    }

    fn boot_off_trial(&mut self, now: &Moment, node: &Node) -> Vec<Action> {
        if node.is_trial_over() {
            return self.reboot_after_trial(now, node);
        }
        let Some(work) = &self.work else {
            return if node.is_other_armed() { self.end_stray_trial(node) } else { Vec::new() };
        };
        match work.phase.clone() {
            Phase::Resolving | Phase::Pausing { .. } | Phase::Fetching => self.start_over(now, node),
            Phase::Verifying => self.verify_again(now, node),
            Phase::BackingOff => self.keep_backing_off(now, node),
            Phase::EndingTrial { .. } if node.is_other_armed() => vec![self.end_trial(node)],
            Phase::EndingTrial { then } => self.trial_ended(now, then),
            Phase::Arming { .. }
            | Phase::Staged { .. }
            | Phase::Rebooting { .. }
            | Phase::Trial { .. }
            | Phase::Confirming
            | Phase::Failing { .. } => self.after_trial(now, node),
        }
    }

    /// The verdict is in BOOTSTATE, whatever the state says, and the reboot has yet to come. Going on here, the node
    /// would write its next release over the one that works.
    fn reboot_after_trial(&mut self, now: &Moment, node: &Node) -> Vec<Action> {
        self.find_trial(node);
        let reason = match self.work.as_ref().map(|work| &work.phase) {
            Some(Phase::Failing { reason, .. }) => reason.clone(),
            Some(_) | None => "it was not healthy".to_owned(),
        };
        self.enter(Phase::Failing { since: now.boot.clone(), reason });
        vec![Action::Note, Action::Reboot]
    }

    /// A trial was ordered, and the slot that runs is not on trial.
    fn after_trial(&mut self, now: &Moment, node: &Node) -> Vec<Action> {
        let Some(work) = &self.work else { return Vec::new() };
        let Some(target) = &work.target else { return self.start_over(now, node) };
        let recorded = node.record.slot(target.slot);
        if recorded.release() != Some(&target.release()) {
            return self.verify_again(now, node);
        }
        let phase = work.phase.clone();
        match recorded.state() {
            SlotState::Trial { tries_left: 0 } => match phase {
                Phase::Failing { reason, .. } => self.trial_ended(now, Then::Failed { reason }),
                _ => self.no_verdict(now, "its tries ran out before it was judged"),
            },
            SlotState::Trial { .. } => self.not_started(now, node, phase),
            SlotState::Failed => self.after_failure(now, node, phase),
            // A return that had yet to be recorded.
            SlotState::Confirmed if matches!(phase, Phase::Arming { .. }) && target.slot != node.running => {
                self.verify_again(now, node)
            }
            SlotState::Confirmed => self.confirmed(now),
            SlotState::Empty => self.verify_again(now, node),
        }
    }

    /// Tries are left, and the slot does not run: the reboot has yet to come, or the selector passed it over.
    fn not_started(&mut self, now: &Moment, node: &Node, phase: Phase) -> Vec<Action> {
        let then = match phase {
            Phase::Rebooting { since } if since == now.boot => return vec![Action::Reboot],
            Phase::Staged { since } if since == now.boot => return Vec::new(),
            Phase::Arming { since } if since == now.boot => return self.armed(now),
            Phase::Failing { reason, .. } => Then::Failed { reason },
            _ => Then::NoVerdict,
        };
        self.enter(Phase::EndingTrial { then });
        vec![self.end_trial(node)]
    }

    fn after_failure(&mut self, now: &Moment, node: &Node, phase: Phase) -> Vec<Action> {
        match phase {
            Phase::Failing { reason, .. } => self.trial_ended(now, Then::Failed { reason }),
            // The failure is of an earlier trial of the same release.
            Phase::Arming { .. } => self.verify_again(now, node),
            _ => self.trial_ended(now, Then::Failed { reason: "its trial was ended".to_owned() }),
        }
    }

    /// An admin's release waits on, unless the node went to its slot by itself.
    fn keep_backing_off(&mut self, now: &Moment, node: &Node) -> Vec<Action> {
        if self.is_target_running(node) { self.start_over(now, node) } else { Vec::new() }
    }

    /// What was read back in another life counts no more.
    fn verify_again(&mut self, now: &Moment, node: &Node) -> Vec<Action> {
        if self.is_target_running(node) { self.start_over(now, node) } else { self.verify() }
    }

    fn start_over(&mut self, now: &Moment, node: &Node) -> Vec<Action> {
        if self.work.as_ref().is_some_and(Work::ends_with_its_client) {
            return self.stop(now, "the node started anew meanwhile; ask again, what was written is kept");
        }
        self.begin(node)
    }

    fn end_stray_trial(&mut self, node: &Node) -> Vec<Action> {
        let slot = node.running.other();
        let Some(release) = node.record.slot(slot).release() else { return Vec::new() };
        self.work = Some(Work::new(Goal::Found, Some(Target::present(release, slot))));
        self.enter(Phase::EndingTrial { then: Then::NoVerdict });
        vec![self.end_trial(node)]
    }

    /// Also when nobody knows the target any more.
    fn is_target_running(&self, node: &Node) -> bool {
        let target = self.work.as_ref().and_then(|work| work.target.as_ref());
        target.is_none_or(|target| target.slot == node.running)
    }
}

impl Node {
    /// Whether this boot began as a trial that has failed since: another start of a failed slot would be counted, or
    /// the slot would be the active one.
    fn is_trial_over(&self) -> bool {
        let running = self.record.slot(self.running);
        running.state() == SlotState::Failed
            && running.boots_since_alive() == 0
            && self.record.active() != self.running
    }
}

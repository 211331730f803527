//! What comes of writing BOOTSTATE, and the verdict on a release on trial.

use bootstate::{Record, ReleaseVersion, Slot};

use crate::{
    Action, Ending, Goal, Moment, Outcome, Phase, RECORD_PAUSE_MS, Request, TRIALS_MAX, Task, Then, Upgrade,
    Work,
};

impl Upgrade {
    pub(crate) fn recorded(&mut self, now: &Moment, task: Task, record: Record) -> Vec<Action> {
        if let Some(node) = &mut self.node {
            node.record = record;
        }
        let Some(work) = self.work.as_ref().filter(|_| task == self.task) else { return Vec::new() };
        match &work.phase {
            Phase::EndingTrial { then } => self.trial_ended(now, then.clone()),
            Phase::Arming { .. } => self.armed(now),
            Phase::Confirming => self.confirmed(now),
            Phase::Failing { .. } => vec![Action::Reboot],
            Phase::Resolving | Phase::Pausing { .. } | Phase::Fetching | Phase::Verifying => Vec::new(),
            Phase::Staged { .. } | Phase::Rebooting { .. } => Vec::new(),
            Phase::Trial { .. } | Phase::BackingOff => Vec::new(),
        }
    }

    pub(crate) fn record_failed(&mut self, now: &Moment, task: Task, reason: &str) -> Vec<Action> {
        let (Some(work), Some(node)) = (&mut self.work, self.node.clone()) else { return Vec::new() };
        if task != self.task {
            return Vec::new();
        }
        match &work.phase {
            Phase::EndingTrial { .. } | Phase::Confirming => {
                work.record_again_ms = Some(now.since_boot_ms.saturating_add(RECORD_PAUSE_MS));
                Vec::new()
            }
            // It may be in force all the same.
            Phase::Arming { .. } => {
                work.phase = Phase::EndingTrial { then: Then::Stopped { reason: crate::state::cut(reason) } };
                vec![Action::Note, self.end_trial(&node)]
            }
            // The tries run out instead.
            Phase::Failing { .. } => vec![Action::Reboot],
            Phase::Resolving | Phase::Pausing { .. } | Phase::Fetching | Phase::Verifying => Vec::new(),
            Phase::Staged { .. } | Phase::Rebooting { .. } => Vec::new(),
            Phase::Trial { .. } | Phase::BackingOff => Vec::new(),
        }
    }

    pub(crate) fn gate_passed(&mut self, task: Task) -> Vec<Action> {
        if !self.is_judged_by(task) {
            return Vec::new();
        }
        let Some(running) = self.node.as_ref().map(|node| node.running) else { return Vec::new() };
        self.enter(Phase::Confirming);
        vec![self.confirm(running)]
    }

    pub(crate) fn gate_failed(&mut self, now: &Moment, task: Task, reason: &str) -> Vec<Action> {
        if self.is_judged_by(task) { self.fail_trial(now, reason) } else { Vec::new() }
    }

    /// Goes back to the other slot, for good.
    pub(crate) fn fail_trial(&mut self, now: &Moment, reason: &str) -> Vec<Action> {
        let Some(slot) = self.node.as_ref().map(|node| node.running) else { return Vec::new() };
        self.enter(Phase::Failing { since: now.boot.clone(), reason: crate::state::cut(reason) });
        let task = self.next_task();
        vec![Action::Note, Action::EndTrial { task, slot }]
    }

    pub(crate) fn confirm(&mut self, slot: Slot) -> Action {
        Action::Confirm { task: self.next_task(), slot }
    }

    /// BOOTSTATE holds the trial.
    pub(crate) fn armed(&mut self, now: &Moment) -> Vec<Action> {
        let since = now.boot.clone();
        let stage = self.work.as_ref().and_then(Work::request).is_some_and(Request::is_staged);
        if stage {
            self.enter(Phase::Staged { since });
            return vec![Action::Note];
        }
        self.enter(Phase::Rebooting { since });
        vec![Action::Note, Action::Reboot]
    }

    /// BOOTSTATE says that the work's release is confirmed.
    pub(crate) fn confirmed(&mut self, now: &Moment) -> Vec<Action> {
        let Some(work) = &self.work else { return Vec::new() };
        let returned = match &work.goal {
            Goal::Return { author, from } => Some((*from, format!("{author} went back from it"))),
            Goal::Install(_) | Goal::Found => None,
        };
        let manifest = work.target.as_ref().and_then(|target| target.manifest.as_ref());
        if let Some(floor) = manifest.map(|manifest| manifest.rollback_floor) {
            self.floor = higher(self.floor, floor);
        }
        self.finish(now, Outcome::Confirmed, "");
        if let Some((from, reason)) = returned {
            self.remember_failed(now, from, &reason);
        }
        let mut actions = vec![Action::Note];
        actions.extend(self.raise_floor());
        actions
    }

    /// BOOTSTATE's floor, as far as both slots allow.
    pub(crate) fn raise_floor(&self) -> Option<Action> {
        let record = &self.node.as_ref()?.record;
        let versions = Slot::ALL.iter().filter_map(|slot| record.slot(*slot).release());
        let floor = versions.map(|release| release.version).fold(self.floor, lower);
        floor.precedence(&record.rollback_floor()).is_gt().then_some(Action::RaiseFloor(floor))
    }

    /// Nothing is on trial any more in the slot that does not run.
    pub(crate) fn trial_ended(&mut self, now: &Moment, then: Then) -> Vec<Action> {
        match then {
            Then::Resolve => return self.resolve(),
            Then::NoVerdict => {
                return self.no_verdict(now, "its tries were not used: the selector could not start it");
            }
            Then::Cancelled { author } => {
                self.finish(now, Outcome::Cancelled, &format!("{author} cancelled it"));
            }
            Then::Stopped { reason } => self.finish(now, Outcome::Stopped, &reason),
            Then::Failed { reason } => self.finish(now, Outcome::Failed, &reason),
        }
        vec![Action::Note]
    }

    /// Tries again later, what an admin asked for by itself and what is automatic when the policy says so.
    pub(crate) fn no_verdict(&mut self, now: &Moment, reason: &str) -> Vec<Action> {
        let Some(work) = &self.work else { return Vec::new() };
        let version = work.version();
        let returning = matches!(work.goal, Goal::Return { .. });
        let asked_for = work.request().is_some_and(|request| !request.is_automatic());
        if !returning && self.defer(now, version, true) >= TRIALS_MAX {
            self.finish(now, Outcome::Failed, &format!("{reason}, {TRIALS_MAX} times"));
        } else if asked_for {
            self.report(now, version, Outcome::NoVerdict, reason);
            self.enter(Phase::BackingOff);
        } else {
            self.finish(now, Outcome::NoVerdict, reason);
        }
        vec![Action::Note]
    }

    fn is_judged_by(&self, task: Task) -> bool {
        let on_trial = self.work.as_ref().is_some_and(|work| matches!(work.phase, Phase::Trial { .. }));
        on_trial && task == self.task
    }
}

impl Request {
    fn is_staged(&self) -> bool {
        self.ending == Ending::Stage
    }
}

pub(crate) fn higher(one: ReleaseVersion, other: ReleaseVersion) -> ReleaseVersion {
    if one.precedence(&other).is_lt() { other } else { one }
}

fn lower(one: ReleaseVersion, other: ReleaseVersion) -> ReleaseVersion {
    if one.precedence(&other).is_gt() { other } else { one }
}

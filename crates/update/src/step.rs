//! The transitions: what people and the policy ask for, and what passing time brings. What the executor answers is in
//! `task.rs` and `trial.rs`.

use bootstate::SlotState;

use crate::{
    Action, BEFORE_MAX, Before, Event, Goal, Moment, Outcome, Phase, Refusal, Request, Target, Task, Then,
    Upgrade, Work, state::Node,
};

impl Upgrade {
    /// Takes an event and says what to do. After a refusal nothing has changed.
    pub fn step(&mut self, now: &Moment, event: Event) -> Result<Vec<Action>, Refusal> {
        self.follow_clock(now);
        let event = match event {
            Event::Boot(boot) => return Ok(self.boot(now, *boot)),
            event => event,
        };
        let node = self.node.clone().ok_or(Refusal::Starting)?;
        match event {
            Event::Boot(_) => Ok(Vec::new()),
            Event::Request(request) => self.request(&node, *request),
            Event::Resolved { task, manifest } => Ok(self.resolved(now, &node, task, manifest)),
            Event::Fetched { task } => Ok(self.fetched(task)),
            Event::Verified { task, before, busy } => Ok(self.verified(now, task, before, busy)),
            Event::Failed { task, failure, reason } => Ok(self.task_failed(now, task, failure, &reason)),
            Event::Recorded { task, record } => Ok(self.recorded(now, task, *record)),
            Event::RecordFailed { task, reason } => Ok(self.record_failed(now, task, &reason)),
            Event::Seen(before) => Ok(self.seen(before)),
            Event::GatePassed { task } => Ok(self.gate_passed(task)),
            Event::GateFailed { task, reason } => Ok(self.gate_failed(now, task, &reason)),
            Event::Tick => Ok(self.tick(now)),
            Event::Cancel { author } => self.cancel(now, &node, author),
            Event::Rollback { author } => self.rollback(now, &node, author),
        }
    }

    /// When [`Event::Tick`] is due, in milliseconds since the boot.
    #[must_use]
    pub fn wake_ms(&self, now: &Moment) -> Option<u64> {
        let work = self.work.as_ref()?;
        match &work.phase {
            Phase::Pausing { until_ms, .. } => Some(*until_ms),
            Phase::Trial { deadline_ms, .. } => Some(*deadline_ms),
            Phase::EndingTrial { .. } | Phase::Confirming => work.record_again_ms,
            Phase::BackingOff => {
                let left_s = self.deferred_until_s(&work.version())?.saturating_sub(now.now_s);
                Some(now.since_boot_ms.saturating_add(left_s.saturating_mul(1000)))
            }
            Phase::Resolving | Phase::Fetching | Phase::Verifying | Phase::Arming { .. } => None,
            Phase::Staged { .. } | Phase::Rebooting { .. } | Phase::Failing { .. } => None,
        }
    }

    fn request(&mut self, node: &Node, request: Request) -> Result<Vec<Action>, Refusal> {
        if let Some(work) = &self.work {
            work.check_gives_way(node, &request)?;
        }
        if !request.version.is_unknown() {
            self.check_version(node, &request, request.version)?;
        }
        let replaced = self.work.replace(Work::new(Goal::Install(Box::new(request)), None));
        let mut actions = vec![Action::Persist];
        if replaced.is_some() {
            actions.push(Action::Stop);
        }
        actions.extend(self.begin(node));
        Ok(actions)
    }

    fn cancel(&mut self, now: &Moment, node: &Node, author: String) -> Result<Vec<Action>, Refusal> {
        let Some(work) = &mut self.work else { return Err(Refusal::NothingToCancel) };
        match &work.phase {
            Phase::Resolving
            | Phase::Pausing { .. }
            | Phase::Fetching
            | Phase::Verifying
            | Phase::BackingOff => {
                self.finish(now, Outcome::Cancelled, &format!("{author} cancelled it"));
                Ok(vec![Action::Persist, Action::Stop])
            }
            Phase::Staged { .. } => {
                work.phase = Phase::EndingTrial { then: Then::Cancelled { author } };
                Ok(vec![Action::Persist, self.end_trial(node)])
            }
            Phase::EndingTrial { .. } | Phase::Arming { .. } => Err(Refusal::Recording),
            Phase::Trial { .. } | Phase::Confirming => {
                Err(Refusal::OnTrial { version: node.installed.version })
            }
            Phase::Rebooting { .. } | Phase::Failing { .. } => Err(Refusal::Rebooting),
        }
    }

    fn rollback(&mut self, now: &Moment, node: &Node, author: String) -> Result<Vec<Action>, Refusal> {
        match self.work.as_ref().map(|work| &work.phase) {
            Some(Phase::Trial { .. }) => Ok(self.fail_trial(now, &format!("{author} rolled it back"))),
            Some(Phase::Rebooting { .. } | Phase::Failing { .. }) => Err(Refusal::Rebooting),
            Some(Phase::EndingTrial { .. } | Phase::Arming { .. } | Phase::Confirming) => {
                Err(Refusal::Recording)
            }
            Some(
                Phase::Resolving
                | Phase::Pausing { .. }
                | Phase::Fetching
                | Phase::Verifying
                | Phase::Staged { .. },
            ) => Err(Refusal::Busy { what: described(self.work.as_ref()) }),
            Some(Phase::BackingOff) | None => self.return_to_other_slot(node, author),
        }
    }

    /// By a trial of it.
    fn return_to_other_slot(&mut self, node: &Node, author: String) -> Result<Vec<Action>, Refusal> {
        let slot = node.running.other();
        let other = node.record.slot(slot);
        let Some(release) = other.release().filter(|_| other.state() == SlotState::Confirmed) else {
            return Err(Refusal::NothingToReturnTo { slot });
        };
        let goal = Goal::Return { author, from: node.installed.version };
        self.work = Some(Work::new(goal, Some(Target::present(release, slot))));
        Ok([Action::Persist].into_iter().chain(self.verify()).collect())
    }

    fn seen(&mut self, before: Before) -> Vec<Action> {
        match &mut self.work {
            Some(Work { phase: Phase::Staged { .. } | Phase::Rebooting { .. }, before: known, .. })
                if *known != before =>
            {
                *known = before.bounded();
                vec![Action::Note]
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn tick(&mut self, now: &Moment) -> Vec<Action> {
        let Some(node) = &self.node else { return Vec::new() };
        let Some(work) = &self.work else { return Vec::new() };
        let running = node.running;
        if self.wake_ms(now).is_none_or(|wake_ms| now.since_boot_ms < wake_ms) {
            return Vec::new();
        }
        match &work.phase {
            Phase::Pausing { .. } => self.resolve(),
            Phase::EndingTrial { .. } => vec![self.end_trial(&node.clone())],
            Phase::Confirming => vec![self.confirm(running)],
            Phase::Trial { .. } => self.fail_trial(now, "it was not healthy in time"),
            Phase::BackingOff => self.verify(),
            Phase::Resolving | Phase::Fetching | Phase::Verifying | Phase::Arming { .. } => Vec::new(),
            Phase::Staged { .. } | Phase::Rebooting { .. } | Phase::Failing { .. } => Vec::new(),
        }
    }

    /// Begins to look for the release, once nothing is on trial in the slot that it goes to.
    pub(crate) fn begin(&mut self, node: &Node) -> Vec<Action> {
        if node.is_other_armed() {
            self.enter(Phase::EndingTrial { then: Then::Resolve });
            vec![self.end_trial(node)]
        } else {
            self.resolve()
        }
    }

    pub(crate) fn resolve(&mut self) -> Vec<Action> {
        self.enter(Phase::Resolving);
        let task = self.next_task();
        let request = self.work.as_ref().and_then(Work::request).cloned();
        request.map(|request| Action::Resolve { task, request: Box::new(request) }).into_iter().collect()
    }

    pub(crate) fn verify(&mut self) -> Vec<Action> {
        self.enter(Phase::Verifying);
        let task = self.next_task();
        let target = self.work.as_ref().and_then(|work| work.target.clone());
        target.map(|target| Action::Verify { task, target: Box::new(target) }).into_iter().collect()
    }

    pub(crate) fn end_trial(&mut self, node: &Node) -> Action {
        Action::EndTrial { task: self.next_task(), slot: node.running.other() }
    }

    pub(crate) fn enter(&mut self, phase: Phase) {
        if let Some(work) = &mut self.work {
            work.phase = phase;
        }
    }

    pub(crate) fn next_task(&mut self) -> Task {
        self.task = Task(self.task.0.wrapping_add(1));
        if let Some(work) = &mut self.work {
            work.record_again_ms = None;
        }
        self.task
    }
}

impl Work {
    pub(crate) fn new(goal: Goal, target: Option<Target>) -> Self {
        Self {
            goal,
            phase: Phase::Resolving,
            target,
            before: Before::default(),
            failures: 0,
            record_again_ms: None,
        }
    }

    /// Whether it makes room for another request.
    fn check_gives_way(&self, node: &Node, request: &Request) -> Result<(), Refusal> {
        let version = node.installed.version;
        match &self.phase {
            Phase::Trial { .. } | Phase::Confirming => Err(Refusal::OnTrial { version }),
            Phase::Rebooting { .. } | Phase::Failing { .. } => Err(Refusal::Rebooting),
            Phase::EndingTrial { .. } | Phase::Arming { .. } => Err(Refusal::Recording),
            Phase::BackingOff => Ok(()),
            Phase::Staged { .. } if !request.is_automatic() => Ok(()),
            Phase::Resolving | Phase::Pausing { .. } | Phase::Fetching | Phase::Verifying
                if self.is_automatic() && !request.is_automatic() =>
            {
                Ok(())
            }
            Phase::Staged { .. }
            | Phase::Resolving
            | Phase::Pausing { .. }
            | Phase::Fetching
            | Phase::Verifying => Err(Refusal::Busy { what: described(Some(self)) }),
        }
    }
}

fn described(work: Option<&Work>) -> String {
    match work.map(Work::version).filter(|version| !version.is_unknown()) {
        Some(version) => format!("an upgrade to {version}"),
        None => "an upgrade".to_owned(),
    }
}

impl Before {
    /// Without what is beyond the limit.
    pub(crate) fn bounded(mut self) -> Self {
        self.conditions.truncate(BEFORE_MAX);
        self.pods.truncate(BEFORE_MAX);
        self
    }
}

impl Node {
    /// Whether the next boot would start a trial in the slot that does not run.
    pub(crate) fn is_other_armed(&self) -> bool {
        matches!(self.record.slot(self.running.other()).state(), SlotState::Trial { tries_left: 1.. })
    }
}

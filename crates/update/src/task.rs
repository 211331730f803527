//! What comes of finding, fetching and verifying a release.

use crate::{
    Action, Before, Ending, FAILURES_MAX, Failure, Goal, Manifest, Moment, Origin, Outcome, PAUSE_MAX_MS,
    PAUSE_MIN_MS, Phase, Source, Target, Task, Upgrade, Work, state::Node,
};

impl Upgrade {
    pub(crate) fn resolved(
        &mut self,
        now: &Moment,
        node: &Node,
        task: Task,
        manifest: Box<Manifest>,
    ) -> Vec<Action> {
        let Some(Work { goal: Goal::Install(request), .. }) = self.awaited(task, &Phase::Resolving) else {
            return Vec::new();
        };
        let request = request.clone();
        let suitable = node
            .check_manifest(&request, &manifest)
            .and_then(|()| self.check_version(node, &request, manifest.version));
        if let Err(unsuitable) = suitable {
            return self.stop(now, &unsuitable.to_string());
        }
        let target = Target::of(manifest, node.running.other());
        if let Some(work) = &mut self.work {
            if let Goal::Install(request) = &mut work.goal {
                // From here on it is this one, also when the source has a newer one after an interruption.
                request.version = target.version;
            }
            work.target = Some(target.clone());
        }
        self.enter(Phase::Fetching);
        let task = self.next_task();
        vec![Action::Note, Action::Fetch { task, source: request.source, target: Box::new(target) }]
    }

    pub(crate) fn fetched(&mut self, task: Task) -> Vec<Action> {
        if self.awaited(task, &Phase::Fetching).is_none() {
            return Vec::new();
        }
        let verify = self.verify();
        [Action::Note].into_iter().chain(verify).collect()
    }

    pub(crate) fn verified(&mut self, now: &Moment, task: Task, before: Before, busy: bool) -> Vec<Action> {
        let Some(work) = self.awaited(task, &Phase::Verifying) else { return Vec::new() };
        let Some(target) = &work.target else { return Vec::new() };
        let release = target.release();
        let (ending, origin) = work
            .request()
            .map_or((Ending::Reboot, None), |request| (request.ending, Some(request.origin.clone())));
        if let Some(reason) = written_only(now, ending, origin.as_ref(), busy) {
            self.finish(now, Outcome::Written, reason);
            return vec![Action::Persist];
        }
        if let Some(work) = &mut self.work {
            work.before = before.bounded();
        }
        self.enter(Phase::Arming { since: now.boot.clone() });
        let task = self.next_task();
        vec![Action::Persist, Action::BeginTrial { task, release }]
    }

    pub(crate) fn task_failed(
        &mut self,
        now: &Moment,
        task: Task,
        failure: Failure,
        reason: &str,
    ) -> Vec<Action> {
        let phases = [Phase::Resolving, Phase::Fetching, Phase::Verifying];
        let Some(work) = phases.iter().find_map(|phase| self.awaited(task, phase)) else {
            return Vec::new();
        };
        let failures = match failure {
            Failure::Final => FAILURES_MAX,
            Failure::Passing => work.failures.saturating_add(1),
            Failure::Progressed => 1,
        };
        if failures >= FAILURES_MAX || work.ends_with_its_client() {
            return self.stop(now, reason);
        }
        let until_ms = now.since_boot_ms.saturating_add(pause_ms(failures));
        if let Some(work) = &mut self.work {
            work.failures = failures;
        }
        self.enter(Phase::Pausing { until_ms, reason: crate::state::cut(reason) });
        Vec::new()
    }

    pub(crate) fn stop(&mut self, now: &Moment, reason: &str) -> Vec<Action> {
        self.finish(now, Outcome::Stopped, reason);
        vec![Action::Note]
    }

    /// The work, if it is in this phase and waits for this task.
    fn awaited(&self, task: Task, phase: &Phase) -> Option<&Work> {
        self.work.as_ref().filter(|work| self.task == task && work.phase == *phase)
    }
}

impl Work {
    /// Whether there is nobody to fetch it from again.
    pub(crate) fn ends_with_its_client(&self) -> bool {
        self.request().is_none_or(|request| request.source == Source::Client)
    }
}

/// Why the release is written and no more.
fn written_only(now: &Moment, ending: Ending, origin: Option<&Origin>, busy: bool) -> Option<&'static str> {
    match (ending, origin) {
        (Ending::Write, _) => Some(""),
        (_, Some(Origin::Automatic { .. })) if busy => Some("the node is busy"),
        (_, Some(Origin::Automatic { until_s: Some(until_s) })) if now.now_s >= *until_s => {
            Some("the maintenance window has ended")
        }
        (Ending::Reboot | Ending::Stage, _) => None,
    }
}

fn pause_ms(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(u64::BITS - 1);
    PAUSE_MIN_MS.saturating_mul(1 << doublings).min(PAUSE_MAX_MS)
}

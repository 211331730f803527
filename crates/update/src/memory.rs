//! What is known of releases from before, and which of them may be installed.

use bootstate::ReleaseVersion;

use crate::{
    BACK_OFF_MAX_S, BACK_OFF_MIN_S, Deferred, FailedRelease, Goal, Manifest, Moment, Origin, Outcome,
    REMEMBERED_MAX, Report, Request, Task, Unsuitable, Upgrade, Work,
    state::{Node, cut},
};

impl Upgrade {
    /// Of a node that was never upgraded, or whose state was lost.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            task: Task(0),
            work: None,
            failed: Vec::new(),
            deferred: Vec::new(),
            last: None,
            floor: ReleaseVersion::UNKNOWN,
            node: None,
        }
    }

    /// Why the release is refused, if it failed.
    #[must_use]
    pub fn failure(&self, version: &ReleaseVersion) -> Option<&FailedRelease> {
        self.failed.iter().find(|failed| failed.version == *version)
    }

    /// Until when the release is put off, in seconds since 1970.
    #[must_use]
    pub fn deferred_until_s(&self, version: &ReleaseVersion) -> Option<u64> {
        self.deferred.iter().find(|deferred| deferred.version == *version).map(|deferred| deferred.until_s)
    }

    /// Ends the work.
    pub(crate) fn finish(&mut self, now: &Moment, outcome: Outcome, reason: &str) {
        let Some(work) = self.work.take() else { return };
        let version = work.version();
        match outcome {
            Outcome::Confirmed => self.forget(&version),
            Outcome::Failed => self.remember_failed(now, version, reason),
            Outcome::Stopped | Outcome::Cancelled if work.is_automatic() => {
                self.defer(now, version, false);
            }
            Outcome::NoVerdict | Outcome::Stopped | Outcome::Cancelled | Outcome::Written => {}
        }
        self.report(now, version, outcome, reason);
    }

    pub(crate) fn report(&mut self, now: &Moment, version: ReleaseVersion, outcome: Outcome, reason: &str) {
        self.last = Some(Report { version, outcome, reason: cut(reason), at_s: now.now_s });
    }

    pub(crate) fn remember_failed(&mut self, now: &Moment, version: ReleaseVersion, reason: &str) {
        self.forget(&version);
        self.failed.push(FailedRelease { version, reason: cut(reason), at_s: now.now_s });
        if self.failed.len() > REMEMBERED_MAX {
            self.failed.remove(0);
        }
    }

    /// Puts the release off, longer each time; says how many trials without a verdict it has had.
    pub(crate) fn defer(&mut self, now: &Moment, version: ReleaseVersion, was_on_trial: bool) -> u32 {
        let known = self.deferred.iter().position(|deferred| deferred.version == version);
        let known = known.map(|at| self.deferred.remove(at));
        let (rounds, trials) = known.map_or((0, 0), |known| (known.rounds, known.trials));
        let rounds = rounds.saturating_add(1);
        let trials = trials.saturating_add(was_on_trial.into());
        let until_s = now.now_s.saturating_add(back_off_s(rounds));
        self.deferred.push(Deferred { version, rounds, trials, until_s });
        if self.deferred.len() > REMEMBERED_MAX {
            self.deferred.remove(0);
        }
        trials
    }

    /// A clock that was set back prolongs no pause beyond its length.
    pub(crate) fn follow_clock(&mut self, now: &Moment) {
        for deferred in &mut self.deferred {
            let latest_s = now.now_s.saturating_add(back_off_s(deferred.rounds));
            deferred.until_s = deferred.until_s.min(latest_s);
        }
    }

    fn forget(&mut self, version: &ReleaseVersion) {
        self.failed.retain(|failed| failed.version != *version);
        self.deferred.retain(|deferred| deferred.version != *version);
    }
}

impl Default for Upgrade {
    fn default() -> Self {
        Self::new()
    }
}

impl Work {
    /// The release; unknown as long as that is to be found out.
    #[must_use]
    pub fn version(&self) -> ReleaseVersion {
        match (&self.target, &self.goal) {
            (Some(target), _) => target.version,
            (None, Goal::Install(request)) => request.version,
            (None, Goal::Return { .. } | Goal::Found) => ReleaseVersion::UNKNOWN,
        }
    }

    /// The request, if there was one for a release.
    #[must_use]
    pub const fn request(&self) -> Option<&Request> {
        match &self.goal {
            Goal::Install(request) => Some(request),
            Goal::Return { .. } | Goal::Found => None,
        }
    }

    /// Whether the policy of the configuration began it.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        self.request().is_some_and(Request::is_automatic)
    }
}

impl Request {
    /// Whether it is the policy's.
    #[must_use]
    pub const fn is_automatic(&self) -> bool {
        matches!(self.origin, Origin::Automatic { .. })
    }
}

impl Node {
    /// Whether the release with this manifest may be installed.
    pub(crate) fn check_manifest(
        &self,
        request: &Request,
        manifest: &Manifest,
    ) -> Result<(), Box<Unsuitable>> {
        let (version, running) = (manifest.version, &self.installed);
        if !request.version.is_unknown() && version != request.version {
            return Err(Box::new(Unsuitable::Other { version: request.version, actual: version }));
        }
        if manifest.architecture != running.architecture {
            let architecture = manifest.architecture.clone();
            return Err(Box::new(Unsuitable::Architecture {
                architecture,
                running: running.architecture.clone(),
            }));
        }
        let same_minor = manifest.kubernetes.is_same_minor(running.kubernetes);
        if same_minor || request.allow.kubernetes_minor {
            return Ok(());
        }
        Err(Box::new(Unsuitable::KubernetesMinor {
            kubernetes: manifest.kubernetes,
            running: running.kubernetes,
        }))
    }
}

impl Upgrade {
    /// Whether the release of this version may be installed.
    pub(crate) fn check_version(
        &self,
        node: &Node,
        request: &Request,
        version: ReleaseVersion,
    ) -> Result<(), Box<Unsuitable>> {
        let running = node.installed.version;
        if version == running {
            return Err(Box::new(Unsuitable::Runs { version }));
        }
        if version.precedence(&self.floor).is_lt() {
            return Err(Box::new(Unsuitable::BelowFloor { version, floor: self.floor }));
        }
        if let Some(failed) = self.failure(&version).filter(|_| !request.allow.failed) {
            return Err(Box::new(Unsuitable::FailedBefore { version, reason: failed.reason.clone() }));
        }
        if version.precedence(&running).is_lt() && !request.allow.downgrade {
            return Err(Box::new(Unsuitable::Older { version, running }));
        }
        Ok(())
    }
}

fn back_off_s(rounds: u32) -> u64 {
    let doublings = rounds.saturating_sub(1).min(u64::BITS - 1);
    BACK_OFF_MIN_S.saturating_mul(1 << doublings).min(BACK_OFF_MAX_S)
}

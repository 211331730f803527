//! What PID 1 decides from BOOTSTATE: that this boot is alive, that a trial's time is up, and when an essential
//! service's spent budget may cost a reboot.

use crate::boot_record::Status;

/// A boot counts as alive when machined and apid have been running for so long.
const ALIVE_AFTER_MS: u64 = 60_000;
/// A trial boot that is not confirmed by then is over.
const TRIAL_DEADLINE_MS: u64 = 10 * 60_000;
/// Wait after a helper that failed.
const RETRY_MS: u64 = 60_000;
/// A helper that takes longer is killed: a disk hangs.
const HELPER_LIMIT_MS: u64 = 30_000;
/// Boots in a row that never came alive and may each end in a reboot at once.
const QUICK_REBOOTS: u8 = 3;
/// Uptime before the first slow reboot; each further boot doubles it.
const SLOW_REBOOT_MS: u64 = 5 * 60_000;
/// Longest uptime before a reboot. Also that of a boot which was alive, and so of a node that has worked since.
const SLOWEST_REBOOT_MS: u64 = 60 * 60_000;

/// A helper process to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// `init bootstate-status`
    ReadStatus,
    /// `init bootstate-alive`
    MarkAlive,
}

/// Why the machine must be rebooted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Verdict {
    /// The trial's time is up.
    #[error("the trial was not confirmed in time")]
    TrialExpired,
    /// An essential service cannot be kept running.
    #[error("an essential service does not run")]
    EssentialExhausted,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Run a helper; its end comes back as [`BootHealth::task_ended`].
    Run(Task),
    /// Kill the helper that runs.
    Abandon,
    /// Reboot in order.
    Reboot(Verdict),
}

#[derive(Clone, Copy, Debug)]
struct Running {
    task: Task,
    kill_at_ms: u64,
}

/// Judges this boot.
#[derive(Debug)]
pub struct BootHealth {
    status: Option<Status>,
    running: Option<Running>,
    next_task_ms: u64,
    serving_since_ms: Option<u64>,
    alive: bool,
    exhausted: bool,
    /// Set at the trial's deadline: only a status read since then counts.
    last_look: LastLook,
    rebooting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastLook {
    NotDue,
    Due,
    Taken,
}

impl BootHealth {
    /// At PID 1's start.
    pub fn new() -> Self {
        Self {
            status: None,
            running: None,
            next_task_ms: 0,
            serving_since_ms: None,
            alive: false,
            exhausted: false,
            last_look: LastLook::NotDue,
            rebooting: false,
        }
    }

    /// Whether any essential service has spent its budget and not recovered.
    pub fn set_exhausted(&mut self, exhausted: bool) {
        self.exhausted = exhausted;
    }

    /// A helper has ended; `answer` is `None` when it failed.
    pub fn task_ended(&mut self, now_ms: u64, answer: Option<&str>) {
        let Some(Running { task, .. }) = self.running.take() else { return };
        let status = answer.and_then(Status::parse);
        match task {
            Task::ReadStatus => {
                if self.last_look == LastLook::Due {
                    self.last_look = LastLook::Taken;
                }
                if status.is_some() {
                    self.status = status;
                } else {
                    self.next_task_ms = now_ms.saturating_add(RETRY_MS);
                }
            }
            Task::MarkAlive if answer.is_some() => self.alive = true,
            Task::MarkAlive => self.next_task_ms = now_ms.saturating_add(RETRY_MS),
        }
    }

    /// Time has passed or something has changed. `serving`: all essential services run.
    pub fn step(&mut self, now_ms: u64, serving: bool) -> Option<Decision> {
        self.serving_since_ms = if serving { self.serving_since_ms.or(Some(now_ms)) } else { None };
        if self.rebooting {
            return None;
        }
        if self.running.is_some_and(|running| now_ms >= running.kill_at_ms) {
            self.running = self.running.map(|running| Running { kill_at_ms: u64::MAX, ..running });
            return Some(Decision::Abandon);
        }
        if let Some(verdict) = self.verdict(now_ms) {
            self.rebooting = true;
            return Some(Decision::Reboot(verdict));
        }
        self.task(now_ms).map(|task| {
            self.running = Some(Running { task, kill_at_ms: now_ms.saturating_add(HELPER_LIMIT_MS) });
            Decision::Run(task)
        })
    }

    /// When [`Self::step`] is due.
    pub fn deadline_ms(&self) -> Option<u64> {
        if self.rebooting {
            return None;
        }
        if let Some(running) = self.running {
            return Some(running.kill_at_ms);
        }
        let read_ms = self.status.is_none().then_some(self.next_task_ms);
        let alive_ms = self
            .serving_since_ms
            .filter(|_| !self.alive)
            .map(|since_ms| since_ms.saturating_add(ALIVE_AFTER_MS).max(self.next_task_ms));
        let trial_ms =
            (self.last_look == LastLook::NotDue && self.may_be_trial()).then_some(TRIAL_DEADLINE_MS);
        let reboot_ms = self.exhausted.then(|| self.reboot_from_ms());
        [read_ms, alive_ms, trial_ms, reboot_ms].into_iter().flatten().min()
    }

    fn task(&mut self, now_ms: u64) -> Option<Task> {
        if self.running.is_some() {
            return None;
        }
        if self.last_look == LastLook::NotDue && self.may_be_trial() && now_ms >= TRIAL_DEADLINE_MS {
            self.last_look = LastLook::Due;
            return Some(Task::ReadStatus);
        }
        if now_ms < self.next_task_ms {
            return None;
        }
        if self.status.is_none() {
            return Some(Task::ReadStatus);
        }
        let due =
            self.serving_since_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= ALIVE_AFTER_MS);
        (due && !self.alive).then_some(Task::MarkAlive)
    }

    fn verdict(&self, now_ms: u64) -> Option<Verdict> {
        // A status that could not be read at the deadline leaves the earlier one in force.
        if self.last_look == LastLook::Taken && self.status.is_some_and(|status| status.on_trial) {
            return Some(Verdict::TrialExpired);
        }
        (self.exhausted && now_ms >= self.reboot_from_ms()).then_some(Verdict::EssentialExhausted)
    }

    fn may_be_trial(&self) -> bool {
        self.status.is_none_or(|status| status.on_trial)
    }

    /// Uptime from which a spent budget costs a reboot. A node that does not come alive is rebooted three times
    /// quickly, then ever more slowly: a reboot helps against what a boot has broken, not against what is broken.
    fn reboot_from_ms(&self) -> u64 {
        if self.alive {
            return SLOWEST_REBOOT_MS;
        }
        match self.status {
            None => SLOW_REBOOT_MS,
            Some(status) if status.on_trial => 0,
            Some(status) => match status.boots_since_alive.checked_sub(QUICK_REBOOTS) {
                None | Some(0) => 0,
                Some(further) => {
                    let factor = 1_u64.checked_shl(u32::from(further).saturating_sub(1)).unwrap_or(u64::MAX);
                    SLOW_REBOOT_MS.saturating_mul(factor).min(SLOWEST_REBOOT_MS)
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIRMED: &str = "trial=false boots-since-alive=1";
    const TRIAL: &str = "trial=true boots-since-alive=0";

    fn with_status(answer: &str) -> BootHealth {
        let mut health = BootHealth::new();
        assert_eq!(health.step(10, false), Some(Decision::Run(Task::ReadStatus)));
        health.task_ended(20, Some(answer));
        health
    }

    #[test]
    fn a_boot_is_alive_after_a_minute_of_service_without_a_break() {
        let mut health = with_status(CONFIRMED);
        assert_eq!(health.step(1_000, true), None);
        assert_eq!(health.step(50_000, false), None);
        assert_eq!(health.step(61_000, true), None);
        assert_eq!(health.deadline_ms(), Some(121_000));
        assert_eq!(health.step(121_000, true), Some(Decision::Run(Task::MarkAlive)));
        health.task_ended(122_000, None);
        assert!(!health.alive);
        assert_eq!(health.step(123_000, true), None);
        assert_eq!(health.step(182_000, true), Some(Decision::Run(Task::MarkAlive)));
        health.task_ended(183_000, Some(""));
        assert!(health.alive);
        assert_eq!((health.step(999_000, true), health.deadline_ms()), (None, None));
    }

    #[test]
    fn a_trial_is_looked_at_again_before_its_end() {
        for (answer, expected) in [
            (Some(TRIAL), Some(Decision::Reboot(Verdict::TrialExpired))),
            (None, Some(Decision::Reboot(Verdict::TrialExpired))),
            (Some(CONFIRMED), None),
        ] {
            let mut health = with_status(TRIAL);
            assert_eq!(health.deadline_ms(), Some(TRIAL_DEADLINE_MS));
            assert_eq!(health.step(TRIAL_DEADLINE_MS - 1, false), None);
            assert_eq!(health.step(TRIAL_DEADLINE_MS, false), Some(Decision::Run(Task::ReadStatus)));
            health.task_ended(TRIAL_DEADLINE_MS + 5, answer);
            assert_eq!(health.step(TRIAL_DEADLINE_MS + 5, false), expected, "{answer:?}");
            assert_eq!(health.step(TRIAL_DEADLINE_MS + 6, false), None, "rebooted once");
        }
    }

    #[test]
    fn reboots_for_essential_services_slow_down() {
        let minute = 60_000;
        for (boots, from_ms) in
            [(0, 0), (3, 0), (4, 5 * minute), (5, 10 * minute), (6, 20 * minute), (200, 60 * minute)]
        {
            let mut health = with_status(&format!("trial=false boots-since-alive={boots}"));
            health.set_exhausted(true);
            if from_ms > 0 {
                assert_eq!(health.step(from_ms - 1, false), None, "{boots}");
            }
            let reboot = Some(Decision::Reboot(Verdict::EssentialExhausted));
            assert_eq!(health.step(from_ms, false), reboot, "{boots}");
        }
    }

    #[test]
    fn a_service_that_recovers_in_time_saves_the_boot() {
        let mut health = with_status("trial=false boots-since-alive=6");
        health.set_exhausted(true);
        assert_eq!(health.step(60_000, false), None);
        health.set_exhausted(false);
        assert_eq!(health.step(30 * 60_000, false), None);
    }

    #[test]
    fn without_bootstate_the_node_is_rebooted_slowly_and_never_on_trial() {
        let mut health = BootHealth::new();
        let mut now_ms = 0;
        while now_ms < 2 * TRIAL_DEADLINE_MS {
            match health.step(now_ms, false) {
                Some(Decision::Run(Task::ReadStatus)) => health.task_ended(now_ms, None),
                None => {}
                other => panic!("{other:?} at {now_ms}"),
            }
            now_ms += 1_000;
        }
        health.set_exhausted(true);
        assert_eq!(health.step(now_ms, false), Some(Decision::Reboot(Verdict::EssentialExhausted)));
    }

    #[test]
    fn a_helper_that_hangs_is_killed_once() {
        let mut health = BootHealth::new();
        assert_eq!(health.step(0, false), Some(Decision::Run(Task::ReadStatus)));
        assert_eq!(health.step(29_999, false), None);
        assert_eq!(health.step(30_000, false), Some(Decision::Abandon));
        assert_eq!(health.step(40_000, false), None);
        health.task_ended(40_001, None);
        assert_eq!(health.step(100_001, false), Some(Decision::Run(Task::ReadStatus)));
    }
}

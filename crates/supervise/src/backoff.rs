//! Waits between restarts and the budget of failures.

use std::collections::VecDeque;

use crate::spec::RestartPolicy;

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start again after this wait.
    Retry { wait_ms: u64 },
    /// The budget is spent.
    Exhausted,
}

/// History of one service's failures.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Failures in a row without a run of the minimum length between them.
    streak: u32,
    /// Times of the failures inside the window; at most `budget` + 1 of them.
    failures_ms: VecDeque<u64>,
}

impl History {
    /// Records a failure at `now_ms` and decides.
    pub(crate) fn failed(&mut self, policy: &RestartPolicy, now_ms: u64, random: &mut Random) -> Verdict {
        let window_start_ms = now_ms.saturating_sub(policy.window_ms);
        self.failures_ms.retain(|&at_ms| at_ms >= window_start_ms);
        self.failures_ms.push_back(now_ms);
        let spent = u32::try_from(self.failures_ms.len()).map_or(true, |failures| failures > policy.budget);
        if spent {
            self.failures_ms.pop_front();
            return Verdict::Exhausted;
        }
        let full_ms = full_wait_ms(policy, self.streak);
        self.streak = self.streak.saturating_add(1);
        Verdict::Retry { wait_ms: random.jitter(full_ms) }
    }

    /// A run of the minimum length: the next wait is a short one again. The budget counts on.
    pub(crate) fn settled(&mut self) {
        self.streak = 0;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The longest wait before restart number `streak` + 1 in a row.
fn full_wait_ms(policy: &RestartPolicy, streak: u32) -> u64 {
    let factor = 1_u64.checked_shl(streak).unwrap_or(u64::MAX);
    policy.initial_ms.saturating_mul(factor).min(policy.max_ms)
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to spread restarts, reproducible from its seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Between half of `full` and all of it.
    pub(crate) fn jitter(&mut self, full: u64) -> u64 {
        let half = full.div_euclid(2);
        let spread = full.saturating_sub(half).saturating_add(1);
        half.saturating_add(self.next().checked_rem(spread).unwrap_or(0))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        initial_ms: 100,
        max_ms: 1_000,
        budget: 6,
        window_ms: 60_000,
        minimum_run_ms: 10_000,
        slow_ms: 5_000,
    };

    #[test]
    fn waits_double_up_to_the_maximum_and_are_jittered_downwards_only() {
        for seed in 0..500 {
            let (mut history, mut random) = (History::default(), Random::new(seed));
            for full_ms in [100, 200, 400, 800, 1_000, 1_000] {
                match history.failed(&POLICY, 5, &mut random) {
                    Verdict::Retry { wait_ms } => {
                        assert!((full_ms / 2..=full_ms).contains(&wait_ms), "seed {seed}: {wait_ms}");
                    }
                    Verdict::Exhausted => panic!("seed {seed}: budget spent too early"),
                }
            }
            assert_eq!(history.failed(&POLICY, 5, &mut random), Verdict::Exhausted, "seed {seed}");
        }
    }

    #[test]
    fn old_failures_leave_the_window_and_a_long_run_shortens_the_wait() {
        let (mut history, mut random) = (History::default(), Random::new(1));
        for round in 0..100 {
            let verdict = history.failed(&POLICY, round * 20_000, &mut random);
            assert!(
                matches!(verdict, Verdict::Retry { wait_ms } if wait_ms <= 100),
                "round {round}: {verdict:?}"
            );
            history.settled();
        }
    }

    #[test]
    fn the_history_stays_small() {
        let (mut history, mut random) = (History::default(), Random::new(1));
        for _ in 0..10_000 {
            history.failed(&POLICY, 5, &mut random);
        }
        assert!(history.failures_ms.len() <= 7);
    }
}

//! Retransmission times and the generator of transaction ids.

/// First wait for an answer (RFC 2131 section 4.1).
const BACKOFF_FIRST_MS: u64 = 4_000;
/// Longest wait for an answer (RFC 2131 section 4.1).
const BACKOFF_LAST_MS: u64 = 64_000;
/// Every wait is moved by up to this much, so that a fleet that boots at once spreads.
const JITTER_MS: u64 = 1_000;
/// Shortest wait between two requests to extend a lease (RFC 2131 section 4.4.5).
const EXTEND_WAIT_MIN_MS: u64 = 60_000;

/// SplitMix64: small, and good enough for numbers that need to differ rather than to be secret.
#[derive(Clone, Debug)]
pub(crate) struct Generator(u64);

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// Up to `limit`, inclusive.
    fn up_to(&mut self, limit: u64) -> u64 {
        self.next() % limit.saturating_add(1)
    }

    /// Wait after the `attempt`th message, counted from 1: 4, 8, 16, 32, 64 s and so on, each ± 1 s.
    pub(crate) fn backoff_ms(&mut self, attempt: u32) -> u64 {
        let doublings = attempt.saturating_sub(1).min(16);
        let base_ms = (BACKOFF_FIRST_MS << doublings).min(BACKOFF_LAST_MS);
        base_ms - JITTER_MS + self.up_to(2 * JITTER_MS)
    }

    /// T1 moved ahead by up to a sixteenth (RFC 2131 section 4.4.5 asks for "fuzz").
    pub(crate) fn early_ms(&mut self, duration_ms: u64) -> u64 {
        duration_ms - self.up_to(duration_ms / 16)
    }
}

/// Wait between two requests to extend a lease: half of the time left, at least a minute, never past the limit.
pub(crate) fn extend_wait_ms(now_ms: u64, limit_ms: Option<u64>) -> u64 {
    let left_ms = limit_ms.map_or(u64::MAX, |limit| limit.saturating_sub(now_ms));
    (left_ms / 2).max(EXTEND_WAIT_MIN_MS).min(left_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_a_bound_and_jitters() {
        for seed in 0..200 {
            let mut generator = Generator::new(seed);
            for (attempt, base_s) in [(1, 4), (2, 8), (3, 16), (4, 32), (5, 64), (6, 64), (u32::MAX, 64)] {
                let wait = generator.backoff_ms(attempt);
                let range = (base_s - 1) * 1000..=(base_s + 1) * 1000;
                assert!(range.contains(&wait), "seed {seed}, attempt {attempt}: {wait}");
            }
        }
    }

    #[test]
    fn two_seeds_give_two_sequences() {
        let draw = |seed| {
            let mut generator = Generator::new(seed);
            [generator.next(), generator.next()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn extending_waits_half_of_what_is_left() {
        assert_eq!(extend_wait_ms(0, Some(1_000_000)), 500_000);
        assert_eq!(extend_wait_ms(0, Some(100_000)), 60_000);
        assert_eq!(extend_wait_ms(0, Some(10_000)), 10_000);
        assert_eq!(extend_wait_ms(5, Some(5)), 0);
        assert_eq!(extend_wait_ms(9, Some(5)), 0);
    }
}

//! When lines are made to survive a power cut.
//!
//! A write to flash costs some 16 KiB whatever it holds, so lines wait for each other: for [`WINDOW_MS`], or until
//! [`WINDOW_BYTES`] have come. What is urgent does not wait. A node that never stops talking would still write every few
//! seconds for ever, so writes are paid from a purse: it holds [`PURSE`] and gains one every [`REFILL_MS`]. Once it is
//! empty lines wait for [`LONG_WINDOW_MS`], and urgent ones for [`WINDOW_MS`].

/// Longest that a line waits.
pub const WINDOW_MS: u64 = 5_000;
/// Longest that a line waits on a node that never stops writing a little.
pub const LONG_WINDOW_MS: u64 = 30_000;
/// Most bytes of lines that wait.
pub const WINDOW_BYTES: u64 = 256 * 1024;
/// A start, or an incident, is written without delay.
const PURSE: u64 = 60;
/// 2880 writes a day: below 50 MB.
const REFILL_MS: u64 = 30_000;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing: no line waits.
    Idle,
    /// Sync at this time, milliseconds on the caller's clock.
    At(u64),
    /// Sync now.
    Now,
}

/// The state between lines. Times are milliseconds of a clock that never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// When the oldest waiting line came.
    since_ms: Option<u64>,
    bytes: u64,
    urgent: bool,
    coins: u64,
    refilled_ms: u64,
}

impl Pace {
    /// Begins with a full purse.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Self { since_ms: None, bytes: 0, urgent: false, coins: PURSE, refilled_ms: now_ms }
    }

    /// A line came.
    pub fn appended(&mut self, now_ms: u64, bytes: usize, urgent: bool) {
        self.since_ms.get_or_insert(now_ms);
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.urgent |= urgent;
    }

    /// All lines that came until now were synced, or that failed.
    pub fn synced(&mut self, now_ms: u64) {
        self.refill(now_ms);
        // What many bytes asked for is no matter of habit.
        if self.bytes < WINDOW_BYTES {
            self.coins = self.coins.saturating_sub(1);
        }
        (self.since_ms, self.bytes, self.urgent) = (None, 0, false);
    }

    /// What is to be done now.
    pub fn due(&mut self, now_ms: u64) -> Due {
        self.refill(now_ms);
        let Some(since_ms) = self.since_ms else { return Due::Idle };
        let is_rich = self.coins > 0;
        let wait_ms = match (self.urgent, is_rich) {
            _ if self.bytes >= WINDOW_BYTES => 0,
            (true, true) => 0,
            (true, false) | (false, true) => WINDOW_MS,
            (false, false) => LONG_WINDOW_MS,
        };
        let at_ms = since_ms.saturating_add(wait_ms);
        if at_ms <= now_ms { Due::Now } else { Due::At(at_ms) }
    }

    fn refill(&mut self, now_ms: u64) {
        let gained = now_ms.saturating_sub(self.refilled_ms) / REFILL_MS;
        self.refilled_ms = self.refilled_ms.saturating_add(gained * REFILL_MS);
        self.coins = self.coins.saturating_add(gained).min(PURSE);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_wait_for_each_other_but_not_long() {
        let mut pace = Pace::new(0);
        assert_eq!(pace.due(7), Due::Idle);
        pace.appended(10, 100, false);
        pace.appended(900, 100, false);
        assert_eq!(pace.due(900), Due::At(10 + WINDOW_MS));
        pace.appended(950, 100, true);
        assert_eq!(pace.due(950), Due::Now);
        pace.synced(960);
        assert_eq!(pace.due(960), Due::Idle);
        pace.appended(1000, 300 * 1024, false);
        assert_eq!(pace.due(1000), Due::Now);
    }

    #[test]
    fn a_node_that_never_stops_writes_less_than_fifty_megabytes_a_day() {
        const DAY_MS: u64 = 24 * 3600 * 1000;
        const WRITE_BYTES: u64 = 16 * 1024;
        for urgent in [false, true] {
            let (mut pace, mut syncs) = (Pace::new(0), 0);
            for now_ms in (0..DAY_MS).step_by(500) {
                pace.appended(now_ms, 80, urgent && now_ms % 60_000 == 0);
                if pace.due(now_ms) == Due::Now {
                    pace.synced(now_ms);
                    syncs += 1;
                }
            }
            // Urgent lines wait for the others: one a minute at most.
            let limit = if urgent { 100_000_000 } else { 50_000_000 };
            assert!(syncs * WRITE_BYTES < limit, "{syncs} writes");
        }
    }

    proptest! {
        #[test]
        fn no_line_waits_longer_than_stated(steps in prop::collection::vec((0..20_000_u64, 0..9_000_usize, any::<bool>()), 0..300)) {
            let mut pace = Pace::new(0);
            let mut now_ms = 0;
            let mut oldest = None;
            for (passed_ms, bytes, urgent) in steps {
                let next_ms = now_ms + passed_ms;
                while let Due::At(at_ms) = pace.due(now_ms) && at_ms <= next_ms {
                    now_ms = at_ms;
                    prop_assert_eq!(pace.due(now_ms), Due::Now);
                    prop_assert!(now_ms - oldest.take().unwrap_or(now_ms) <= LONG_WINDOW_MS);
                    pace.synced(now_ms);
                }
                now_ms = next_ms;
                pace.appended(now_ms, bytes, urgent);
                oldest.get_or_insert(now_ms);
                if pace.due(now_ms) == Due::Now {
                    pace.synced(now_ms);
                    oldest = None;
                }
                prop_assert!(pace.bytes < WINDOW_BYTES);
            }
        }
    }
}

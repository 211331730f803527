//! The earliest time that it can be now.

use std::time::Duration;

use tokio::time::Instant;

/// A floor under the current time: what machined last vouched for, advanced by the monotonic clock. The wall
/// clock is never asked: it may stand at 1970 or ten years ahead.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    floor_s: u64,
    since: Instant,
}

impl Clock {
    /// It is `floor_s` (seconds since 1970) or later now.
    #[must_use]
    pub fn new(floor_s: u64) -> Self {
        Self { floor_s, since: Instant::now() }
    }

    /// It is also `floor_s` or later: takes the later of both, so the floor never falls.
    #[must_use]
    pub fn raised_to(self, floor_s: u64) -> Self {
        Self::new(self.now_s().max(floor_s))
    }

    /// Seconds since 1970, at the earliest.
    #[must_use]
    pub fn now_s(&self) -> u64 {
        self.floor_s.saturating_add(self.since.elapsed().as_secs())
    }

    /// How long until this clock is past `time_s`.
    #[must_use]
    pub fn until_past(&self, time_s: u64) -> Duration {
        let after_floor_s = time_s.saturating_add(1).saturating_sub(self.floor_s);
        Duration::from_secs(after_floor_s).saturating_sub(self.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn advances_and_never_falls() {
        let clock = Clock::new(1000);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(clock.now_s(), 1030);
        assert_eq!(clock.raised_to(5).now_s(), 1030);
        assert_eq!(clock.raised_to(2000).now_s(), 2000);
        assert_eq!(clock.until_past(1039), Duration::from_secs(10));
        assert_eq!(clock.until_past(1029), Duration::ZERO);
        assert_eq!(clock.until_past(3), Duration::ZERO);
        assert!(clock.until_past(u64::MAX) > Duration::from_secs(u64::MAX / 2));
    }
}

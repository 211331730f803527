//! When a line came.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::time::{ClockId, clock_gettime};

/// Wall time, never before the earliest that it can be, and time since the kernel started.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

/// A moment on both clocks, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since 1970.
    pub wall_us: i64,
    /// Since the kernel started.
    pub mono_us: u64,
}

impl Clock {
    /// A clock. `floor_s` is the earliest time that it can be, seconds since 1970.
    pub fn new(floor_s: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(floor_s))
    }

    /// The present moment.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = wall.max(Duration::from_secs((self.0)()));
        let mono = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        Now {
            wall_us: i64::try_from(wall.as_micros()).unwrap_or(i64::MAX),
            mono_us: u64::try_from(mono.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl Now {
    /// The wall time of something that happened at this time since the kernel started.
    pub fn wall_us_at(&self, mono_us: u64) -> i64 {
        self.wall_us.saturating_sub_unsigned(self.mono_us.saturating_sub(mono_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_at_1970_is_not_believed() {
        let far_s = 9_000_000_000;
        assert_eq!(Clock::new(move || far_s).now().wall_us, 9_000_000_000_000_000);
        let now = Clock::new(|| 0).now();
        assert!(now.wall_us > 1_700_000_000_000_000);
        assert_eq!(Now { wall_us: 5_000, mono_us: 900 }.wall_us_at(700), 4_800);
    }
}

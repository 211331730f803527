//! The one clock of PID 1.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of CLOCK_BOOTTIME: never set, and counting through a suspend.
pub fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let milliseconds = u64::try_from(now.tv_nsec).unwrap_or(0).div_euclid(1_000_000);
    seconds.saturating_mul(1_000).saturating_add(milliseconds)
}

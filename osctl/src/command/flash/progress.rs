//! How far a long transfer is, how fast, and how long it will take yet.

use std::time::{Duration, Instant};

use layout::MIB;

use crate::duration;
use crate::output;

/// Between two looks at the line.
const PACE: Duration = Duration::from_millis(250);

/// The line of one transfer.
#[derive(Debug)]
pub struct Meter {
    line: output::Progress,
    action: &'static str,
    total_bytes: Option<u64>,
    started: Instant,
    shown: Option<Instant>,
}

impl Meter {
    /// Starts the clock.
    pub fn new(action: &'static str, total_bytes: Option<u64>) -> Self {
        Self { line: output::Progress::new(), action, total_bytes, started: Instant::now(), shown: None }
    }

    /// Shows how many bytes are done, a few times a second.
    pub fn show(&mut self, done_bytes: u64) {
        let now = Instant::now();
        if self.shown.is_none_or(|shown| now - shown >= PACE) {
            self.shown = Some(now);
            self.line.show(&text(self.action, done_bytes, self.total_bytes, now - self.started));
        }
    }
}

fn text(action: &str, done_bytes: u64, total_bytes: Option<u64>, elapsed: Duration) -> String {
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = done_bytes.saturating_mul(1000) / elapsed_ms;
    let done = match total_bytes {
        Some(total) => format!("{} of {} MiB", done_bytes / MIB, total / MIB),
        None => format!("{} MiB", done_bytes / MIB),
    };
    let left = match total_bytes {
        Some(total) if rate > 0 => {
            let left_s = total.saturating_sub(done_bytes) / rate;
            format!(", {} left", duration::age(Duration::from_secs(left_s)))
        }
        Some(_) | None => String::new(),
    };
    format!("{action}: {done}, {} MiB/s{left}", rate / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_rate_and_remaining_time() {
        let (ten, minute) = (Duration::from_secs(10), 60 * 20 * MIB);
        let line = text("writing", 200 * MIB, Some(200 * MIB + minute), ten);
        assert_eq!(line, "writing: 200 of 1400 MiB, 20 MiB/s, 60s left");
        assert_eq!(text("fetching", 3 * MIB, None, ten), "fetching: 3 MiB, 0 MiB/s");
        assert_eq!(text("writing", 0, Some(MIB), Duration::ZERO), "writing: 0 of 1 MiB, 0 MiB/s");
    }
}

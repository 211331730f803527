//! A limit on bytes per second: a token bucket.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What may come at once after a pause, in seconds' worth of the rate.
const BURST_S: f64 = 0.25;

/// The bucket. Time is an argument. It may be overdrawn: whoever did so waits.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    bytes_per_s: f64,
    /// Negative while there is a debt.
    level_bytes: f64,
    /// When the level was that.
    at: Duration,
}

impl Bucket {
    fn new(bytes_per_s: u64, now: Duration) -> Self {
        // No link is so fast that the loss of precision tells.
        #[allow(clippy::cast_precision_loss)]
        let bytes_per_s = bytes_per_s.max(1) as f64;
        Self { bytes_per_s, level_bytes: bytes_per_s * BURST_S, at: now }
    }

    /// Takes bytes that have come, and says how long to wait before more may.
    fn take(&mut self, now: Duration, bytes: usize) -> Duration {
        let passed_s = now.saturating_sub(self.at).as_secs_f64();
        let full = self.bytes_per_s * BURST_S;
        self.at = self.at.max(now);
        #[allow(clippy::cast_precision_loss)]
        let taken = bytes as f64;
        self.level_bytes = (self.level_bytes + passed_s * self.bytes_per_s).min(full) - taken;
        Duration::from_secs_f64((-self.level_bytes / self.bytes_per_s).max(0.0))
    }
}

/// The limit as transfers share it.
#[derive(Debug)]
pub struct Limiter {
    bucket: Mutex<Bucket>,
    opened: Instant,
    bytes_per_s: u64,
}

impl Limiter {
    /// At most so many bytes per second.
    pub fn new(bytes_per_s: u64) -> Self {
        let bucket = Mutex::new(Bucket::new(bytes_per_s, Duration::ZERO));
        Self { bucket, opened: Instant::now(), bytes_per_s }
    }

    /// The rate.
    pub fn bytes_per_s(&self) -> u64 {
        self.bytes_per_s
    }

    /// Waits until bytes that have come are paid for.
    pub async fn pay(&self, bytes: usize) {
        let wait = {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.take(self.opened.elapsed(), bytes)
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_rate_is_kept_whatever_comes(
            rate in 1_u64..10_000_000,
            pieces in proptest::collection::vec((1_usize..100_000, 0_u64..2_000), 1..200),
        ) {
            let mut now = Duration::ZERO;
            let mut bucket = Bucket::new(rate, now);
            let (mut sum, mut largest) = (0_usize, 0);
            for (bytes, pause_ms) in pieces {
                now += Duration::from_millis(pause_ms);
                now += bucket.take(now, bytes);
                (sum, largest) = (sum + bytes, largest.max(bytes));
                let allowed = now.as_secs_f64().mul_add(rate as f64, rate as f64 * BURST_S);
                // Rounding to nanoseconds.
                prop_assert!(sum as f64 <= allowed + rate as f64 * 1e-6 + 1.0, "{sum} of {allowed}");
            }
        }

        #[test]
        fn a_clock_that_goes_back_gives_nothing(rate in 1_u64..1_000_000, bytes in 1_usize..10_000) {
            let mut bucket = Bucket::new(rate, Duration::from_secs(100));
            bucket.take(Duration::from_secs(100), bytes);
            let before = bucket.level_bytes;
            bucket.take(Duration::from_secs(1), 0);
            prop_assert!(bucket.level_bytes <= before);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn transfers_share_it() {
        let limiter = Limiter::new(1000);
        let before = Instant::now();
        tokio::join!(
            async {
                for _ in 0..10 {
                    limiter.pay(500).await
                }
            },
            async {
                for _ in 0..10 {
                    limiter.pay(500).await
                }
            },
        );
        let took = before.elapsed();
        assert!((Duration::from_millis(9_700)..Duration::from_millis(10_100)).contains(&took), "{took:?}");
    }
}

//! How long to wait before a log server is tried again.

use std::time::Duration;

/// After the first failure.
const SHORTEST: Duration = Duration::from_secs(1);
/// A server that is gone for days is asked once a minute.
const LONGEST: Duration = Duration::from_secs(60);

/// The pause after so many failures in a row.
pub fn pause(failures: u32) -> Duration {
    let mut random = [0; 4];
    // Without randomness pauses are the longest; they need not be unpredictable.
    let drawn = aws_lc_rs::rand::fill(&mut random);
    jittered(failures, drawn.map_or(u32::MAX, |()| u32::from_ne_bytes(random)))
}

/// Doubled with each failure, then between a half and the whole of it: a fleet does not come back as one.
fn jittered(failures: u32, random: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(u32::BITS - 1);
    let whole = SHORTEST.saturating_mul(1 << doublings).min(LONGEST);
    whole / 2 + (whole / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pauses_grow_to_a_bound_and_differ(failures in any::<u32>(), random in any::<u32>()) {
            let waited = jittered(failures, random);
            prop_assert!(waited >= SHORTEST / 2 && waited <= LONGEST);
            prop_assert!(waited <= jittered(failures, u32::MAX));
            prop_assert!(jittered(failures, 0) <= jittered(failures.saturating_add(1), 0));
        }
    }

    #[test]
    fn the_first_is_short_and_the_seventh_the_longest() {
        assert_eq!(jittered(1, u32::MAX), SHORTEST);
        assert_eq!(jittered(3, 0), Duration::from_secs(2));
        assert_eq!(jittered(7, u32::MAX), LONGEST);
    }
}

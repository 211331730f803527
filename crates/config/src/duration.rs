//! Durations as people write them: "90s", "30m", "1h30m", "2d".

use std::fmt;

/// From the largest on.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A whole number of seconds that shows itself as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u64);

/// Reads a duration: whole numbers, each with a unit, the largest unit first.
pub(crate) fn parse(text: &str) -> Option<Seconds> {
    let (mut rest, mut total) = (text, 0_u64);
    for (unit, seconds) in UNITS {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits)?;
        if let Some(after) = after.strip_prefix(unit) {
            total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(seconds)?)?;
            rest = after;
        }
    }
    (rest.is_empty() && !text.is_empty()).then_some(Seconds(total))
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut left = self.0;
        for (unit, seconds) in UNITS {
            let count = left / seconds;
            left %= seconds;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_duration_is_refused() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("1h30m", 5_400), ("2d", 172_800), ("010m", 600)] {
            assert_eq!(parse(text), Some(Seconds(seconds)), "{text}");
        }
        for bad in ["", "0", "10", "s", "-1s", "1.5h", "1m1h", "1h 1m", "1m1m", "1w", "99999999999999999999s"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_is_written(seconds: u64) {
            prop_assert_eq!(parse(&Seconds(seconds).to_string()), Some(Seconds(seconds)));
        }
    }
}

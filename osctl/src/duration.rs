//! Durations on the command line ("30s", "1h30m", "365d") and in AGE columns ("5s", "3m20s", "12d").

use std::time::Duration;

const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 60 * MINUTE_S;
const DAY_S: u64 = 24 * HOUR_S;
/// Units from large to small, as they are written.
const UNITS: [(&str, u64); 4] = [("d", DAY_S), ("h", HOUR_S), ("m", MINUTE_S), ("s", 1)];

/// Reads a sum of whole units, such as "90s" or "1h30m".
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write it like 30s, 5m, 1h30m or 365d");
    let mut rest = text;
    let mut total_s: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let (unit, unit_s) = UNITS.into_iter().find(|(unit, _)| tail.starts_with(unit)).ok_or_else(wrong)?;
        let count: u64 = number.parse().map_err(|_| wrong())?;
        total_s = count.checked_mul(unit_s).and_then(|s| total_s.checked_add(s)).ok_or_else(wrong)?;
        rest = &tail[unit.len()..];
    }
    if total_s == 0 { Err(wrong()) } else { Ok(Duration::from_secs(total_s)) }
}

/// An age as kubectl prints it: two units while small, one once the second no longer matters.
pub fn age(duration: Duration) -> String {
    let total_s = duration.as_secs();
    let pair = |large: &str, large_s: u64, small: &str, small_s: u64| match total_s % large_s / small_s {
        0 => format!("{}{large}", total_s / large_s),
        rest => format!("{}{large}{rest}{small}", total_s / large_s),
    };
    match total_s {
        s if s < 2 * MINUTE_S => format!("{s}s"),
        s if s < 10 * MINUTE_S => pair("m", MINUTE_S, "s", 1),
        s if s < 3 * HOUR_S => format!("{}m", s / MINUTE_S),
        s if s < 8 * HOUR_S => pair("h", HOUR_S, "m", MINUTE_S),
        s if s < 2 * DAY_S => format!("{}h", s / HOUR_S),
        s if s < 8 * DAY_S => pair("d", DAY_S, "h", HOUR_S),
        s => format!("{}d", s / DAY_S),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_sums_of_units() {
        for (text, seconds) in
            [("30s", 30), ("5m", 300), ("1h30m", 5400), ("365d", 365 * DAY_S), ("1d1s", DAY_S + 1)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in
            ["", "5", "s", "0s", "-1s", "1.5h", "1y", "1h ", "99999999999999999999s", "9999999999999999d"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ages_read_like_kubectl() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (601, "10m"),
            (3 * HOUR_S, "3h"),
            (7 * HOUR_S + 60, "7h1m"),
            (47 * HOUR_S, "47h"),
            (3 * DAY_S + 4 * HOUR_S, "3d4h"),
            (400 * DAY_S, "400d"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }

    proptest! {
        #[test]
        fn every_printed_age_reads_back_no_longer_than_it_was(seconds in 1u64..20_000_000_000) {
            let read = parse(&age(Duration::from_secs(seconds))).unwrap();
            prop_assert!(read.as_secs() <= seconds);
            prop_assert!(read.as_secs() * 10 >= seconds * 9 || seconds - read.as_secs() < HOUR_S);
        }

        #[test]
        fn never_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}

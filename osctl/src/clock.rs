//! The clock of this computer. Node clocks may be decades off, so differences are never trusted to be small.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

use crate::duration;

/// Oldest age that is shown: beyond it one of both clocks is wrong.
const AGE_MAX: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A time as RFC 3339.
pub fn date(time_s: u64) -> String {
    Timestamp { seconds: i64::try_from(time_s).unwrap_or(i64::MAX), nanos: 0 }.to_string()
}

/// A time as RFC 3339, without parts of seconds, for a column; empty when unknown.
pub fn to_second(time: Option<&str>) -> String {
    let time = time.unwrap_or_default();
    time.split_once('.').map_or_else(|| time.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

/// How long ago a node's timestamp is, for an AGE column; empty when unknown.
pub fn age(timestamp: Option<&Timestamp>, now_s: u64) -> String {
    let Some(then_s) = timestamp.and_then(|timestamp| u64::try_from(timestamp.seconds).ok()) else {
        return String::new();
    };
    let passed = Duration::from_secs(now_s.saturating_sub(then_s));
    if passed > AGE_MAX { "unknown".to_owned() } else { duration::age(passed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_survive_wrong_clocks() {
        let at = |seconds| Timestamp { seconds, nanos: 5 };
        assert_eq!(age(None, 1_000), "");
        assert_eq!(age(Some(&at(940)), 1_000), "60s");
        assert_eq!(age(Some(&at(2_000)), 1_000), "0s", "the node's clock is ahead");
        assert_eq!(age(Some(&at(-5)), 1_000), "");
        assert_eq!(age(Some(&at(60)), 1_800_000_000), "unknown", "the node believes that it is 1970");
    }

    #[test]
    fn parts_of_seconds_go() {
        assert_eq!(to_second(Some("2026-09-21T14:13:20.123456Z")), "2026-09-21T14:13:20Z");
        assert_eq!(to_second(Some("2026-09-21T14:13:20Z")), "2026-09-21T14:13:20Z");
        assert_eq!(to_second(None), "");
    }

    #[test]
    fn dates_are_rfc_3339() {
        assert_eq!(date(1_790_000_000), "2026-09-21T14:13:20Z");
    }
}

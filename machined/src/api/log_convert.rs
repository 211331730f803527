//! Between kept logs and the API's messages. Pure.

use logstore::{BootId, BootSpan, Record, SourceSummary};
use prost_types::Timestamp;
use proto::log::v1 as api;
use tonic::Status;

use crate::logs::{
    Crash,
    query::{Found, QueryError},
};

const SECOND_US: i64 = 1_000_000;

/// Microseconds since 1970 as a timestamp.
pub fn timestamp(time_us: i64) -> Timestamp {
    let nanos = i32::try_from(time_us.rem_euclid(SECOND_US) * 1000).unwrap_or_default();
    Timestamp { seconds: time_us.div_euclid(SECOND_US), nanos }
}

/// A timestamp in microseconds since 1970.
fn timestamp_us(timestamp: &Timestamp) -> i64 {
    timestamp.seconds.saturating_mul(SECOND_US).saturating_add(i64::from(timestamp.nanos) / 1000)
}

/// A time that a client gives as such or as seconds before now, in microseconds since 1970.
pub fn moment_us(now_us: i64, at: Option<&Timestamp>, ago_s: Option<u64>) -> Option<i64> {
    let ago = |ago_s: u64| now_us.saturating_sub_unsigned(ago_s.saturating_mul(SECOND_US.unsigned_abs()));
    ago_s.map(ago).or(at.map(timestamp_us))
}

/// A line as a message.
pub fn record(found: Found) -> api::LogRecord {
    let Found { boot, record: Record { sequence, entry } } = found;
    api::LogRecord {
        sequence,
        time: Some(timestamp(entry.wall_us)),
        boot_id: boot.to_string(),
        timestamp_us: entry.mono_us,
        priority: entry.priority.map(u32::from),
        position: entry.position,
        message: entry.message,
    }
}

/// Lines as they were written.
pub fn text(lines: Vec<Found>) -> api::ReadResponse {
    let mut data = Vec::new();
    for line in lines {
        data.extend(line.record.entry.message);
        data.push(b'\n');
    }
    api::ReadResponse { data }
}

/// A source as a message.
pub fn source(summary: SourceSummary) -> api::LogSource {
    let SourceSummary { source, stored_bytes, lines, times_us } = summary;
    api::LogSource {
        name: source.to_string(),
        lines,
        stored_bytes,
        earliest: times_us.map(|(earliest_us, _)| timestamp(earliest_us)),
        latest: times_us.map(|(_, latest_us)| timestamp(latest_us)),
    }
}

/// Boots that are kept, counted back from this one.
pub fn boots(kept: &[BootSpan], this: BootId) -> Vec<api::Boot> {
    let (earlier, present): (Vec<&BootSpan>, Vec<&BootSpan>) =
        kept.iter().partition(|span| span.boot != this);
    let offsets =
        (0..earlier.len()).map(|index| i32::try_from(index).map_or(i32::MIN, |index| -1 - index)).rev();
    let all = earlier.into_iter().zip(offsets).chain(present.into_iter().map(|span| (span, 0)));
    all.map(|(span, offset)| api::Boot {
        boot_id: span.boot.to_string(),
        offset,
        earliest: Some(timestamp(span.earliest_us)),
        latest: Some(timestamp(span.latest_us)),
        lines: span.lines,
    })
    .collect()
}

/// A crash as a message; nothing for a record that is none.
pub fn crash(record: &Record) -> Option<api::Crash> {
    let crash = Crash::parse(&record.entry.message)?;
    let summary = crash.summary().to_owned();
    let Crash { who, reason, boot, text } = crash;
    Some(api::Crash {
        sequence: record.sequence,
        time: Some(timestamp(record.entry.wall_us)),
        who,
        reason,
        boot_id: boot.map(|boot| boot.to_string()).unwrap_or_default(),
        summary,
        text,
    })
}

/// What a client is told.
pub fn status_of_query(error: &QueryError) -> Status {
    let message = error.to_string();
    match error {
        QueryError::NoSource { .. } => Status::not_found(message),
        QueryError::Boot(_) => Status::not_found(format!("{message}; `osctl logs --boot list` lists them")),
        QueryError::Pattern(_) | QueryError::FollowsPast => Status::invalid_argument(message),
        QueryError::Gone(_) => Status::unavailable(message),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn boots_are_counted_back_from_this_one() {
        let span = |number| BootSpan {
            boot: BootId([number; 16]),
            first_sequence: number.into(),
            last_sequence: number.into(),
            earliest_us: 1,
            latest_us: 2,
            lines: 3,
        };
        let offsets = |this| -> Vec<i32> {
            boots(&[span(1), span(2), span(3)], BootId([this; 16])).iter().map(|boot| boot.offset).collect()
        };
        assert_eq!(offsets(3), [-2, -1, 0]);
        assert_eq!(offsets(9), [-3, -2, -1]);
    }

    #[test]
    fn times_are_given_or_counted_back() {
        let at = Timestamp { seconds: 7, nanos: 5_000 };
        assert_eq!(moment_us(90_000_000, None, None), None);
        assert_eq!(moment_us(90_000_000, Some(&at), None), Some(7_000_005));
        assert_eq!(moment_us(90_000_000, Some(&at), Some(30)), Some(60_000_000));
        assert_eq!(moment_us(90_000_000, None, Some(u64::MAX)), Some(i64::MIN));
    }

    proptest! {
        #[test]
        fn times_come_back(time_us in -4_000_000_000_000_000..4_000_000_000_000_000_i64) {
            let timestamp = timestamp(time_us);
            prop_assert!((0..1_000_000_000).contains(&timestamp.nanos));
            prop_assert_eq!(timestamp_us(&timestamp), time_us);
        }
    }
}

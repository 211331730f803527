//! A line, and how it lies in a block.

use crate::varint::{put, take, unzigzag, zigzag};

/// Longest message: a line of a service has at most 8 KiB, the last words of a crash take more.
pub const MESSAGE_MAX_BYTES: usize = 32 * 1024;
/// Most that a record takes besides its message: six numbers.
pub(crate) const OVERHEAD_MAX_BYTES: usize = 6 * crate::varint::MAX_BYTES;

/// A line on its way into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it was read from, such as the number of a file. 0 where there is only one.
    pub origin: u64,
    /// Where in that it ends: a reader of the same boot goes on behind it.
    pub position: u64,
    /// Wall time in microseconds since 1970.
    pub wall_us: i64,
    /// Microseconds since the kernel started.
    pub mono_us: u64,
    /// Facility times 8 plus severity (RFC 5424, section 6.2.1), where that is known.
    pub priority: Option<u16>,
    /// The line without its line feed, at most [`MESSAGE_MAX_BYTES`]; the rest is cut off.
    pub message: Vec<u8>,
}

/// A line in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number; rises over all sources and boots, with gaps.
    pub sequence: u64,
    /// The line.
    pub entry: Entry,
}

/// Numbers in a block are differences to those of the record before.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    sequence: u64,
    position: u64,
    wall_us: i64,
    mono_us: u64,
}

/// Writes records of one origin, one after the other. `first_sequence` is that of the first.
pub(crate) fn encode<'a>(records: impl IntoIterator<Item = &'a Record>, first_sequence: u64) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut before = Before { sequence: first_sequence, ..Before::default() };
    for Record { sequence, entry } in records {
        put(&mut raw, sequence.saturating_sub(before.sequence));
        put(&mut raw, zigzag(entry.position.wrapping_sub(before.position).cast_signed()));
        put(&mut raw, zigzag(entry.wall_us.wrapping_sub(before.wall_us)));
        put(&mut raw, zigzag(entry.mono_us.wrapping_sub(before.mono_us).cast_signed()));
        put(&mut raw, entry.priority.map_or(0, |priority| u64::from(priority) + 1));
        put(&mut raw, entry.message.len() as u64);
        raw.extend_from_slice(&entry.message);
        let Entry { position, wall_us, mono_us, .. } = *entry;
        before = Before { sequence: *sequence, position, wall_us, mono_us };
    }
    raw
}

/// Reads them back; `None` unless these bytes are exactly `count` records of rising number.
pub(crate) fn decode(mut raw: &[u8], count: u32, first_sequence: u64, origin: u64) -> Option<Vec<Record>> {
    let count = usize::try_from(count).ok()?;
    // A record has at least six bytes: the count alone must not reserve memory.
    let mut records: Vec<Record> = Vec::with_capacity(count.min(raw.len() / 6));
    let mut before = Before { sequence: first_sequence, ..Before::default() };
    while records.len() < count {
        let sequence = before.sequence.checked_add(take(&mut raw)?)?;
        if records.last().is_some_and(|last| last.sequence >= sequence) {
            return None;
        }
        let position = before.position.wrapping_add(unzigzag(take(&mut raw)?).cast_unsigned());
        let wall_us = before.wall_us.wrapping_add(unzigzag(take(&mut raw)?));
        let mono_us = before.mono_us.wrapping_add(unzigzag(take(&mut raw)?).cast_unsigned());
        let priority = match take(&mut raw)? {
            0 => None,
            more => Some(u16::try_from(more - 1).ok()?),
        };
        let length = usize::try_from(take(&mut raw)?).ok().filter(|length| *length <= MESSAGE_MAX_BYTES)?;
        let (message, rest) = raw.split_at_checked(length)?;
        raw = rest;
        let entry = Entry { origin, position, wall_us, mono_us, priority, message: message.to_vec() };
        records.push(Record { sequence, entry });
        before = Before { sequence, position, wall_us, mono_us };
    }
    raw.is_empty().then_some(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn record()(
            step in 1..u64::from(u32::MAX),
            position in any::<u64>(),
            wall_us in any::<i64>(),
            mono_us in any::<u64>(),
            priority in any::<Option<u16>>(),
            message in prop::collection::vec(any::<u8>(), 0..40),
        ) -> (u64, Entry) {
            (step, Entry { origin: 7, position, wall_us, mono_us, priority, message })
        }
    }

    proptest! {
        #[test]
        fn records_come_back(first in 0..u64::from(u32::MAX), entries in prop::collection::vec(record(), 0..20)) {
            let mut sequence = first;
            let records: Vec<Record> = entries.into_iter().map(|(step, entry)| {
                let record = Record { sequence, entry };
                sequence += step;
                record
            }).collect();
            let raw = encode(&records, first);
            let count = u32::try_from(records.len()).unwrap();
            prop_assert_eq!(decode(&raw, count, first, 7), Some(records));
            prop_assert_eq!(decode(&raw, count + 1, first, 7), None);
        }

        #[test]
        fn no_bytes_are_too_odd(raw in prop::collection::vec(any::<u8>(), 0..200), count in any::<u32>()) {
            decode(&raw, count, 0, 0);
        }
    }
}

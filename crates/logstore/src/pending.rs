//! Lines of one source that are not written yet.

use std::collections::VecDeque;

use crate::{
    block::BLOCK_RAW_MAX_BYTES,
    boot::BootId,
    catalogue::BootSpan,
    gap::Gap,
    record::{OVERHEAD_MAX_BYTES, Record},
};

/// So much makes a block: more would compress little better.
pub(crate) const BLOCK_TARGET_BYTES: usize = 64 * 1024;
/// Most that waits while nothing can be written; then the oldest line goes.
const PENDING_MAX_BYTES: usize = 2 * BLOCK_TARGET_BYTES;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    records: VecDeque<Record>,
    bytes: usize,
    gap: Option<Gap>,
}

impl Pending {
    /// Adds a line; returns how many had to be dropped for it.
    pub fn push(&mut self, record: Record) -> u64 {
        self.bytes += size(&record);
        self.records.push_back(record);
        let mut dropped = 0;
        while self.bytes > PENDING_MAX_BYTES
            && let Some(oldest) = self.records.pop_front()
        {
            self.bytes -= size(&oldest);
            Gap::add(&mut self.gap, oldest);
            dropped += 1;
        }
        dropped
    }

    /// Whether there is a block's worth, or the next line is of another origin, as a block must not be.
    pub fn is_block(&self, next_origin: u64) -> bool {
        let is_other = self.records.back().is_some_and(|last| last.entry.origin != next_origin);
        is_other || self.bytes >= BLOCK_TARGET_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.gap.is_none()
    }

    /// The records of the next block: what is missing before them first.
    pub fn next_block(&self) -> Vec<Record> {
        let gap = self.gap.clone().map(Gap::record);
        let origin = gap.as_ref().or(self.records.front()).map(|first| first.entry.origin);
        let mut bytes = 0;
        let mut fits = |record: &Record| {
            bytes += size(record);
            Some(record.entry.origin) == origin && bytes <= BLOCK_RAW_MAX_BYTES
        };
        gap.into_iter().chain(self.records.iter().cloned()).take_while(|record| fits(record)).collect()
    }

    /// Takes off a block that was written.
    pub fn written(&mut self, records: usize) {
        let of_lines = records.saturating_sub(usize::from(self.gap.take().is_some()));
        for record in self.records.drain(..of_lines.min(self.records.len())) {
            self.bytes -= size(&record);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    pub fn span(&self, boot: BootId) -> Option<BootSpan> {
        let times = || self.records.iter().map(|record| record.entry.wall_us);
        Some(BootSpan {
            boot,
            first_sequence: self.records.front()?.sequence,
            last_sequence: self.records.back()?.sequence,
            earliest_us: times().min()?,
            latest_us: times().max()?,
            lines: self.records.len() as u64,
        })
    }
}

fn size(record: &Record) -> usize {
    record.entry.message.len() + OVERHEAD_MAX_BYTES
}

//! Lines of all sources in the order of their numbers.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    boot::BootId,
    medium::Medium,
    read::{Cursor, Range},
    record::Record,
    source::Source,
    store::Store,
};

/// A reader of all sources. Holds at most a block of each in memory.
#[derive(Debug)]
pub struct Merged {
    from: u64,
    lanes: BTreeMap<Source, Lane>,
}

#[derive(Debug)]
struct Lane {
    cursor: Cursor,
    waiting: VecDeque<(BootId, Record)>,
}

impl Merged {
    /// Begins with the line of this number, or the next one that there is.
    #[must_use]
    pub fn from(sequence: u64) -> Self {
        Self { from: sequence, lanes: BTreeMap::new() }
    }

    /// Number of the first line that was not handed out.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.from
    }

    /// The next lines, of about so many bytes; none when there are no more for now.
    pub fn read<M: Medium>(&mut self, store: &mut Store<M>, bytes: usize) -> Vec<(Source, BootId, Record)> {
        let sources: Vec<Source> = store.streams.keys().cloned().collect();
        let mut lines = Vec::new();
        let mut size = 0;
        while size < bytes {
            for source in &sources {
                self.fill(store, source);
            }
            let first = |lane: &Lane| lane.waiting.front().map(|(_, record)| record.sequence);
            let next = self.lanes.iter_mut().filter(|(_, lane)| !lane.waiting.is_empty());
            let Some((source, lane)) = next.min_by_key(|(_, lane)| first(lane)) else { break };
            let Some((boot, record)) = lane.waiting.pop_front() else { break };
            self.from = record.sequence.saturating_add(1);
            size += record.entry.message.len();
            lines.push((source.clone(), boot, record));
        }
        lines
    }

    fn fill<M: Medium>(&mut self, store: &mut Store<M>, source: &Source) {
        let from = self.from;
        let lane = self
            .lanes
            .entry(source.clone())
            .or_insert_with(|| Lane { cursor: Cursor::at(from), waiting: VecDeque::new() });
        while lane.waiting.is_empty() {
            let batch = store.read(source, lane.cursor, &Range::default());
            lane.cursor = batch.next;
            lane.waiting.extend(batch.records.into_iter().map(|record| (batch.boot, record)));
            if batch.end {
                return;
            }
        }
    }
}

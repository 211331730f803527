//! The store: opening, appending, and taking over another one.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use crate::{
    block::BlockHeader,
    boot::BootId,
    catalogue::{BootSpan, Evictions, Limits, Resume, Segment, SourceSummary, Stream},
    medium::Medium,
    read::{Cursor, Range},
    record::{Entry, MESSAGE_MAX_BYTES, Record},
    scan::scan,
    segment::{HEADER_BYTES, Header, SegmentName, judge},
    source::Source,
};

/// Most sources: each may hold lines in memory.
pub const SOURCES_MAX: usize = 32;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be listed.
    #[error("cannot list the segments of the logs")]
    List(#[source] io::Error),
    /// A source too many.
    #[error("there are {SOURCES_MAX} sources of logs already: {source_name} is not kept")]
    TooManySources {
        /// Whose lines they are.
        source_name: Source,
    },
}

/// Logs of all sources. Everything may block, as the medium does.
///
/// Lines are appended to memory and written a block at a time, or by [`Store::flush`]; [`Store::sync`] makes them survive
/// a power cut. [`crate::Pace`] says when that is due. Lines can be read from the moment that they are appended.
#[derive(Debug)]
pub struct Store<M> {
    pub(crate) medium: M,
    pub(crate) limits: Limits,
    pub(crate) boot: BootId,
    pub(crate) streams: BTreeMap<Source, Stream>,
    next_sequence: u64,
    pub(crate) next_number: u64,
    /// Files with bytes that a power cut would take.
    pub(crate) unsynced: BTreeSet<String>,
    /// Why the last write failed, if it did.
    pub(crate) trouble: Option<io::Error>,
    lost_lines: u64,
    pub(crate) evictions: Evictions,
}

impl<M: Medium> Store<M> {
    /// Opens what lies on the medium, whatever became of it. New lines are of this boot.
    pub fn open(medium: M, limits: Limits, boot: BootId) -> Result<Self, StoreError> {
        let mut store = Self {
            medium,
            limits,
            boot,
            streams: BTreeMap::new(),
            next_sequence: 1,
            next_number: 1,
            unsynced: BTreeSet::new(),
            trouble: None,
            lost_lines: 0,
            evictions: Evictions::default(),
        };
        let listed = store.medium.list().map_err(StoreError::List)?;
        let mut names: Vec<(SegmentName, u64)> = listed
            .into_iter()
            .filter_map(|(name, length)| Some((SegmentName::parse(&name)?, length)))
            .collect();
        names.sort();
        for (name, length_bytes) in names {
            store.next_number = store.next_number.max(name.number.saturating_add(1));
            let is_known = store.streams.contains_key(&name.source);
            if is_known || store.streams.len() < SOURCES_MAX {
                store.take_in(name, length_bytes);
            }
        }
        Ok(store)
    }

    /// Learns what a segment holds. One without a whole block goes; nothing is added behind damage.
    fn take_in(&mut self, name: SegmentName, length_bytes: u64) {
        let SegmentName { source, number } = name.clone();
        let mut segment = Segment { number, length_bytes, closed: true, spans: Vec::new() };
        let read = self.look_through(&name, &mut segment);
        let is_foreign = matches!(read, Ok(Header::Foreign));
        // What cannot be read now may be another time: it counts, and goes when its turn comes.
        let is_empty = read.is_ok() && !is_foreign && segment.spans.is_empty();
        if is_empty && self.medium.remove(&name.file()).is_ok() {
            return;
        }
        let last = segment.last_sequence().unwrap_or_default();
        self.next_sequence = self.next_sequence.max(last.saturating_add(1));
        self.streams.entry(source).or_default().segments.push_back(segment);
    }

    fn look_through(&mut self, name: &SegmentName, segment: &mut Segment) -> io::Result<Header> {
        let file = name.file();
        let mut bytes = [0; HEADER_BYTES];
        let read = self.medium.read_at(&file, 0, &mut bytes)?;
        let header = judge(name, bytes.get(..read).unwrap_or_default());
        if header == Header::Foreign {
            return Ok(header);
        }
        let mut end = HEADER_BYTES as u64;
        let mut last: Option<BlockHeader> = None;
        while let Some(found) = scan(&mut self.medium, &file, end, segment.length_bytes)? {
            end = found.end();
            // A block of an earlier time is none that was written here.
            if last.is_some_and(|last| found.header.first_sequence <= last.last_sequence) {
                continue;
            }
            segment.add(&found.header);
            last = Some(found.header);
        }
        let resume = last.as_ref().map(Resume::of);
        if let Some(resume) = resume {
            self.streams.entry(name.source.clone()).or_default().resume = Some(resume);
        }
        // What a power cut left at the end is no block and never becomes one.
        let is_cut = end < segment.length_bytes;
        if is_cut && last.is_some() && self.medium.truncate(&file, end).is_ok() {
            segment.length_bytes = end;
        }
        segment.closed = header != Header::Good || end != segment.length_bytes;
        Ok(header)
    }

    /// Adds a line. Fails only for a source too many; what cannot be written waits, and is counted if it waits in vain.
    pub fn append(&mut self, source: &Source, entry: Entry) -> Result<(), StoreError> {
        let sequence = self.next_sequence;
        self.append_numbered(source, Record { sequence, entry })
    }

    fn append_numbered(&mut self, source: &Source, mut record: Record) -> Result<(), StoreError> {
        if !self.streams.contains_key(source) {
            if self.streams.len() >= SOURCES_MAX {
                return Err(StoreError::TooManySources { source_name: source.clone() });
            }
            self.streams.insert(source.clone(), Stream::default());
        }
        self.next_sequence = self.next_sequence.max(record.sequence.saturating_add(1));
        record.entry.message.truncate(MESSAGE_MAX_BYTES);
        let is_block = |stream: &Stream| stream.pending.is_block(record.entry.origin);
        if self.trouble.is_none() && self.streams.get(source).is_some_and(is_block) {
            self.write(source);
        }
        if let Some(stream) = self.streams.get_mut(source) {
            self.lost_lines += stream.pending.push(record);
        }
        Ok(())
    }

    /// Takes over the lines of this boot that another store gathered meanwhile, but for those that are here already.
    /// Returns what their numbers have risen by.
    pub fn adopt<O: Medium>(&mut self, other: &mut Store<O>) -> Result<u64, StoreError> {
        let risen = self.next_sequence.saturating_sub(1);
        let boot = self.boot;
        for source in other.streams.keys().cloned().collect::<Vec<_>>() {
            let known = self.streams.get(&source).and_then(|stream| stream.resume);
            let known = known.filter(|known| known.boot == boot);
            let mut from = 0;
            if let Some(known) = known {
                other.each(&source, 0, |record| {
                    let Entry { origin, position, .. } = record.entry;
                    if origin == known.origin && position <= known.position {
                        from = record.sequence.saturating_add(1);
                    }
                });
            }
            let mut outcome = Ok(());
            other.each(&source, from, |record| {
                let sequence = record.sequence.saturating_add(risen);
                if outcome.is_ok() {
                    outcome = self.append_numbered(&source, Record { sequence, ..record });
                }
            });
            outcome?;
        }
        self.next_sequence = self.next_sequence.max(other.next_sequence.saturating_add(risen));
        Ok(risen)
    }

    /// Every line of this boot from a number on.
    fn each(&mut self, source: &Source, from: u64, mut take: impl FnMut(Record)) {
        let range = Range { boot: Some(self.boot), ..Range::default() };
        let mut cursor = Cursor::at(from);
        loop {
            let batch = self.read(source, cursor, &range);
            batch.records.into_iter().for_each(&mut take);
            if batch.end {
                return;
            }
            cursor = batch.next;
        }
    }

    /// The number that the next line gets, at least.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Which boot new lines are of.
    #[must_use]
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Why nothing can be written at present.
    #[must_use]
    pub fn trouble(&self) -> Option<&io::Error> {
        self.trouble.as_ref()
    }

    /// Lines that were dropped since the store was opened, because they could not be written.
    #[must_use]
    pub fn lost_lines(&self) -> u64 {
        self.lost_lines
    }

    /// For who has read up to this number, and has counted so many evictions: how many lines went unread since, at most,
    /// and how many evictions there were by now.
    #[must_use]
    pub fn evicted(&self, count: u64, sequence: u64) -> (u64, u64) {
        self.evictions.since(count, sequence)
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.streams.values().map(Stream::stored_bytes).sum()
    }

    /// All sources.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceSummary> {
        let summary = |(source, stream): (&Source, &Stream)| {
            let spans = || stream.spans(self.boot);
            let earliest_us = spans().map(|span| span.earliest_us).min();
            SourceSummary {
                source: source.clone(),
                stored_bytes: stream.stored_bytes(),
                lines: spans().map(|span| span.lines).sum(),
                times_us: earliest_us.zip(spans().map(|span| span.latest_us).max()),
            }
        };
        self.streams.iter().map(summary).collect()
    }

    /// All boots of which there are lines, the oldest first.
    #[must_use]
    pub fn boots(&self) -> Vec<BootSpan> {
        let mut boots: BTreeMap<BootId, BootSpan> = BTreeMap::new();
        for span in self.streams.values().flat_map(|stream| stream.spans(self.boot)) {
            boots.entry(span.boot).and_modify(|known| known.extend(&span)).or_insert(span);
        }
        let mut boots: Vec<BootSpan> = boots.into_values().collect();
        boots.sort_by_key(|span| span.first_sequence);
        boots
    }

    /// The medium. Files of segments are the store's alone.
    pub fn medium_mut(&mut self) -> &mut M {
        &mut self.medium
    }

    /// The medium, when the store is of no more use.
    pub fn into_medium(self) -> M {
        self.medium
    }
}

//! What the store knows of its segments without reading them, and which of them goes first.

use std::collections::{BTreeMap, VecDeque};

use crate::{block::BlockHeader, boot::BootId, pending::Pending, source::Source};

/// Most segments: what is known of them stays within some hundred KiB, and opening within a second on slow flash. A
/// short segment therefore counts as one part in so many of the whole.
const SEGMENTS_MAX: u64 = 1024;

/// How much a store may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All segments together, in bytes.
    pub cap_bytes: u64,
    /// A segment is closed when it would grow beyond this: so much goes at once when there is no room.
    pub segment_bytes: u64,
    /// When the medium is full: so much is kept, and new lines are dropped instead.
    pub floor_bytes: u64,
}

impl Limits {
    /// What a segment of this length counts as.
    pub(crate) fn charge(&self, length_bytes: u64) -> u64 {
        length_bytes.max(self.cap_bytes / SEGMENTS_MAX)
    }
}

/// Lines of one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootSpan {
    /// Which boot.
    pub boot: BootId,
    /// Number of the first line.
    pub first_sequence: u64,
    /// Number of the last line.
    pub last_sequence: u64,
    /// Earliest wall time of a line, microseconds since 1970.
    pub earliest_us: i64,
    /// Latest wall time of a line.
    pub latest_us: i64,
    /// How many lines, as far as blocks say.
    pub lines: u64,
}

impl BootSpan {
    fn of(header: &BlockHeader) -> Self {
        Self {
            boot: header.boot,
            first_sequence: header.first_sequence,
            last_sequence: header.last_sequence,
            earliest_us: header.earliest_us,
            latest_us: header.latest_us,
            lines: header.records.into(),
        }
    }

    /// Takes in lines of the same boot.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.first_sequence = self.first_sequence.min(other.first_sequence);
        self.last_sequence = self.last_sequence.max(other.last_sequence);
        self.earliest_us = self.earliest_us.min(other.earliest_us);
        self.latest_us = self.latest_us.max(other.latest_us);
        self.lines = self.lines.saturating_add(other.lines);
    }
}

/// A source, as a list of sources shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSummary {
    /// Which.
    pub source: Source,
    /// Bytes of its segments.
    pub stored_bytes: u64,
    /// Lines that are kept, as far as blocks say.
    pub lines: u64,
    /// Earliest and latest wall time of a line, microseconds since 1970; `None` without lines.
    pub times_us: Option<(i64, i64)>,
}

/// One segment.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub number: u64,
    pub length_bytes: u64,
    /// Nothing may be added.
    pub closed: bool,
    /// In the order in which they were written.
    pub spans: Vec<BootSpan>,
}

impl Segment {
    pub fn add(&mut self, header: &BlockHeader) {
        let span = BootSpan::of(header);
        match self.spans.last_mut() {
            Some(last) if last.boot == span.boot => last.extend(&span),
            Some(_) | None => self.spans.push(span),
        }
    }

    pub fn last_sequence(&self) -> Option<u64> {
        self.spans.iter().map(|span| span.last_sequence).max()
    }
}

/// Behind which line of a boot a source was written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resume {
    pub boot: BootId,
    pub origin: u64,
    pub position: u64,
    pub sequence: u64,
}

impl Resume {
    pub fn of(header: &BlockHeader) -> Self {
        let BlockHeader { boot, origin, last_position, last_sequence, .. } = *header;
        Self { boot, origin, position: last_position, sequence: last_sequence }
    }
}

/// All of one source.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The oldest first.
    pub segments: VecDeque<Segment>,
    /// Not written yet.
    pub pending: Pending,
    pub resume: Option<Resume>,
}

impl Stream {
    pub fn charge(&self, limits: &Limits) -> u64 {
        self.segments.iter().map(|segment| limits.charge(segment.length_bytes)).sum()
    }

    pub fn stored_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length_bytes).sum()
    }

    pub fn spans(&self, boot: BootId) -> impl Iterator<Item = BootSpan> + '_ {
        let written = self.segments.iter().flat_map(|segment| segment.spans.iter().copied());
        written.chain(self.pending.span(boot))
    }
}

/// Evictions that are remembered, for who reads behind them.
const EVICTIONS_MAX: usize = 256;

/// What went since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Evictions {
    /// Last number and lines of each segment, the oldest first.
    recent: VecDeque<(u64, u64)>,
    /// How many are not remembered any more.
    forgotten: u64,
}

impl Evictions {
    pub fn add(&mut self, segment: &Segment) {
        let lines = segment.spans.iter().map(|span| span.lines).sum();
        self.recent.push_back((segment.last_sequence().unwrap_or_default(), lines));
        if self.recent.len() > EVICTIONS_MAX {
            self.recent.pop_front();
            self.forgotten += 1;
        }
    }

    /// Lines of segments that went after so many others had gone, and that held this number or later ones; and how many
    /// segments have gone by now.
    pub fn since(&self, count: u64, sequence: u64) -> (u64, u64) {
        let known = usize::try_from(count.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        let unread = self.recent.iter().skip(known).filter(|(last, _)| *last >= sequence);
        (unread.map(|(_, lines)| lines).sum(), self.forgotten + self.recent.len() as u64)
    }
}

/// Whose oldest segment goes: that of the source that takes most. So a source that takes less than its share of the
/// whole loses nothing, whatever the others write.
pub(crate) fn victim(streams: &BTreeMap<Source, Stream>, limits: &Limits) -> Option<Source> {
    let with_segments = streams.iter().filter(|(_, stream)| !stream.segments.is_empty());
    let largest = with_segments.max_by_key(|(_, stream)| stream.charge(limits))?;
    Some(largest.0.clone())
}

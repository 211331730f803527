//! Reading lines of one source, a block at a time.

use crate::{
    boot::BootId,
    catalogue::{BootSpan, Segment},
    medium::Medium,
    record::Record,
    scan::scan,
    segment::{HEADER_BYTES, SegmentName},
    source::Source,
    store::Store,
};

/// Headers looked at in one go: whoever shares the store waits no longer than for that.
const HEADERS_MAX: u32 = 512;

/// Where to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Number of the first line that may come.
    pub sequence: u64,
    /// Segment and offset at which the block of that number may be.
    place: Option<(u64, u64)>,
}

impl Cursor {
    /// Begins with the line of this number, or the next one that there is.
    #[must_use]
    pub fn at(sequence: u64) -> Self {
        Self { sequence, place: None }
    }
}

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Of this boot only.
    pub boot: Option<BootId>,
    /// Of this wall time or later, microseconds since 1970.
    pub since_us: Option<i64>,
    /// Before this wall time.
    pub until_us: Option<i64>,
}

impl Range {
    fn overlaps(&self, boot: BootId, earliest_us: i64, latest_us: i64) -> bool {
        self.boot.is_none_or(|wanted| wanted == boot)
            && self.since_us.is_none_or(|since| latest_us >= since)
            && self.until_us.is_none_or(|until| earliest_us < until)
    }

    fn holds(&self, boot: BootId, record: &Record) -> bool {
        self.overlaps(boot, record.entry.wall_us, record.entry.wall_us)
    }

    fn touches(&self, span: &BootSpan) -> bool {
        self.overlaps(span.boot, span.earliest_us, span.latest_us)
    }
}

/// Lines of one boot, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Which boot they are of.
    pub boot: BootId,
    /// The lines; there may be none although more follow.
    pub records: Vec<Record>,
    /// Where to read on.
    pub next: Cursor,
    /// Whether these were the last for now.
    pub end: bool,
}

impl<M: Medium> Store<M> {
    /// The next lines of a source. What is damaged is passed over.
    pub fn read(&mut self, source: &Source, mut cursor: Cursor, range: &Range) -> Batch {
        for _ in 0..HEADERS_MAX {
            let Some((number, offset)) = self.locate(source, &cursor, range) else {
                return self.read_pending(source, cursor, range);
            };
            let Some(length_bytes) = self.segment(source, number).map(|segment| segment.length_bytes) else {
                continue;
            };
            let file = SegmentName { source: source.clone(), number }.file();
            let found = scan(&mut self.medium, &file, offset, length_bytes);
            let Ok(Some(found)) = found else {
                if self.is_newest(source, number) {
                    cursor.place = Some((number, offset));
                    return self.read_pending(source, cursor, range);
                }
                cursor.place = Some((number.saturating_add(1), 0));
                continue;
            };
            cursor.place = Some((number, found.end()));
            let header = found.header;
            let is_wanted = header.last_sequence >= cursor.sequence
                && range.overlaps(header.boot, header.earliest_us, header.latest_us);
            if !is_wanted {
                continue;
            }
            let Ok(Some(mut records)) = found.read(&mut self.medium, &file) else { continue };
            records.retain(|record| record.sequence >= cursor.sequence && range.holds(header.boot, record));
            if !records.is_empty() {
                cursor.sequence = header.last_sequence.saturating_add(1);
                return Batch { boot: header.boot, records, next: cursor, end: false };
            }
        }
        Batch { boot: self.boot, records: Vec::new(), next: cursor, end: false }
    }

    /// The segment to look into, and where; `None` when only what waits is left.
    fn locate(&self, source: &Source, cursor: &Cursor, range: &Range) -> Option<(u64, u64)> {
        let (number, offset) = cursor.place.unwrap_or((0, 0));
        let segments = &self.streams.get(source)?.segments;
        let is_worth = |segment: &&Segment| {
            let is_later = segment.last_sequence().is_some_and(|last| last >= cursor.sequence);
            segment.number >= number && is_later && segment.spans.iter().any(|span| range.touches(span))
        };
        let segment = segments.iter().find(is_worth)?;
        let begin = if segment.number == number { offset } else { 0 };
        Some((segment.number, begin.max(HEADER_BYTES as u64)))
    }

    fn segment(&self, source: &Source, number: u64) -> Option<&Segment> {
        self.streams.get(source)?.segments.iter().find(|segment| segment.number == number)
    }

    fn is_newest(&self, source: &Source, number: u64) -> bool {
        let newest = self.streams.get(source).and_then(|stream| stream.segments.back());
        newest.is_some_and(|newest| newest.number == number)
    }

    fn read_pending(&self, source: &Source, mut cursor: Cursor, range: &Range) -> Batch {
        let pending = self.streams.get(source).into_iter().flat_map(|stream| stream.pending.iter());
        let is_wanted =
            |record: &&Record| record.sequence >= cursor.sequence && range.holds(self.boot, record);
        let records: Vec<Record> = pending.filter(is_wanted).cloned().collect();
        if let Some(last) = records.last() {
            cursor.sequence = last.sequence.saturating_add(1);
        }
        Batch { boot: self.boot, records, next: cursor, end: true }
    }
}

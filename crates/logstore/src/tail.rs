//! Where the last lines begin.

use crate::{
    boot::BootId,
    catalogue::Segment,
    medium::Medium,
    read::Cursor,
    scan::scan,
    segment::{HEADER_BYTES, SegmentName},
    source::Source,
    store::Store,
};

/// Where to begin, and how many of the first lines there to leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The beginning.
    pub from: Cursor,
    /// Lines before the wanted ones.
    pub skip: u64,
}

impl<M: Medium> Store<M> {
    /// The last lines of a source, of all boots or of one. Where a block is damaged there may be fewer.
    pub fn tail(&mut self, source: &Source, boot: Option<BootId>, lines: u64) -> Tail {
        let is_wanted = |of: BootId| boot.is_none_or(|wanted| wanted == of);
        let Some(stream) = self.streams.get(source) else { return Tail { from: Cursor::at(0), skip: 0 } };
        let waiting = if is_wanted(self.boot) { stream.pending.iter().count() as u64 } else { 0 };
        let mut found = waiting;
        let mut from = self.next_sequence();
        if let Some(first) = stream.pending.iter().next() {
            from = first.sequence;
        }
        let has = |segment: &&Segment| segment.spans.iter().any(|span| is_wanted(span.boot));
        let segments: Vec<(u64, u64)> = stream
            .segments
            .iter()
            .rev()
            .filter(has)
            .map(|segment| (segment.number, segment.length_bytes))
            .collect();
        for (number, length_bytes) in segments {
            if found >= lines {
                break;
            }
            for (first_sequence, records) in self.blocks(source, number, length_bytes, &is_wanted) {
                if found >= lines {
                    break;
                }
                found = found.saturating_add(records);
                from = first_sequence;
            }
        }
        Tail { from: Cursor::at(from), skip: found.saturating_sub(lines) }
    }

    /// First number and lines of each block of a segment, the last first.
    fn blocks(
        &mut self,
        source: &Source,
        number: u64,
        length_bytes: u64,
        is_wanted: &impl Fn(BootId) -> bool,
    ) -> Vec<(u64, u64)> {
        let file = SegmentName { source: source.clone(), number }.file();
        let mut blocks = Vec::new();
        let mut offset = HEADER_BYTES as u64;
        while let Ok(Some(found)) = scan(&mut self.medium, &file, offset, length_bytes) {
            offset = found.end();
            if is_wanted(found.header.boot) {
                blocks.push((found.header.first_sequence, u64::from(found.header.records)));
            }
        }
        blocks.reverse();
        blocks
    }
}

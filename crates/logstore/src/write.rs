//! Writing blocks, and making room for them.

use std::io::{self, ErrorKind};

use crate::{
    block::{BlockHeader, seal},
    catalogue::{Resume, Segment, Stream, victim},
    medium::Medium,
    segment::SegmentName,
    source::Source,
    store::Store,
};

/// On a full medium: whoever fills it may be quicker than this, and must not cost all logs at once.
const EVICTIONS_PER_WRITE: u32 = 4;

impl<M: Medium> Store<M> {
    /// Writes every line that waits. What fails stays and is tried again with the next call.
    pub fn flush(&mut self) {
        self.trouble = None;
        for source in self.streams.keys().cloned().collect::<Vec<_>>() {
            if !self.write(&source) {
                return;
            }
        }
    }

    /// Writes every line that waits, and returns once a power cut would leave them. See [`Store::trouble`].
    pub fn sync(&mut self) {
        self.flush();
        for name in std::mem::take(&mut self.unsynced) {
            if let Err(error) = self.medium.sync(&name) {
                self.trouble.get_or_insert(error);
            }
        }
    }

    /// Writes what waits of one source; false when it cannot.
    pub(crate) fn write(&mut self, source: &Source) -> bool {
        loop {
            let Some(stream) = self.streams.get(source).filter(|stream| !stream.pending.is_empty()) else {
                return true;
            };
            let records = stream.pending.next_block();
            let Some((header, bytes)) = seal(&records, self.boot) else { return true };
            if let Err(error) = self.put(source, &header, &bytes) {
                self.trouble = Some(error);
                return false;
            }
            if let Some(stream) = self.streams.get_mut(source) {
                stream.pending.written(records.len());
                stream.resume = Some(Resume::of(&header));
            }
        }
    }

    /// Puts a block at the end of its source's segments. Room is made first, so that the cap always holds.
    fn put(&mut self, source: &Source, header: &BlockHeader, bytes: &[u8]) -> io::Result<()> {
        let mut evictions = 0;
        loop {
            self.make_room(source, bytes.len() as u64)?;
            match self.put_now(source, header, bytes) {
                Err(error) if is_full(&error) => {
                    let may_evict = evictions < EVICTIONS_PER_WRITE
                        && self.stored_bytes() > self.limits.floor_bytes
                        && self.evict()?;
                    if !may_evict {
                        return Err(error);
                    }
                    evictions += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn make_room(&mut self, source: &Source, block_bytes: u64) -> io::Result<()> {
        loop {
            let (_, offset, header_bytes) = self.target(source, block_bytes);
            let before = if offset == 0 { 0 } else { self.limits.charge(offset) };
            let growth = self.limits.charge(offset + header_bytes + block_bytes) - before;
            let charged: u64 = self.streams.values().map(|stream| stream.charge(&self.limits)).sum();
            if charged.saturating_add(growth) <= self.limits.cap_bytes || !self.evict()? {
                return Ok(());
            }
        }
    }

    /// Where the next block goes: segment, offset, and bytes of a header that comes before it.
    fn target(&self, source: &Source, block_bytes: u64) -> (SegmentName, u64, u64) {
        let newest = self.streams.get(source).and_then(|stream| stream.segments.back());
        let fits = |segment: &&Segment| {
            !segment.closed && segment.length_bytes + block_bytes <= self.limits.segment_bytes
        };
        let name = |number| SegmentName { source: source.clone(), number };
        match newest.filter(fits) {
            Some(segment) => (name(segment.number), segment.length_bytes, 0),
            None => (name(self.next_number), 0, crate::segment::HEADER_BYTES as u64),
        }
    }

    fn put_now(&mut self, source: &Source, header: &BlockHeader, bytes: &[u8]) -> io::Result<()> {
        let (name, offset, header_bytes) = self.target(source, bytes.len() as u64);
        let file = name.file();
        let length_bytes = offset + header_bytes + bytes.len() as u64;
        let written = if offset == 0 {
            let whole = [&name.header()[..], bytes].concat();
            self.medium.append(&file, 0, &whole)
        } else {
            self.medium.append(&file, offset, bytes)
        };
        if let Err(error) = written {
            self.undo(source, &file, offset);
            return Err(error);
        }
        self.unsynced.insert(file);
        let Some(stream) = self.streams.get_mut(source) else { return Ok(()) };
        if offset == 0 {
            self.next_number = self.next_number.saturating_add(1);
            stream.segments.push_back(Segment {
                number: name.number,
                length_bytes,
                closed: false,
                spans: Vec::new(),
            });
        }
        if let Some(segment) = stream.segments.back_mut() {
            segment.length_bytes = length_bytes;
            segment.add(header);
        }
        Ok(())
    }

    /// Takes away what a failed write may have left. If that fails too, the file gets no more.
    fn undo(&mut self, source: &Source, file: &str, offset: u64) {
        if offset == 0 {
            if self.medium.remove(file).is_err() {
                self.next_number = self.next_number.saturating_add(1);
            }
        } else if self.medium.truncate(file, offset).is_err()
            && let Some(segment) = self.streams.get_mut(source).and_then(|stream| stream.segments.back_mut())
        {
            segment.closed = true;
        }
    }

    /// Removes the oldest segment of the source that takes most; false when there is none.
    fn evict(&mut self) -> io::Result<bool> {
        let Some(source) = victim(&self.streams, &self.limits) else { return Ok(false) };
        let Some(oldest) = self.streams.get(&source).and_then(|stream| stream.segments.front()) else {
            return Ok(false);
        };
        let file = SegmentName { source: source.clone(), number: oldest.number }.file();
        self.medium.remove(&file)?;
        self.unsynced.remove(&file);
        if let Some(Stream { segments, .. }) = self.streams.get_mut(&source)
            && let Some(evicted) = segments.pop_front()
        {
            self.evictions.add(&evicted);
        }
        Ok(true)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

//! Finding blocks in a segment, whatever became of it.

use std::io;

use crate::{
    block::{BlockHeader, HEADER_BYTES, MAGIC, field},
    medium::Medium,
};

/// Read at once where a block is looked for.
const CHUNK_BYTES: usize = 16 * 1024;

/// A whole header, and room behind it for what it announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The block's header.
    pub header: BlockHeader,
    /// Where it begins.
    pub offset: u64,
}

impl Found {
    /// Where the next one should begin.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.header.length())
    }

    /// The block's records; `None` when they are damaged.
    pub(crate) fn read(
        &self,
        medium: &mut impl Medium,
        name: &str,
    ) -> io::Result<Option<Vec<crate::record::Record>>> {
        // A header is only decoded when this is at most BLOCK_RAW_MAX_BYTES.
        let length = usize::try_from(self.header.stored_bytes).map_err(io::Error::other)?;
        let mut payload = vec![0; length];
        let read = medium.read_at(name, self.offset.saturating_add(HEADER_BYTES as u64), &mut payload)?;
        Ok(if read == length { self.header.open(&payload) } else { None })
    }
}

/// The first block at or behind `from`, in a file of this length. What is damaged is passed over.
pub fn scan(medium: &mut impl Medium, name: &str, from: u64, length_bytes: u64) -> io::Result<Option<Found>> {
    if let Some(found) = at(medium, name, from, length_bytes)? {
        return Ok(Some(found));
    }
    let mut offset = from.saturating_add(1);
    let mut chunk = vec![0; CHUNK_BYTES];
    while offset.saturating_add(HEADER_BYTES as u64) <= length_bytes {
        let read = medium.read_at(name, offset, &mut chunk)?;
        let bytes = chunk.get(..read).unwrap_or_default();
        if bytes.len() < MAGIC.len() {
            break;
        }
        let candidates = (0..=bytes.len() - MAGIC.len()).filter(|at| field(bytes, *at) == Some(MAGIC));
        for candidate in candidates {
            let candidate = offset.saturating_add(candidate as u64);
            if let Some(found) = at(medium, name, candidate, length_bytes)? {
                return Ok(Some(found));
            }
        }
        // The magic may lie across two chunks.
        offset = offset.saturating_add((bytes.len() - (MAGIC.len() - 1)) as u64);
    }
    Ok(None)
}

fn at(medium: &mut impl Medium, name: &str, offset: u64, length_bytes: u64) -> io::Result<Option<Found>> {
    if offset.saturating_add(HEADER_BYTES as u64) > length_bytes {
        return Ok(None);
    }
    let mut header = [0; HEADER_BYTES];
    if medium.read_at(name, offset, &mut header)? < HEADER_BYTES {
        return Ok(None);
    }
    let found = BlockHeader::decode(&header).map(|header| Found { header, offset });
    Ok(found.filter(|found| found.end() <= length_bytes))
}

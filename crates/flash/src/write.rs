//! Writing an image and proving that it is there.

use std::io::{self, Read};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use layout::SECTOR_BYTES;

use crate::{Buffer, CHUNK_BYTES, Medium};

/// What is zeroed at the end of a larger medium: the backup of an earlier partition table, and what RAID and volume
/// managers keep there, must not come to life again.
const TAIL_BYTES: u64 = CHUNK_BYTES as u64;

/// Why an image is not on the medium.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The image cannot be read to its end.
    #[error("cannot read the image at byte {offset_bytes}")]
    Source {
        /// Of the unpacked image.
        offset_bytes: u64,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("the image is empty")]
    Empty,
    /// It does not end with a sector.
    #[error("the image has {size_bytes} bytes, which is no whole number of sectors: it was cut off")]
    Cut {
        /// Bytes in it.
        size_bytes: u64,
    },
    /// The medium is too small.
    #[error("the image does not fit: the medium has {size_bytes} bytes")]
    TooSmall {
        /// Capacity.
        size_bytes: u64,
    },
    /// Writing failed.
    #[error("cannot write at byte {offset_bytes}")]
    Write {
        /// Where.
        offset_bytes: u64,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The medium does not confirm that it has everything.
    #[error("the medium does not confirm that all is written")]
    Flush(#[source] io::Error),
    /// Reading back failed.
    #[error("cannot read back at byte {offset_bytes}")]
    ReadBack {
        /// Where.
        offset_bytes: u64,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The medium holds something else.
    #[error(
        "the medium does not hold what was written: {chunks} of {all} MiB differ, the first at byte {offset_bytes}"
    )]
    Differs {
        /// Where the first of them begins.
        offset_bytes: u64,
        /// How many chunks differ.
        chunks: usize,
        /// Chunks in all.
        all: usize,
    },
}

/// What the medium must hold: zeros in place of the first chunk, the image's other chunks, and zeros in the tail.
#[derive(Debug)]
pub struct Written {
    /// Size of the unpacked image.
    pub size_bytes: u64,
    chunks: Vec<Chunk>,
    /// The first chunk, which [`commit`] writes.
    head: Buffer,
}

#[derive(Debug)]
struct Chunk {
    offset_bytes: u64,
    length: usize,
    content: Content,
}

/// Most of an image is zeros, which need no hash to be compared.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    Zeros,
    Sha256([u8; SHA256_OUTPUT_LEN]),
}

impl Content {
    fn of(data: &[u8]) -> Self {
        if is_zero(data) { Self::Zeros } else { Self::Sha256(sha256(data)) }
    }
}

/// Writes all of `image` but its first chunk, and returns when it lies there. Without its partition table the medium is
/// a blank one: what is interrupted here, or fails to verify, boots nowhere. Zeros are made by the cheapest means that
/// leaves zeros. `report` gets the bytes done.
pub fn write(
    image: &mut dyn Read,
    medium: &mut dyn Medium,
    report: &mut dyn FnMut(u64),
) -> Result<Written, FlashError> {
    let mut buffer = Buffer::new(CHUNK_BYTES);
    blank(medium)?;
    let mut written = Written { size_bytes: 0, chunks: Vec::new(), head: Buffer::new(0) };
    loop {
        let offset_bytes = written.size_bytes;
        let length =
            fill(image, &mut buffer).map_err(|source| FlashError::Source { offset_bytes, source })?;
        if length == 0 {
            break;
        }
        written.size_bytes += length as u64;
        if !(length as u64).is_multiple_of(SECTOR_BYTES) {
            return Err(FlashError::Cut { size_bytes: written.size_bytes });
        }
        if written.size_bytes > medium.size_bytes() {
            return Err(FlashError::TooSmall { size_bytes: medium.size_bytes() });
        }
        if offset_bytes == 0 {
            written.head = Buffer::new(length);
            written.head.copy_from_slice(buffer.get(..length).unwrap_or_default());
            buffer.fill(0);
        }
        let data = buffer.get(..length).unwrap_or_default();
        put(medium, offset_bytes, data).map_err(|source| FlashError::Write { offset_bytes, source })?;
        written.chunks.push(Chunk { offset_bytes, length, content: Content::of(data) });
        report(written.size_bytes);
    }
    if written.chunks.is_empty() {
        return Err(FlashError::Empty);
    }
    let (offset_bytes, length) = tail(medium, written.size_bytes);
    written.chunks.push(Chunk { offset_bytes, length, content: Content::Zeros });
    medium.flush().map_err(FlashError::Flush)?;
    Ok(written)
}

/// Reads everything back and compares. `report` gets the bytes done.
pub fn verify(
    written: &Written,
    medium: &mut dyn Medium,
    report: &mut dyn FnMut(u64),
) -> Result<(), FlashError> {
    let mut buffer = Buffer::new(CHUNK_BYTES);
    let (mut first, mut differing) = (None, 0);
    for chunk in &written.chunks {
        let offset_bytes = chunk.offset_bytes;
        let data = buffer.get_mut(..chunk.length).unwrap_or_default();
        medium.read(offset_bytes, data).map_err(|source| FlashError::ReadBack { offset_bytes, source })?;
        if Content::of(data) != chunk.content {
            first.get_or_insert(offset_bytes);
            differing += 1;
        }
        report(offset_bytes.min(written.size_bytes));
    }
    match first {
        None => Ok(()),
        Some(offset_bytes) => {
            Err(FlashError::Differs { offset_bytes, chunks: differing, all: written.chunks.len() })
        }
    }
}

/// Writes the first chunk and reads it back: from here on the medium is a disk with the image.
pub fn commit(written: &Written, medium: &mut dyn Medium) -> Result<(), FlashError> {
    let failed = |source| FlashError::Write { offset_bytes: 0, source };
    put(medium, 0, &written.head).map_err(failed)?;
    medium.flush().map_err(FlashError::Flush)?;
    let mut found = Buffer::new(written.head.len());
    medium.read(0, &mut found).map_err(|source| FlashError::ReadBack { offset_bytes: 0, source })?;
    if *found == *written.head {
        Ok(())
    } else {
        Err(FlashError::Differs { offset_bytes: 0, chunks: 1, all: written.chunks.len() })
    }
}

fn put(medium: &mut dyn Medium, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
    if is_zero(data) { medium.zero(offset_bytes, data.len()) } else { medium.write(offset_bytes, data) }
}

/// Zeros both ends: whatever partition table or volume was there is gone before anything else is written.
fn blank(medium: &mut dyn Medium) -> Result<(), FlashError> {
    let first = (0, usize::try_from(end(medium)).unwrap_or(usize::MAX).min(CHUNK_BYTES));
    for (offset_bytes, length) in [first, tail(medium, 0)] {
        medium.zero(offset_bytes, length).map_err(|source| FlashError::Write { offset_bytes, source })?;
    }
    medium.flush().map_err(FlashError::Flush)
}

/// Offset and length of what is cleared at the end, as far as it lies behind `behind`.
fn tail(medium: &dyn Medium, behind: u64) -> (u64, usize) {
    let offset_bytes = behind.max(end(medium).saturating_sub(TAIL_BYTES));
    (offset_bytes, usize::try_from(end(medium).saturating_sub(offset_bytes)).unwrap_or_default())
}

/// Where the last whole sector ends.
fn end(medium: &dyn Medium) -> u64 {
    medium.size_bytes() - medium.size_bytes() % SECTOR_BYTES
}

/// Reads until the buffer is full or the image ends.
fn fill(image: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match image.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn is_zero(data: &[u8]) -> bool {
    data.iter().all(|byte| *byte == 0)
}

fn sha256(data: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, data).as_ref());
    hash
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;

//! What an image is written to.

use std::io;

/// Unit of writing and of proof.
pub const CHUNK_BYTES: usize = 1 << 20;

/// A disk, or what stands for one in a test. Offsets and lengths are multiples of 512; buffers are [`crate::Buffer`]s
/// or begin at a multiple of 4096 within one.
pub trait Medium {
    /// Capacity.
    fn size_bytes(&self) -> u64;
    /// Writes all of `data`.
    fn write(&mut self, offset_bytes: u64, data: &[u8]) -> io::Result<()>;
    /// Makes a range of at most [`CHUNK_BYTES`] read as zeros, whatever was there.
    fn zero(&mut self, offset_bytes: u64, length: usize) -> io::Result<()>;
    /// Returns when all that was written lies on the medium; from then on reads come from it, not from a cache.
    fn flush(&mut self) -> io::Result<()>;
    /// Fills `data`.
    fn read(&mut self, offset_bytes: u64, data: &mut [u8]) -> io::Result<()>;
}

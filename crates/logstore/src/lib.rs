//! Logs that survive reboots and power cuts: the format of segments and every decision on them.
//!
//! A [`Store`] keeps one row of segments for each source. A segment is a file of compressed blocks, each with a checksum,
//! the boot that it is of, and the range of its times, so that damage costs a block and a reader passes over what it does
//! not want. When there is no room left, the source that takes most loses its oldest segment: whoever floods evicts
//! itself. The crate opens no file and reads no clock: files come through [`Medium`], times with each entry. It must never
//! return a line that nobody wrote, and never hold more than its named limits in memory, whatever lies in the files.
//! [docs/FORMATS.md](../../../docs/FORMATS.md) has the format. Start reading at [`Store`].

mod block;
mod boot;
mod catalogue;
mod gap;
mod medium;
mod merge;
mod pace;
mod pending;
mod read;
mod record;
mod scan;
mod segment;
mod source;
mod store;
mod tail;
mod varint;
mod write;

pub use block::{BLOCK_RAW_MAX_BYTES, BlockHeader, HEADER_BYTES as BLOCK_HEADER_BYTES};
pub use boot::BootId;
pub use catalogue::{BootSpan, Limits, SourceSummary};
pub use medium::{Medium, Memory};
pub use merge::Merged;
pub use pace::{Due, Pace};
pub use read::{Batch, Cursor, Range};
pub use record::{Entry, MESSAGE_MAX_BYTES, Record};
pub use scan::{Found, scan};
pub use segment::{HEADER_BYTES as SEGMENT_HEADER_BYTES, SegmentName};
pub use source::Source;
pub use store::{SOURCES_MAX, Store, StoreError};
pub use tail::Tail;

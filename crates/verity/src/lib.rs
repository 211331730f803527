//! dm-verity hash trees: format 1, SHA-256, blocks of 4096 bytes, as `veritysetup format` makes them.
//!
//! A root image is a file system followed by [`Superblock`] and tree. The tree proves every block of it to the
//! kernel, and its leaves are the index by which an update finds the blocks that a device already has.
//! No I/O: blocks come in through [`Builder::push`], bytes go out through [`HashTree::blocks`].
//! Start reading at [`HashTree::build`].
//!
//! Source: Linux, Documentation/admin-guide/device-mapper/verity.rst; cryptsetup, "DMVerity" specification.

mod superblock;
mod tree;

pub use superblock::Superblock;
pub use tree::{Builder, HashTree};

/// Size of data and hash blocks.
pub const BLOCK_BYTES: usize = 4096;
/// Size of a digest.
pub const DIGEST_BYTES: usize = 32;
/// Longest salt that a superblock holds.
pub const MAX_SALT_BYTES: usize = 256;

/// One data or hash block.
pub type Block = [u8; BLOCK_BYTES];
/// A SHA-256 digest.
pub type Digest = [u8; DIGEST_BYTES];

/// Why a tree could not be built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The salt does not fit the superblock.
    #[error("salt of {len_bytes} bytes, at most {MAX_SALT_BYTES} fit")]
    SaltTooLong {
        /// Its length.
        len_bytes: usize,
    },
    /// There was no data block; such a device cannot be mapped.
    #[error("no data blocks")]
    NoData,
}

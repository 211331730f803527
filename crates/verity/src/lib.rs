//! dm-verity hash trees (kernel Documentation/admin-guide/device-mapper/verity.rst): format 1, SHA-256, blocks of
//! 4096 bytes.
//!
//! Pure: bytes in, hashes out. It must never do I/O. Start reading at [`HashTree::build`].

use aws_lc_rs::digest;

/// Size of data and hash blocks.
pub const BLOCK_BYTES: usize = 4096;
/// Hashes that fit into one block.
pub const HASHES_PER_BLOCK: usize = BLOCK_BYTES / HASH_BYTES;
const HASH_BYTES: usize = 32;

/// One SHA-256 hash.
pub type Hash = [u8; HASH_BYTES];

/// A finished tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashTree {
    /// Hash of the top block.
    pub root: Hash,
    /// Blocks in the order in which they lie on disk: top level first.
    pub blocks: Vec<u8>,
    /// Data blocks covered.
    pub data_blocks: u64,
}

/// Why no tree can be built.
#[derive(Debug, thiserror::Error)]
pub enum VerityError<E> {
    /// There is no data.
    #[error("there is no data to hash")]
    Empty,
    /// The data is not whole blocks.
    #[error("block {block} has {length} bytes instead of {BLOCK_BYTES}")]
    PartialBlock {
        /// Which block.
        block: u64,
        /// Its length.
        length: usize,
    },
    /// The caller's source failed.
    #[error("cannot read the data")]
    Read(#[source] E),
}

impl HashTree {
    /// Hashes data blocks, each `H(salt || block)`, and the levels above them.
    pub fn build<B: AsRef<[u8]>, E>(
        blocks: impl IntoIterator<Item = Result<B, E>>,
        salt: &[u8],
    ) -> Result<Self, VerityError<E>> {
        let mut leaves = Vec::new();
        let mut data_blocks = 0;
        for block in blocks {
            let block = block.map_err(VerityError::Read)?;
            let block = block.as_ref();
            if block.len() != BLOCK_BYTES {
                return Err(VerityError::PartialBlock { block: data_blocks, length: block.len() });
            }
            leaves.extend_from_slice(&hash(salt, block));
            data_blocks += 1;
        }
        if data_blocks == 0 {
            return Err(VerityError::Empty);
        }
        Ok(Self::above(leaves, data_blocks, salt))
    }

    fn above(leaves: Vec<u8>, data_blocks: u64, salt: &[u8]) -> Self {
        let mut levels = vec![padded(leaves)];
        // One data block alone is its own top: the root is its hash, and there is no tree.
        if data_blocks == 1 {
            let root = std::array::from_fn(|index| levels[0][index]);
            return Self { root, blocks: Vec::new(), data_blocks };
        }
        while let Some(level) = levels.last()
            && level.len() > BLOCK_BYTES
        {
            let hashes = level.chunks(BLOCK_BYTES).flat_map(|block| hash(salt, block)).collect();
            levels.push(padded(hashes));
        }
        let root = hash(salt, levels.last().map_or(&[], Vec::as_slice));
        levels.reverse();
        Self { root, blocks: levels.concat(), data_blocks }
    }
}

fn hash(salt: &[u8], block: &[u8]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(salt);
    context.update(block);
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn padded(mut hashes: Vec<u8>) -> Vec<u8> {
    hashes.resize(hashes.len().next_multiple_of(BLOCK_BYTES), 0);
    hashes
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn tree(blocks: u64) -> HashTree {
        let data = (0..blocks).map(|n| Ok::<_, Infallible>(vec![n.to_le_bytes()[0]; BLOCK_BYTES]));
        HashTree::build(data, b"salt").unwrap()
    }

    #[test]
    fn levels_have_the_sizes_of_the_format() {
        assert_eq!(tree(1).blocks.len(), 0);
        assert_eq!(tree(128).blocks.len(), BLOCK_BYTES);
        assert_eq!(tree(129).blocks.len(), 3 * BLOCK_BYTES);
        assert_eq!(tree(128 * 128 + 1).blocks.len(), (1 + 2 + 129) * BLOCK_BYTES);
    }

    #[test]
    fn every_data_block_changes_the_root() {
        let mut roots: Vec<Hash> = (1..300).map(|blocks| tree(blocks).root).collect();
        roots.sort_unstable();
        roots.dedup();
        assert_eq!(roots.len(), 299);
    }

    #[test]
    fn partial_and_missing_data_are_refused() {
        let short: [Result<&[u8], Infallible>; 1] = [Ok(&[0; 10])];
        assert!(matches!(
            HashTree::build(short, b""),
            Err(VerityError::PartialBlock { block: 0, length: 10 })
        ));
        let none: [Result<&[u8], Infallible>; 0] = [];
        assert!(matches!(HashTree::build(none, b""), Err(VerityError::Empty)));
    }
}

//! dm-verity hash trees (kernel Documentation/admin-guide/device-mapper/verity.rst): format 1, SHA-256, blocks of
//! 4096 bytes.
//!
//! Pure: bytes in, hashes out. It must never do I/O. Start reading at [`HashTree::build`].
//! [`HashTree::from_leaves`] makes the tree of data that is not there yet: whoever knows the root hash need not trust
//! the leaves.

use aws_lc_rs::digest;

/// Size of data and hash blocks.
pub const BLOCK_BYTES: usize = 4096;
/// Hashes that fit into one block.
pub const HASHES_PER_BLOCK: usize = BLOCK_BYTES / HASH_BYTES;
/// Size of a hash.
pub const HASH_BYTES: usize = 32;

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

/// Why a file holds no leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeavesError {
    /// Not the size that so many data blocks need.
    #[error("{actual_bytes} bytes of leaves instead of {expected_bytes}")]
    Length {
        /// As [`leaves_bytes`] says.
        expected_bytes: u64,
        /// As found.
        actual_bytes: u64,
    },
    /// There is no data.
    #[error("there are no leaves")]
    Empty,
    /// More than zeros behind the last leaf.
    #[error("the leaves' padding is not zero")]
    Padding,
}

/// Where the hashes of the data blocks lie in a tree on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafLevel {
    /// Its first block, counted from the tree's own.
    pub first_block: u64,
    /// How many there are.
    pub blocks: u64,
}

/// The leaf level of a tree over so many data blocks; `None` over one block or none, which need no tree.
#[must_use]
pub fn leaf_level(data_blocks: u64) -> Option<LeafLevel> {
    let blocks = data_blocks.div_ceil(HASHES_PER_BLOCK as u64);
    (data_blocks > 1).then(|| LeafLevel { first_block: tree_blocks(data_blocks) - blocks, blocks })
}

/// Blocks of the tree over so many data blocks.
#[must_use]
pub fn tree_blocks(data_blocks: u64) -> u64 {
    let mut total = 0;
    let mut level = data_blocks;
    while level > 1 {
        level = level.div_ceil(HASHES_PER_BLOCK as u64);
        total += level;
    }
    total
}

/// Size of a file of leaves, see [`HashTree::leaves_file`].
#[must_use]
pub fn leaves_bytes(data_blocks: u64) -> u64 {
    data_blocks.div_ceil(HASHES_PER_BLOCK as u64).saturating_mul(BLOCK_BYTES as u64)
}

/// The leaf of a data block.
#[must_use]
pub fn leaf(salt: &[u8], block: &[u8; BLOCK_BYTES]) -> Hash {
    hash(salt, block)
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

    /// Makes the tree above a file of leaves. It is theirs whose root hash it has.
    pub fn from_leaves(file: &[u8], data_blocks: u64, salt: &[u8]) -> Result<Self, LeavesError> {
        let expected_bytes = leaves_bytes(data_blocks);
        let actual_bytes = file.len() as u64;
        if actual_bytes != expected_bytes {
            return Err(LeavesError::Length { expected_bytes, actual_bytes });
        }
        if data_blocks == 0 {
            return Err(LeavesError::Empty);
        }
        // It is below the file's length, so it fits.
        let used = data_blocks as usize * HASH_BYTES;
        if file.iter().skip(used).any(|byte| *byte != 0) {
            return Err(LeavesError::Padding);
        }
        Ok(Self::above(file.to_vec(), data_blocks, salt))
    }

    /// The hashes of the data blocks, in order.
    #[must_use]
    pub fn leaves(&self) -> &[Hash] {
        let Some(level) = leaf_level(self.data_blocks) else { return std::slice::from_ref(&self.root) };
        let start = level.first_block as usize * BLOCK_BYTES;
        let (hashes, _) = self.blocks.get(start..).unwrap_or_default().as_chunks();
        hashes.get(..self.data_blocks as usize).unwrap_or_default()
    }

    /// The leaves as a file of their own: padded with zeros to whole blocks.
    #[must_use]
    pub fn leaves_file(&self) -> Vec<u8> {
        padded(self.leaves().concat())
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
    fn leaves_alone_give_the_tree() {
        for blocks in [1, 2, 127, 128, 129, 128 * 128, 128 * 128 + 1] {
            let tree = tree(blocks);
            assert_eq!(tree.leaves().len() as u64, blocks);
            assert_eq!(tree.leaves()[1 % blocks as usize], leaf(b"salt", &[(1 % blocks) as u8; BLOCK_BYTES]));
            assert_eq!(tree_blocks(blocks) * BLOCK_BYTES as u64, tree.blocks.len() as u64);
            let file = tree.leaves_file();
            assert_eq!(file.len() as u64, leaves_bytes(blocks));
            assert_eq!(HashTree::from_leaves(&file, blocks, b"salt"), Ok(tree));
        }
    }

    #[test]
    fn the_leaf_level_lies_last() {
        let tree = tree(200);
        let level = leaf_level(200).unwrap();
        assert_eq!(level, LeafLevel { first_block: 1, blocks: 2 });
        assert_eq!(tree.blocks[BLOCK_BYTES..], tree.leaves_file());
        assert_eq!((leaf_level(0), leaf_level(1)), (None, None));
    }

    #[test]
    fn leaves_of_another_size_or_with_a_tail_are_refused() {
        let mut file = tree(3).leaves_file();
        let length = LeavesError::Length { expected_bytes: 8192, actual_bytes: 4096 };
        assert_eq!(HashTree::from_leaves(&file, 129, b"salt"), Err(length));
        assert_eq!(HashTree::from_leaves(&[], 0, b"salt"), Err(LeavesError::Empty));
        assert!(HashTree::from_leaves(&file, u64::MAX, b"salt").is_err());
        file[4095] = 1;
        assert_eq!(HashTree::from_leaves(&file, 3, b"salt"), Err(LeavesError::Padding));
        file[4095] = 0;
        file[0] ^= 1;
        assert_ne!(HashTree::from_leaves(&file, 3, b"salt").unwrap().root, tree(3).root);
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

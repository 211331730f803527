//! Building a tree from data blocks that are seen once, in order.

use aws_lc_rs::digest::{Context, SHA256};

use crate::{BLOCK_BYTES, Block, DIGEST_BYTES, Digest, Error, Superblock};

/// A complete hash tree and the superblock it was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashTree {
    superblock: Superblock,
    data_blocks: u64,
    root_hash: Digest,
    /// From the leaves upward; each holds digests and is padded with zeros to whole blocks.
    levels: Vec<Vec<u8>>,
}

impl HashTree {
    /// Hashes `blocks`, stopping at the first that could not be read.
    ///
    /// # Errors
    /// The iterator's error, or [`Error::NoData`] for an empty one.
    pub fn build<E: From<Error>>(
        superblock: Superblock,
        blocks: impl IntoIterator<Item = Result<Block, E>>,
    ) -> Result<Self, E> {
        let mut builder = Builder::new(superblock);
        for block in blocks {
            builder.push(&block?);
        }
        Ok(builder.finish()?)
    }

    /// The digest that vouches for everything.
    #[must_use]
    pub fn root_hash(&self) -> Digest {
        self.root_hash
    }

    /// How many data blocks the tree covers.
    #[must_use]
    pub fn data_blocks(&self) -> u64 {
        self.data_blocks
    }

    /// Digests of the data blocks, in order. A single block has none: its digest is the root hash.
    pub fn leaves(&self) -> impl Iterator<Item = &[u8]> {
        let count = usize::try_from(self.data_blocks).unwrap_or(usize::MAX);
        self.levels.first().into_iter().flat_map(|level| level.chunks_exact(DIGEST_BYTES)).take(count)
    }

    /// Everything that follows the data on disk, block by block: superblock, then the levels from the top down.
    pub fn blocks(&self) -> impl Iterator<Item = Block> {
        let levels = self.levels.iter().rev().flat_map(|level| level.as_chunks().0.iter().copied());
        std::iter::once(self.superblock.encode(self.data_blocks)).chain(levels)
    }
}

/// Takes data blocks one by one.
#[derive(Debug)]
pub struct Builder {
    superblock: Superblock,
    data_blocks: u64,
    leaves: Vec<u8>,
}

impl Builder {
    /// Starts a tree without data.
    #[must_use]
    pub fn new(superblock: Superblock) -> Self {
        Self { superblock, data_blocks: 0, leaves: Vec::new() }
    }

    /// Adds the next data block.
    pub fn push(&mut self, block: &Block) {
        self.leaves.extend_from_slice(&digest(self.superblock.salt(), block));
        self.data_blocks += 1;
    }

    /// Builds the levels above the leaves.
    ///
    /// # Errors
    /// [`Error::NoData`] if nothing was pushed.
    pub fn finish(self) -> Result<HashTree, Error> {
        let Self { superblock, data_blocks, leaves } = self;
        let mut levels: Vec<Vec<u8>> = Vec::new();
        let mut digests = leaves;
        while digests.len() > DIGEST_BYTES {
            digests.resize(digests.len().next_multiple_of(BLOCK_BYTES), 0);
            let above =
                digests.chunks_exact(BLOCK_BYTES).flat_map(|b| digest(superblock.salt(), b)).collect();
            levels.push(std::mem::replace(&mut digests, above));
        }
        let root_hash = digests.try_into().map_err(|_| Error::NoData)?;
        Ok(HashTree { superblock, data_blocks, root_hash, levels })
    }
}

fn digest(salt: &[u8], block: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(salt);
    context.update(block);
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(blocks: u64) -> HashTree {
        let superblock = Superblock::new([1; 16], b"salt").expect("salt fits");
        let data = (0..blocks).map(|number| {
            let mut block = [0; BLOCK_BYTES];
            block[..8].copy_from_slice(&number.to_le_bytes());
            Ok::<_, Error>(block)
        });
        HashTree::build(superblock, data).expect("builds")
    }

    #[test]
    fn size_grows_by_level() {
        for (data, hash) in [(1, 0), (2, 1), (128, 1), (129, 3), (128 * 128, 129), (128 * 128 + 1, 129 + 3)] {
            assert_eq!(build(data).blocks().count(), 1 + hash, "{data} data blocks");
        }
    }

    #[test]
    fn leaves_are_the_digests_of_the_data() {
        let tree = build(300);
        assert_eq!(tree.leaves().count(), 300);
        let mut block = [0; BLOCK_BYTES];
        block[..2].copy_from_slice(&299u16.to_le_bytes());
        assert_eq!(tree.leaves().last(), Some(&digest(b"salt", &block)[..]));
    }

    #[test]
    fn no_data_is_an_error() {
        let superblock = Superblock::new([0; 16], &[]).expect("salt fits");
        assert_eq!(Builder::new(superblock).finish(), Err(Error::NoData));
    }

    #[test]
    fn a_read_error_ends_the_build() {
        let superblock = Superblock::new([0; 16], &[]).expect("salt fits");
        let blocks = [Ok([0; BLOCK_BYTES]), Err(Error::SaltTooLong { len_bytes: 9 })];
        assert_eq!(HashTree::build(superblock, blocks), Err(Error::SaltTooLong { len_bytes: 9 }));
    }
}

//! What the running slot holds: an index of blocks that need not be fetched.
//!
//! Nothing of it is believed. A block is used only when its content has the hash that is wanted; where the disk cannot
//! read it, it is fetched.

use std::io;

use verity::Hash;

use crate::update::device::{Origin, leaves, pieces};

/// A running image.
#[derive(Clone, Debug)]
pub struct Present {
    /// Where it lies.
    pub origin: Origin,
    /// Its blocks.
    pub data_blocks: u64,
    /// The hash tree behind them, if there is one.
    pub tree: Option<Tree>,
}

/// A hash tree on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Its first block.
    pub first_block: u64,
    /// Salt of its hashes.
    pub salt: Vec<u8>,
}

impl Present {
    /// The hashes of its blocks under this salt: from its tree, or else by reading everything.
    pub async fn leaves(&self, salt: &[u8; 32]) -> Vec<Hash> {
        let read = match (&self.tree, verity::leaf_level(self.data_blocks)) {
            (Some(tree), Some(level)) if tree.salt == salt => {
                let first = tree.first_block.saturating_add(level.first_block);
                self.read(first, level.blocks, |data| data.as_chunks().0.to_vec()).await
            }
            (Some(_) | None, _) => {
                let salt = *salt;
                self.read(0, self.data_blocks, move |data| leaves(&salt, data).collect()).await
            }
        };
        let mut hashes = read.unwrap_or_else(|error| {
            tracing::warn!(%error, "the running slot cannot be read whole: more is fetched");
            Vec::new()
        });
        hashes.truncate(usize::try_from(self.data_blocks).unwrap_or(usize::MAX));
        hashes
    }

    async fn read(
        &self,
        first_block: u64,
        blocks: u64,
        work: impl Fn(&[u8]) -> Vec<Hash> + Clone + Send + 'static,
    ) -> io::Result<Vec<Hash>> {
        let mut hashes = Vec::new();
        for (begin, length) in pieces(first_block, blocks) {
            let work = work.clone();
            hashes.extend(self.origin.read(begin, length, move |data| work(&data)).await?);
        }
        Ok(hashes)
    }
}

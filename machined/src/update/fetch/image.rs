//! One image of a slot: which of its blocks are right, where the others come from, and writing them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use flash::Buffer;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use update::{Copy, Index, Plan, Range, plan};
use verity::{BLOCK_BYTES, Hash, HashTree};

use super::{FetchError, Meter, leaves::more_hopeful, origin::Present};
use crate::{
    error_chain::error_chain,
    update::{
        device::{PIECE_BLOCKS, Target, buffer, bytes, leaves, pieces},
        mirrors::Mirrors,
        source::{Body, Part, ReleasePath, SourceError},
    },
};

/// Ranges that are fetched at a time: enough to fill a link of long delay, a MiB of memory.
const RANGES_AT_A_TIME: usize = 4;
/// How often all mirrors are asked for a range before the whole is given up, with pauses of a second and two between.
const ROUNDS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// An image that is written to its partition.
pub struct Image<'a> {
    /// The partition, as errors name it.
    pub partition: &'static str,
    /// The file in the repository.
    pub path: ReleasePath,
    /// Salt of its hashes.
    pub salt: [u8; 32],
    /// Its hashes, proven.
    pub tree: Arc<HashTree>,
    /// Where it goes.
    pub target: Target,
    /// Where it comes from.
    pub mirrors: &'a Mirrors,
    /// Counts.
    pub meter: &'a Meter,
    /// Whether anything came from a mirror.
    pub progressed: &'a AtomicBool,
}

impl Image<'_> {
    /// Which blocks lie there already. What cannot be read is not right.
    pub async fn scan(&self) -> Vec<bool> {
        let mut right = Vec::new();
        for (begin, blocks) in pieces(0, self.tree.data_blocks) {
            let (tree, salt) = (Arc::clone(&self.tree), self.salt);
            let compare = move |data: Buffer| compare(&tree, &salt, begin, &data);
            let piece = self.target.read(begin, blocks, compare).await;
            right.extend(piece.unwrap_or_else(|_| vec![false; usize::try_from(blocks).unwrap_or_default()]));
        }
        right
    }

    /// Whether the hash tree lies behind the data already.
    pub async fn has_tree(&self) -> bool {
        for (begin, blocks) in pieces(0, self.tree_blocks()) {
            let tree = Arc::clone(&self.tree);
            let same =
                move |data: Buffer| tree.blocks.get(bytes(begin)..bytes(begin + blocks)) == Some(&data);
            if !self.target.read(self.tree.data_blocks + begin, blocks, same).await.unwrap_or(false) {
                return false;
            }
        }
        true
    }

    /// Makes every block right that is not yet.
    pub async fn fill(
        &self,
        right: &mut [bool],
        present: &[Hash],
        origin: &Present,
    ) -> Result<(), FetchError> {
        let Plan { copies, zeros, .. } = self.plan(right, present);
        for range in zeros {
            self.zero(range, right).await?;
        }
        for copy in copies {
            self.copy(copy, right, origin).await?;
        }
        // What the running slot turned out not to have is fetched as well.
        let Plan { fetches, .. } = self.plan(right, &[]);
        let ranges =
            stream::iter(fetches).map(|range| async move { self.fetch(range).await.map(|()| range) });
        let mut done = ranges.buffer_unordered(RANGES_AT_A_TIME);
        while let Some(range) = done.try_next().await? {
            mark(right, range.first_block, range.blocks);
        }
        Ok(())
    }

    /// Writes the hash tree behind the data.
    pub async fn write_tree(&self) -> Result<(), FetchError> {
        for (begin, blocks) in pieces(0, self.tree_blocks()) {
            let mut data = buffer(blocks);
            if let Some(part) = self.tree.blocks.get(bytes(begin)..bytes(begin + blocks)) {
                data.copy_from_slice(part);
            }
            self.write(self.tree.data_blocks + begin, data, move |_| blocks).await?;
        }
        Ok(())
    }

    /// Makes the image one that nobody starts, for good.
    pub async fn shut(&self) -> Result<(), FetchError> {
        let zeroed = self.target.zero(0, 1).await;
        zeroed.map_err(|source| FetchError::Write { partition: self.partition, source })?;
        self.flush().await
    }

    /// Returns when all lies on the medium.
    pub async fn flush(&self) -> Result<(), FetchError> {
        self.target.flush().await.map_err(|source| FetchError::Write { partition: self.partition, source })
    }

    fn tree_blocks(&self) -> u64 {
        (self.tree.blocks.len() / BLOCK_BYTES) as u64
    }

    fn plan(&self, right: &[bool], present: &[Hash]) -> Plan {
        let is_right = |block: u64| at(right, block);
        let zero = verity::leaf(&self.salt, &[0; BLOCK_BYTES]);
        plan(self.tree.leaves(), &is_right, &Index::new(present), &zero)
    }

    async fn zero(&self, range: Range, right: &mut [bool]) -> Result<(), FetchError> {
        let Range { first_block, blocks } = range;
        let zeroed = self.target.zero(first_block, blocks).await;
        zeroed.map_err(|source| FetchError::Write { partition: self.partition, source })?;
        mark(right, first_block, blocks);
        self.meter.saved(blocks);
        Ok(())
    }

    /// Takes over what the running slot has, as far as it is what is wanted.
    async fn copy(&self, copy: Copy, right: &mut [bool], origin: &Present) -> Result<(), FetchError> {
        for (begin, blocks) in pieces(0, copy.blocks) {
            let (tree, salt, to_block) = (Arc::clone(&self.tree), self.salt, copy.to_block + begin);
            let check = move |data: Buffer| (compare(&tree, &salt, to_block, &data), data);
            let Ok((same, data)) = origin.origin.read(copy.from_block + begin, blocks, check).await else {
                continue;
            };
            if same.iter().all(|same| *same) {
                self.write(to_block, data, move |_| blocks).await?;
                mark(right, to_block, blocks);
                self.meter.saved(blocks);
            }
        }
        Ok(())
    }

    /// Fetches a range from one mirror after the other, going on where the one before failed.
    async fn fetch(&self, range: Range) -> Result<(), FetchError> {
        let (mut next, end) = (range.first_block, range.first_block + range.blocks);
        let mut failure = None;
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(PAUSE * round).await;
            }
            failure = None;
            for mirror in self.mirrors.order() {
                match self.fetch_from(mirror, &mut next, end).await {
                    Ok(()) => return Ok(()),
                    Err(error) if error.is_of_mirror() => {
                        self.mirrors.blame(mirror, error.is_wrong_content(), error_chain(&error));
                        failure = more_hopeful(failure, error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn fetch_from(&self, mirror: usize, next: &mut u64, end: u64) -> Result<(), FetchError> {
        let unavailable = |source| FetchError::Unavailable {
            mirror: self.mirrors.name(mirror),
            path: self.path.to_string(),
            source,
        };
        let part = Part::Range {
            first_byte: next.saturating_mul(BLOCK_BYTES as u64),
            length_bytes: (end - *next).saturating_mul(BLOCK_BYTES as u64),
        };
        let mut body = self.mirrors.open(mirror, &self.path, part).await.map_err(unavailable)?;
        let mut rest = bytes::Bytes::new();
        while *next < end {
            let blocks = PIECE_BLOCKS.min(end - *next);
            let data = gather(&mut body, &mut rest, blocks).await.map_err(unavailable)?;
            let taken = self.take(*next, data).await?;
            *next += taken;
            if taken < blocks {
                let (mirror, path) = (self.mirrors.name(mirror), self.path.to_string());
                return Err(FetchError::WrongBlock { mirror, path, block: *next });
            }
        }
        Ok(())
    }

    /// Writes what came, up to the first block that is wrong; says how many blocks that were.
    async fn take(&self, first_block: u64, data: Buffer) -> Result<u64, FetchError> {
        let (tree, salt) = (Arc::clone(&self.tree), self.salt);
        let good = move |data: &[u8]| {
            compare(&tree, &salt, first_block, data).into_iter().take_while(|same| *same).count() as u64
        };
        let good = self.write(first_block, data, good).await?;
        if good > 0 {
            self.meter.fetched(good);
            self.progressed.store(true, Ordering::Relaxed);
        }
        Ok(good)
    }

    async fn write(
        &self,
        first_block: u64,
        data: Buffer,
        good: impl FnOnce(&[u8]) -> u64 + Send + 'static,
    ) -> Result<u64, FetchError> {
        let written = self.target.write(first_block, data, good).await;
        written.map_err(|source| FetchError::Write { partition: self.partition, source })
    }
}

/// Which of the blocks that begin at this one are what the tree says.
fn compare(tree: &HashTree, salt: &[u8; 32], first_block: u64, data: &[u8]) -> Vec<bool> {
    let wanted = tree.leaves().iter().skip(usize::try_from(first_block).unwrap_or(usize::MAX));
    leaves(salt, data).zip(wanted).map(|(found, wanted)| found == *wanted).collect()
}

fn at(right: &[bool], block: u64) -> bool {
    usize::try_from(block).ok().and_then(|block| right.get(block)).copied().unwrap_or(false)
}

fn mark(right: &mut [bool], first_block: u64, blocks: u64) {
    let first = usize::try_from(first_block).unwrap_or(usize::MAX);
    right
        .iter_mut()
        .skip(first)
        .take(usize::try_from(blocks).unwrap_or(usize::MAX))
        .for_each(|right| *right = true);
}

/// Fills a buffer of so many blocks from the body; `rest` is what came and did not fit.
async fn gather(body: &mut Body, rest: &mut bytes::Bytes, blocks: u64) -> Result<Buffer, SourceError> {
    let mut data = buffer(blocks);
    let mut filled = 0;
    while filled < data.len() {
        if rest.is_empty() {
            let missing_bytes = (data.len() - filled) as u64;
            *rest = body.next().await?.ok_or(SourceError::Truncated { missing_bytes })?;
        }
        let piece = rest.split_to(rest.len().min(data.len() - filled));
        if let Some(room) = data.get_mut(filled..filled + piece.len()) {
            room.copy_from_slice(&piece);
        }
        filled += piece.len();
    }
    Ok(data)
}

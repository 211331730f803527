//! A root partition under dm-verity: which blocks would be refused. Follows single writes.

use std::{collections::BTreeSet, io, ops::Range};

use aws_lc_rs::digest;
use verity::{BLOCK_BYTES, HASHES_PER_BLOCK, Hash};

use crate::{SECTOR_BYTES, disk::Disk, uki::Root};

const BLOCK_SECTORS: u64 = BLOCK_BYTES as u64 / SECTOR_BYTES;

/// A root with a hash per block.
#[derive(Debug)]
pub struct RootView {
    root: Root,
    first_sector: u64,
    levels: Vec<Level>,
    /// Blocks that do not match their parent's hash, by level and index.
    refused: BTreeSet<(usize, u64)>,
    /// How many of the disk's changes it has seen.
    changes_seen: usize,
}

/// One level of the tree, the data first.
#[derive(Debug)]
struct Level {
    /// Its first block on the partition.
    first_block: u64,
    hashes: Vec<Hash>,
    /// Content of the blocks above the data.
    content: Vec<u8>,
}

impl Level {
    fn blocks(&self) -> Range<u64> {
        self.first_block..self.end_block()
    }

    fn end_block(&self) -> u64 {
        self.first_block.saturating_add(self.hashes.len() as u64)
    }
}

impl RootView {
    /// Hashes everything. `None` when the root does not fit into its partition.
    pub fn new(disk: &Disk, root: &Root, partition: &Range<u64>) -> io::Result<Option<Self>> {
        let room = (partition.end - partition.start) / BLOCK_SECTORS;
        if root.data_blocks > room {
            return Ok(None);
        }
        let levels = levels(root);
        if levels.iter().any(|level| level.end_block() > room) {
            return Ok(None);
        }
        let mut view = Self {
            root: root.clone(),
            first_sector: partition.start,
            levels,
            refused: BTreeSet::new(),
            changes_seen: disk.root_changes().len(),
        };
        for level in (0..view.levels.len()).rev() {
            for index in 0..view.levels[level].hashes.len() as u64 {
                view.hash(disk, level, index)?;
                view.compare(level, index);
            }
        }
        Ok(Some(view))
    }

    /// Whether no block would be refused, now.
    pub fn is_whole(&mut self, disk: &Disk) -> io::Result<bool> {
        let changed: BTreeSet<(usize, u64)> = disk.root_changes()[self.changes_seen..]
            .iter()
            .filter_map(|sector| self.place(*sector))
            .collect();
        self.changes_seen = disk.root_changes().len();
        for (level, index) in changed {
            self.hash(disk, level, index)?;
            self.compare(level, index);
            if let Some(below) = level.checked_sub(1) {
                let children = index * HASHES_PER_BLOCK as u64..(index + 1) * HASHES_PER_BLOCK as u64;
                let known = self.levels[below].hashes.len() as u64;
                children.take_while(|child| *child < known).for_each(|child| self.compare(below, child));
            }
        }
        Ok(self.refused.is_empty())
    }

    /// The block of a sector, by level and index.
    fn place(&self, sector: u64) -> Option<(usize, u64)> {
        let block = sector.checked_sub(self.first_sector)? / BLOCK_SECTORS;
        let level = self.levels.iter().position(|level| level.blocks().contains(&block))?;
        Some((level, block - self.levels[level].first_block))
    }

    fn hash(&mut self, disk: &Disk, level: usize, index: u64) -> io::Result<()> {
        let into = &mut self.levels[level];
        let mut block = [0; BLOCK_BYTES];
        disk.read(self.first_sector + (into.first_block + index) * BLOCK_SECTORS, &mut block)?;
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        into.hashes[index] = hash(&self.root.salt, &block);
        if level > 0 {
            into.content[index * BLOCK_BYTES..][..BLOCK_BYTES].copy_from_slice(&block);
        }
        Ok(())
    }

    fn compare(&mut self, level: usize, index: u64) {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let wanted = match self.levels.get(level + 1) {
            Some(parent) => &parent.content[at * size_of::<Hash>()..][..size_of::<Hash>()],
            None => &self.root.hash,
        };
        if self.levels[level].hashes[at] == *wanted {
            self.refused.remove(&(level, index));
        } else {
            self.refused.insert((level, index));
        }
    }
}

/// Data, then the tree upwards: it lies top level first (crates/verity).
fn levels(root: &Root) -> Vec<Level> {
    let mut counts = vec![root.data_blocks];
    while let Some(count) = counts.last().filter(|count| **count > 1) {
        counts.push(count.div_ceil(HASHES_PER_BLOCK as u64));
    }
    let mut levels = Vec::new();
    for (level, count) in counts.iter().enumerate() {
        let above: u64 = counts[level + 1..].iter().sum();
        let first_block = if level == 0 { 0 } else { root.tree_block.saturating_add(above) };
        let count = usize::try_from(*count).unwrap_or(usize::MAX);
        let content = if level == 0 { Vec::new() } else { vec![0; count * BLOCK_BYTES] };
        levels.push(Level { first_block, hashes: vec![Hash::default(); count], content });
    }
    levels
}

fn hash(salt: &[u8], block: &[u8]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(salt);
    context.update(block);
    let mut hash = Hash::default();
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io::Write as _};

    use proptest::prelude::*;
    use verity::HashTree;

    use super::*;
    use crate::region;

    /// More than one block of leaves.
    const BLOCKS: u64 = 200;

    /// A disk with a root in ROOT-B, and where it lies.
    fn sealed() -> (tempfile::NamedTempFile, Root, Range<u64>) {
        let data: Vec<Vec<u8>> = (0..BLOCKS).map(|n| vec![n.to_le_bytes()[0]; BLOCK_BYTES]).collect();
        let tree = HashTree::build(data.iter().map(Ok::<_, Infallible>), b"salt").unwrap();
        let partition = region::range(&layout::ROOT_B, 16 << 20);
        let mut base = tempfile::NamedTempFile::new().unwrap();
        io::Seek::seek(&mut base, io::SeekFrom::Start(partition.start * SECTOR_BYTES)).unwrap();
        base.write_all(&data.concat()).unwrap();
        base.write_all(&tree.blocks).unwrap();
        let root = Root {
            partition: String::new(),
            data_blocks: BLOCKS,
            tree_block: BLOCKS,
            hash: tree.root,
            salt: b"salt".to_vec(),
            uses_backup_table: false,
        };
        (base, root, partition)
    }

    #[test]
    fn a_root_that_does_not_fit_is_no_root() {
        let (base, root, partition) = sealed();
        let disk = Disk::new(base.path(), 8 << 30).unwrap();
        for (data_blocks, tree_block) in [(1 << 40, 0), (BLOCKS, 1 << 18), (BLOCKS, u64::MAX)] {
            let root = Root { data_blocks, tree_block, ..root.clone() };
            assert!(RootView::new(&disk, &root, &partition).unwrap().is_none());
        }
        let mut view = RootView::new(&disk, &root, &partition).unwrap().unwrap();
        assert!(view.is_whole(&disk).unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Following writes says the same as looking at everything, and any damage is seen, anywhere.
        #[test]
        fn follows_every_write(
            writes in prop::collection::vec((0..(BLOCKS + 3) * BLOCK_SECTORS, 0_u8..3), 1..40),
        ) {
            let (base, root, partition) = sealed();
            let mut disk = Disk::new(base.path(), 8 << 30).unwrap();
            let mut view = RootView::new(&disk, &root, &partition).unwrap().unwrap();
            let mut damaged = BTreeSet::new();
            for (sector, kind) in writes {
                let sector = partition.start + sector;
                let good = Disk::new(base.path(), 8 << 30).unwrap().sector(sector).unwrap();
                let content = if kind == 0 { good } else { good.map(|byte| byte ^ kind) };
                disk.write(sector, &content).unwrap();
                if kind == 0 { damaged.remove(&sector) } else { damaged.insert(sector) };
                let whole = view.is_whole(&disk).unwrap();
                prop_assert_eq!(whole, damaged.is_empty());
                let mut anew = RootView::new(&disk, &root, &partition).unwrap().unwrap();
                prop_assert_eq!(whole, anew.is_whole(&disk).unwrap());
            }
        }
    }
}

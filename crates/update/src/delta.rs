//! Which blocks of an image must be fetched, and which are on the node already.
//!
//! All releases share one salt, so that a block's leaf in the hash tree names its content. The tree of the slot that
//! runs is therefore an index of what is there, and needs no pass over the data.

use verity::{BLOCK_BYTES, Hash};

/// Longest range that is fetched or copied at once, in blocks: 1 MiB, so that a server that answers badly costs
/// little, and memory stays bounded.
pub const RANGE_MAX_BLOCKS: u64 = 256;

/// Leaves of an image that is there, to be searched by hash.
#[derive(Clone, Debug)]
pub struct Index<'a> {
    leaves: &'a [Hash],
    /// Numbers of all blocks, in the order of their hashes. The partitions hold fewer than 2^32 blocks.
    sorted: Vec<u32>,
}

/// Blocks in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// The first one.
    pub first_block: u64,
    /// How many.
    pub blocks: u64,
}

/// Blocks in a row that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copy {
    /// The first one, in the image that is there.
    pub from_block: u64,
    /// Where it goes, in the image that is made.
    pub to_block: u64,
    /// How many.
    pub blocks: u64,
}

/// What makes an image whole. Every block of it that is not right yet is in exactly one of these, in order and in
/// ranges of at most [`RANGE_MAX_BLOCKS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be read from the image that is there.
    pub copies: Vec<Copy>,
    /// To be read from the release.
    pub fetches: Vec<Range>,
    /// To be filled with zeros.
    pub zeros: Vec<Range>,
}

impl<'a> Index<'a> {
    /// Over an image that is there. Leaves beyond 2^32 are not found.
    #[must_use]
    pub fn new(leaves: &'a [Hash]) -> Self {
        let mut sorted: Vec<u32> = (0..=u32::MAX).take(leaves.len()).collect();
        sorted.sort_unstable_by_key(|block| leaves.get(*block as usize));
        Self { leaves, sorted }
    }

    /// A block with this leaf.
    #[must_use]
    pub fn find(&self, leaf: &Hash) -> Option<u64> {
        let found = self.sorted.binary_search_by_key(&Some(leaf), |block| self.leaves.get(*block as usize));
        found.ok().and_then(|at| self.sorted.get(at)).map(|block| u64::from(*block))
    }

    fn holds(&self, block: u64, leaf: &Hash) -> bool {
        usize::try_from(block).ok().and_then(|block| self.leaves.get(block)) == Some(leaf)
    }
}

/// Plans the image with these leaves. `is_right` says whether a block of it is right already; `zero` is the leaf of a
/// block of zeros.
pub fn plan(target: &[Hash], is_right: &dyn Fn(u64) -> bool, source: &Index<'_>, zero: &Hash) -> Plan {
    let mut plan = Plan::default();
    for (to_block, leaf) in (0..).zip(target) {
        if is_right(to_block) {
        } else if leaf == zero {
            extend(&mut plan.zeros, to_block);
        } else if !plan.copy(to_block, leaf, source) {
            extend(&mut plan.fetches, to_block);
        }
    }
    plan
}

impl Plan {
    /// Bytes that must come from the release.
    #[must_use]
    pub fn fetch_bytes(&self) -> u64 {
        self.fetches.iter().map(|range| range.blocks).sum::<u64>().saturating_mul(BLOCK_BYTES as u64)
    }

    /// Goes on with the last copy where that fits, so that copies are long.
    fn copy(&mut self, to_block: u64, leaf: &Hash, source: &Index<'_>) -> bool {
        if let Some(last) = self.copies.last_mut()
            && last.blocks < RANGE_MAX_BLOCKS
            && last.to_block + last.blocks == to_block
            && source.holds(last.from_block + last.blocks, leaf)
        {
            last.blocks += 1;
            return true;
        }
        let Some(from_block) = source.find(leaf) else { return false };
        self.copies.push(Copy { from_block, to_block, blocks: 1 });
        true
    }
}

fn extend(ranges: &mut Vec<Range>, block: u64) {
    match ranges.last_mut() {
        Some(last) if last.blocks < RANGE_MAX_BLOCKS && last.first_block + last.blocks == block => {
            last.blocks += 1;
        }
        Some(_) | None => ranges.push(Range { first_block: block, blocks: 1 }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A block by its first byte; block 0 is zeros.
    type Block = u8;

    fn leaves(image: &[Block]) -> Vec<Hash> {
        image.iter().map(|block| [*block; 32]).collect()
    }

    /// Does what the plan says, with `fetched` for what the release gives.
    fn apply(plan: &Plan, found: &[Block], source: &[Block], fetched: &[Block]) -> Vec<Block> {
        let mut image = found.to_vec();
        let span = |first: u64, blocks: u64| first as usize..(first + blocks) as usize;
        for Copy { from_block, to_block, blocks } in &plan.copies {
            image[span(*to_block, *blocks)].copy_from_slice(&source[span(*from_block, *blocks)]);
        }
        for Range { first_block, blocks } in &plan.fetches {
            image[span(*first_block, *blocks)].copy_from_slice(&fetched[span(*first_block, *blocks)]);
        }
        for Range { first_block, blocks } in &plan.zeros {
            image[span(*first_block, *blocks)].fill(0);
        }
        image
    }

    fn images() -> impl Strategy<Value = Vec<Block>> {
        prop_oneof![
            // Dense, so that images share blocks, and long runs, so that ranges meet their limit.
            prop::collection::vec(0..16u8, 0..600),
            prop::collection::vec((0..4u8, 1..600usize), 0..5)
                .prop_map(|runs| runs.into_iter().flat_map(|(block, times)| vec![block; times]).collect()),
        ]
    }

    proptest! {
        #[test]
        fn the_plan_makes_the_image(target in images(), source in images(), found in images()) {
            let mut found = found;
            found.resize(target.len(), 99);
            let is_right = |block: u64| found[block as usize] == target[block as usize];
            let source_leaves = leaves(&source);
            let plan = plan(&leaves(&target), &is_right, &Index::new(&source_leaves), &[0; 32]);
            prop_assert_eq!(apply(&plan, &found, &source, &target), target.clone());

            let mut touched = vec![0; target.len()];
            let ranges = plan.copies.iter().map(|copy| (copy.to_block, copy.blocks));
            let ranges = ranges.chain(plan.fetches.iter().chain(&plan.zeros).map(|range| (range.first_block, range.blocks)));
            for (first, blocks) in ranges {
                prop_assert!((1..=RANGE_MAX_BLOCKS).contains(&blocks));
                (first..first + blocks).for_each(|block| touched[block as usize] += 1);
            }
            for (block, times) in (0..).zip(touched) {
                prop_assert_eq!(times, i32::from(!is_right(block)), "block {}", block);
            }
            for Range { first_block, blocks } in &plan.fetches {
                let fetched = &target[*first_block as usize..(first_block + blocks) as usize];
                prop_assert!(fetched.iter().all(|block| *block != 0 && !source.contains(block)));
            }
            let coalesced = plan.fetches.windows(2).all(|pair| {
                let end = pair[0].first_block + pair[0].blocks;
                end < pair[1].first_block || (end == pair[1].first_block && pair[0].blocks == RANGE_MAX_BLOCKS)
            });
            prop_assert!(coalesced);
        }

        #[test]
        fn every_leaf_is_found(image in images()) {
            let leaves = leaves(&image);
            let index = Index::new(&leaves);
            for leaf in &leaves {
                prop_assert_eq!(&leaves[index.find(leaf).unwrap() as usize], leaf);
            }
            prop_assert_eq!(index.find(&[200; 32]), None);
        }
    }

    #[test]
    fn what_did_not_change_is_copied_in_long_runs() {
        let source: Vec<Hash> = (0..1000u64).map(|block| verity_leaf(block + 1)).collect();
        let mut target = source.clone();
        target.insert(300, verity_leaf(5000));
        let plan = plan(&target, &|_| false, &Index::new(&source), &[0; 32]);
        assert_eq!(plan.fetches, [Range { first_block: 300, blocks: 1 }]);
        assert_eq!((plan.fetch_bytes(), plan.copies.len()), (4096, 5));
        assert_eq!(plan.copies[0], Copy { from_block: 0, to_block: 0, blocks: 256 });
    }

    #[test]
    fn a_gigabyte_is_planned_at_once() {
        let target: Vec<Hash> = (0..262_144).map(verity_leaf).collect();
        let plan = plan(&target, &|_| false, &Index::new(&[]), &[0; 32]);
        assert_eq!((plan.fetches.len(), plan.fetch_bytes()), (1024, 1 << 30));
    }

    fn verity_leaf(number: u64) -> Hash {
        let mut leaf = [1; 32];
        leaf[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        leaf
    }
}

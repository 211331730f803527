//! A root image rots: whoever reads a flipped block gets EIO, nothing else changes, and a node says so.

#![allow(missing_docs)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    ops::Range,
    os::unix::fs::FileExt as _,
};

use support::{BOOT, Random, SOON, bed, blueprint, flip, flip::Flip, folder, tools};
use testbed::{bare, bed::Bed, node::Node};
use verity::{BLOCK_BYTES, HASHES_PER_BLOCK};

const DATA_FLIPS: usize = 220;
const LEAF_FLIPS: usize = 20;
const BOOTS: u64 = 2;
const BOOTS_LONG: u64 = 100;
const SELECTOR: &str = "cairn: selector";
const API: &str = "cairn: api https://";
/// What a node says that cannot make or check its file systems: there is no API without STATE.
const STORAGE: &str = "cairn: storage: ";
const PANIC: &str = "Kernel panic";
const CORRUPTED: &str = "is corrupted";

#[test]
fn flipped_blocks_are_unreadable_and_nothing_else_changes() {
    let bed = bed();
    let tree = Tree::of(&bed);
    let mut random = Random::seeded(&bed, "rot");
    let data = distinct(&mut random, 0..tree.data_blocks, DATA_FLIPS);
    let hashes = distinct(&mut random, 0..tree.levels[0], LEAF_FLIPS);
    let mut unreadable = data.clone();
    unreadable.extend(hashes.iter().flat_map(|index| tree.covered(0, *index)));
    let flips = data.into_iter().chain(hashes.iter().map(|index| tree.block(0, *index)));
    assert_reads(&bed, &mut random, flips.collect(), &unreadable);
}

#[test]
fn a_flipped_block_high_in_the_hash_tree_takes_what_it_covers() {
    let bed = bed();
    let tree = Tree::of(&bed);
    let mut random = Random::seeded(&bed, "rot-high");
    for level in 1..tree.levels.len() {
        let index = random.below(tree.levels[level]);
        let flips = BTreeSet::from([tree.block(level, index)]);
        assert_reads(&bed, &mut random, flips, &tree.covered(level, index).collect());
    }
}

/// Flips a bit in each of `flips` and reads everything: exactly `unreadable` must fail.
fn assert_reads(bed: &Bed, random: &mut Random, flips: BTreeSet<u64>, unreadable: &BTreeSet<u64>) {
    let folder = folder(bed, "rot-read");
    let damaged = folder.join("damaged.img");
    fs::copy(&bed.root_image, &damaged).unwrap();
    let file = File::options().read(true).write(true).open(&damaged).unwrap();
    for block in &flips {
        let flip = Flip::random(random, &bed.root_image, *block);
        file.write_all_at(&[flip.byte], flip.at).unwrap();
    }
    let found = bare::read_verified(bed, &damaged, &folder).unwrap();
    println!("{} blocks flipped: {} of {} unreadable", flips.len(), found.unreadable.len(), found.blocks);
    assert_eq!(found.blocks, Tree::of(bed).data_blocks);
    assert_eq!(&found.unreadable, unreadable);
    assert_eq!(found.different, BTreeSet::new(), "blocks were served that are not what was sealed");
}

#[test]
fn a_rotten_kubelet_does_not_run_and_the_node_says_why() {
    let bed = bed();
    let block = flip::first_block(&bed, &bed.root_image, "/usr/bin/kubernetes");
    let mut node = rotten(&bed, &mut Random::seeded(&bed, "rot-kubelet"), "rot-kubelet", block);
    node.adopt().unwrap();
    node.machine.console().rewind();
    node.machine.wait_for(CORRUPTED, BOOT).unwrap();
    node.machine.wait_for("cairn: service kubelet failed", BOOT).unwrap();
    assert_reported(&node, block);
    let health = node.osctl_output(&["health"]).unwrap();
    assert!(String::from_utf8_lossy(&health.stdout).contains("kubelet"));
    let lines = node.machine.console().lines().unwrap();
    assert!(!lines.iter().any(|line| line.contains("service kubelet running")));
}

#[test]
fn a_node_with_one_random_flipped_block_serves_or_says_why_not() {
    let bed = bed();
    let mut random = Random::seeded(&bed, "rot-boots");
    let blocks = fs::metadata(&bed.root_image).unwrap().len() / BLOCK_BYTES as u64;
    let boots = if bed.long { BOOTS_LONG } else { BOOTS };
    let mut outcomes = BTreeMap::<_, u32>::new();
    for _ in 0..boots {
        let block = random.below(blocks);
        let outcome = boot_rotten(&bed, &mut random, block);
        println!("  block {block}: {outcome:?}");
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{boots} boots: {outcomes:?}");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Everything runs, nobody read the block.
    Unread,
    /// The API is served and names the block.
    Reported,
    /// No STATE without the damaged program, so no API: the console names it and the node waits for a person.
    Waits,
    /// It panicked or ended in order, and began again.
    Rebooted,
}

fn boot_rotten(bed: &Bed, random: &mut Random, block: u64) -> Outcome {
    let mut node = rotten(bed, random, "rot-boot", block);
    node.machine.wait_for("Linux version", BOOT).unwrap();
    let (which, _) = node.machine.wait_for_any(&[API, STORAGE, PANIC, SELECTOR], BOOT).unwrap();
    if which > 0 {
        node.machine.console().rewind();
        node.machine.wait_for(CORRUPTED, SOON).unwrap();
        return if which == 1 { Outcome::Waits } else { Outcome::Rebooted };
    }
    node.machine.console().rewind();
    node.adopt().unwrap();
    node.machine.console().rewind();
    let (which, _) = node.machine.wait_for_any(&[CORRUPTED, "cairn: service kubelet running"], BOOT).unwrap();
    if which > 0 {
        return Outcome::Unread;
    }
    assert_reported(&node, block);
    Outcome::Reported
}

/// The node publishes the damage of exactly this block, and is not healthy for it.
fn assert_reported(node: &Node, block: u64) {
    let list: serde_json::Value =
        serde_json::from_str(&node.osctl(&["get", "corruption", "-o", "json"]).unwrap()).unwrap();
    assert!(list.to_string().contains(&format!("block {block} is corrupted")), "{list}");
    let health = node.osctl_output(&["health"]).unwrap();
    assert_eq!(health.status.code(), Some(4));
    let text = String::from_utf8_lossy(&health.stdout).into_owned();
    assert!(text.contains("integrity") && text.contains(&format!("block {block}")), "{text}");
}

/// Starts a node whose root has one flipped block.
fn rotten(bed: &Bed, random: &mut Random, name: &str, block: u64) -> Node {
    let mut blueprint = blueprint(bed, name);
    blueprint.probe_image = None;
    let tools = tools(bed);
    let files = Node::prepare(&tools, &blueprint, &folder(bed, name)).unwrap();
    let flip = Flip::random(random, &bed.root_image, block);
    flip::write(bed, &files.disk(), &layout::ROOT_A, &[flip]);
    Node::start(&tools, &blueprint, &files).unwrap()
}

/// Where the hash tree of the root image lies (crates/verity: top level first, 128 hashes to a block).
struct Tree {
    data_blocks: u64,
    hash_start_block: u64,
    /// Blocks of each level, leaves first.
    levels: Vec<u64>,
}

impl Tree {
    fn of(bed: &Bed) -> Self {
        let facts = bare::root_facts(bed).unwrap();
        let mut levels = vec![facts.data_blocks.div_ceil(HASHES_PER_BLOCK as u64)];
        while levels[levels.len() - 1] > 1 {
            levels.push(levels[levels.len() - 1].div_ceil(HASHES_PER_BLOCK as u64));
        }
        let tree = Self { data_blocks: facts.data_blocks, hash_start_block: facts.hash_start_block, levels };
        assert_eq!(tree.block(0, tree.levels[0]) * BLOCK_BYTES as u64, facts.size_bytes);
        tree
    }

    /// The image's block with the level's `index`-th hashes.
    fn block(&self, level: usize, index: u64) -> u64 {
        self.hash_start_block + self.levels[level + 1..].iter().sum::<u64>() + index
    }

    /// Data blocks that cannot be verified without it.
    fn covered(&self, level: usize, index: u64) -> Range<u64> {
        let span = (0..=level).fold(1, |span, _| span * HASHES_PER_BLOCK as u64);
        index * span..((index + 1) * span).min(self.data_blocks)
    }
}

fn distinct(random: &mut Random, from: Range<u64>, count: usize) -> BTreeSet<u64> {
    let mut chosen = BTreeSet::new();
    while chosen.len() < count {
        chosen.insert(from.start + random.below(from.end - from.start));
    }
    chosen
}

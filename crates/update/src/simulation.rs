//! Simulated nodes in bad weather: power cuts between any two actions and inside a write of BOOTSTATE, machined that
//! ends, disks and servers that refuse, releases that hang, people who interfere. BOOTSTATE and the selector's choice
//! are the real ones. What must hold at every moment is asserted in `node.rs`.

mod disk;
mod node;
mod random;

use crate::{BACK_OFF_MAX_S, Phase};
use node::{Behaviour, Node, Weather};
use random::{Random, Seed};

const SEEDS: u64 = 2_000;
const STORMY_STEPS: u32 = 300;
/// More than the most that a node may need to come to rest: a download, a trial and the way back.
const CALM_STEPS: u32 = 200;

#[test]
fn whatever_happens_the_node_boots_and_comes_to_rest() {
    live_through(0..SEEDS);
}

#[test]
#[ignore = "long form: minutes"]
fn whatever_happens_in_a_long_time_the_node_boots_and_comes_to_rest() {
    live_through(SEEDS..40 * SEEDS);
}

fn live_through(seeds: std::ops::Range<u64>) {
    let least = (seeds.end - seeds.start) / 10;
    let mut totals = [0; 4];
    for seed in seeds {
        let _seed = Seed(seed);
        let mut random = Random(seed);
        let releases = 2 + random.below(6) as usize;
        let mut node = Node::new(random, releases);
        for _ in 0..STORMY_STEPS {
            node.advance();
        }
        node.weather = Weather::Calm;
        comes_to_rest(&mut node);
        let history = &node.history;
        let counts = [history.steps, history.trials, history.confirmations, history.returns];
        totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    println!("steps, trials, confirmations, returns: {totals:?}");
    assert!(totals.iter().all(|total| *total > least), "{totals:?} is too little to mean much");
}

fn comes_to_rest(node: &mut Node) {
    for _ in 0..CALM_STEPS {
        if node.rests() {
            return;
        }
        node.advance();
    }
    panic!("the node never rests: {:?}", node.upgrade());
}

/// Left alone, a node follows its channel to the newest release that is any good, or knows why not.
#[test]
fn left_alone_a_node_gets_to_the_newest_release_that_works() {
    for seed in 0..SEEDS / 20 {
        let _seed = Seed(seed);
        let mut node = Node::new(Random(seed), 6);
        for _ in 0..STORMY_STEPS {
            node.advance();
        }
        node.weather = Weather::Calm;
        for _ in 0..2_500 {
            node.advance();
        }
        let newest_good =
            node.behaviour.iter().rposition(|behaviour| *behaviour == Behaviour::Healthy).unwrap();
        let runs = usize::from(node.runs());
        let refused = |number: usize| node.upgrade().failure(&disk::version(number as u8)).is_some();
        let waits = node
            .upgrade()
            .work()
            .is_some_and(|work| matches!(work.phase, Phase::Staged { .. } | Phase::BackingOff));
        assert!(
            (runs..=newest_good).skip(1).all(refused) || waits,
            "{runs} runs: {:?}",
            node.upgrade().work().map(|work| &work.phase)
        );
    }
}

#[test]
fn pauses_double_up_to_a_day() {
    let mut upgrade = crate::Upgrade::new();
    let now = |now_s| crate::Moment { boot: crate::BootId("boot".into()), since_boot_ms: 0, now_s };
    let mut pauses = Vec::new();
    for _ in 0..7 {
        upgrade.defer(&now(1000), disk::version(1), false);
        pauses.push((upgrade.deferred_until_s(&disk::version(1)).unwrap() - 1000) / 3600);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 24, 24]);
    upgrade.follow_clock(&now(0));
    assert_eq!(upgrade.deferred_until_s(&disk::version(1)), Some(BACK_OFF_MAX_S));
}

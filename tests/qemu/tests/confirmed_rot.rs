//! A slot that was confirmed rots: the node goes on with the other one, and without another one it never gives up.

#![allow(missing_docs)]

mod support;

use support::{
    BOOT, Random, bed, blueprint, flip,
    flip::Flip,
    folder, tools, up,
    upgrade::{running, slots},
};
use testbed::{bed::Bed, node::Node};

const INIT: &str = "/usr/sbin/init";
const SELECTOR: &str = "cairn: selector";
const CORRUPTED: &str = "is corrupted";
const PANIC: &str = "Kernel panic";
/// More starts than those after which the selector looks for another slot.
const STARTS: u8 = bootstate::BOOTS_MAX + 2;

#[test]
fn a_confirmed_slot_that_rots_makes_room_for_the_other() {
    let bed = bed();
    let mut random = Random::seeded(&bed, "confirmed rot");
    let releases = bed.releases(2).unwrap();
    let mut blueprint = blueprint(&bed, "confirmed-rot");
    blueprint.probe_image = None;
    let mut node = up(&bed, &blueprint);
    let before = running(&node);
    let version = &releases.versions[0];
    let repository = releases.repository.to_string_lossy();
    node.osctl(&["upgrade", "--release", &repository, "--version", version, "--wait"]).unwrap();
    node.machine.cut_power().unwrap();
    let image = releases.repository.join("targets/releases").join(version).join("root.img");
    let flip = Flip::random(&mut random, &image, flip::first_block(&bed, &image, INIT));
    flip::write(&bed, &node.files().disk(), &layout::ROOT_B, &[flip]);
    node.restart().unwrap();
    let mut panics = 0;
    while let (0, _) = node.machine.wait_for_any(&[PANIC, "cairn: starting slot A"], BOOT).unwrap() {
        panics += 1;
    }
    println!("the other slot was started after {panics} panics");
    assert!((1..=bootstate::BOOTS_MAX).contains(&panics));
    node.wait_for_pod().unwrap();
    node.osctl(&["health", "--wait"]).unwrap();
    let [now, other] = slots(&node);
    assert_eq!((now.version, now.state.as_str()), (before, "confirmed"));
    assert_eq!(&other.version, version);
}

#[test]
fn without_another_slot_a_rotten_one_is_started_until_it_works() {
    let bed = bed();
    let mut random = Random::seeded(&bed, "lone rot");
    let flip = Flip::random(&mut random, &bed.root_image, flip::first_block(&bed, &bed.root_image, INIT));
    let mut node = with_flip(&bed, flip);
    for _ in 0..STARTS {
        node.machine.wait_for(SELECTOR, BOOT).unwrap();
        node.machine.wait_for(CORRUPTED, BOOT).unwrap();
        node.machine.wait_for(PANIC, BOOT).unwrap();
    }
    let lines = node.machine.console().lines().unwrap();
    assert!(!lines.iter().any(|line| line.contains("cairn: init started")), "what is rotten was executed");
    node.machine.cut_power().unwrap();
    flip::write(&bed, &node.files().disk(), &layout::ROOT_A, &[flip.undone(&bed.root_image)]);
    node.restart().unwrap();
    node.wait_for_pod().unwrap();
}

fn with_flip(bed: &Bed, flip: Flip) -> Node {
    let mut blueprint = blueprint(bed, "lone-rot");
    blueprint.probe_image = None;
    let files = Node::prepare(&tools(bed), &blueprint, &folder(bed, &blueprint.name)).unwrap();
    flip::write(bed, &files.disk(), &layout::ROOT_A, &[flip]);
    Node::start(&tools(bed), &blueprint, &files).unwrap()
}

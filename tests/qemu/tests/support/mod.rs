//! What the tests share: nodes on the built image, and seeded randomness.

#![allow(dead_code, missing_docs, reason = "each test binary uses a part")]

pub mod blank;
pub mod flip;
pub mod foreign_cluster;
pub mod kubectl;
pub mod load;
pub mod middleman;
pub mod mirror;
pub mod repository;
pub mod sntp;
pub mod upgrade;

use std::{path::PathBuf, time::Duration};

use testbed::{
    bed::Bed,
    node::{self, Blueprint, Node, Tools},
};

/// For things that follow at once in a running node.
pub const SOON: Duration = Duration::from_secs(60);
/// For a boot, by whatever route.
pub const BOOT: Duration = node::BOOT_DEADLINE;

/// The bed; a test without it fails with what to run.
pub fn bed() -> Bed {
    Bed::from_environment().unwrap()
}

pub fn tools(bed: &Bed) -> Tools {
    Tools { programs: bed.programs(), osctl: bed.osctl.clone(), accelerator: bed.accelerator }
}

/// A node with the sample pod and the probe pod.
pub fn blueprint(bed: &Bed, name: &str) -> Blueprint {
    Blueprint {
        name: name.to_owned(),
        image: bed.disk.clone(),
        disk_size: "8G".to_owned(),
        hardware: node::default_hardware(),
        pods: Vec::new(),
        probe_image: Some(bed.probe_image.clone()),
    }
}

/// An empty folder for a node of this run.
pub fn folder(bed: &Bed, name: &str) -> PathBuf {
    let folder = bed.work.join(name);
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A node that is up, adopted, its pods answering.
pub fn up(bed: &Bed, blueprint: &Blueprint) -> Node {
    let mut node = Node::up(&tools(bed), blueprint, &folder(bed, &blueprint.name)).unwrap();
    if blueprint.probe_image.is_some() {
        node.wait_for_probe().unwrap();
    }
    node
}

/// First byte of a partition on a node's disk.
pub fn partition_start(number: u32) -> u64 {
    layout::PARTITIONS
        .iter()
        .take_while(|partition| partition.number != number)
        .filter_map(|partition| partition.size_bytes)
        .sum::<u64>()
        + layout::FIRST_PARTITION_BYTES
}

/// Chooses moments and blocks, the same ones for the same seed.
pub struct Random(crashcheck::random::Random);

impl Random {
    /// Prints the seed, so that a failure can be replayed.
    pub fn seeded(bed: &Bed, test: &str) -> Self {
        println!("{test}: seed {}", bed.seed);
        Self(crashcheck::random::Random::new(bed.seed))
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.draw() % bound
    }
}

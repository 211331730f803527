//! Power goes at any moment of an upgrade: download, write, flip, trial boot, confirmation. The next boot brings the
//! pod back, from a release that is whole; in the long form the node is upgraded as ever afterwards.

#![allow(missing_docs)]

mod support;

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use serde_json::Value;
use support::{
    Random, bed, blueprint, up,
    upgrade::{running, settle, slots},
};
use testbed::{bed::Releases, node::Node};

const CUTS_CI: u32 = 3;
const CUTS_LONG: u32 = 300;
/// What an upgrade takes under emulation, from osctl's start to the confirmation.
const UPGRADE: Duration = Duration::from_secs(60);

#[test]
fn power_cuts_during_an_upgrade_lose_nothing() {
    let bed = bed();
    let mut random = Random::seeded(&bed, "upgrade cuts");
    let releases = bed.releases(2).unwrap();
    let mut blueprint = blueprint(&bed, "upgrade-cuts");
    blueprint.probe_image = None;
    let mut node = up(&bed, &blueprint);
    for cut in 0..if bed.long { CUTS_LONG } else { CUTS_CI } {
        let mut upgrade = begin(&node, &releases, &[]);
        let moment = Duration::from_millis(random.below(UPGRADE.as_millis().try_into().unwrap()));
        node.machine.run_for(moment).unwrap();
        let phase = phase(&node);
        node.machine.cut_power().unwrap();
        upgrade.kill().unwrap();
        upgrade.wait().unwrap();
        node.restart().unwrap();
        node.wait_for_pod().unwrap_or_else(|error| panic!("after power cut {cut}: {error:#}"));
        let slots = slots(&node);
        assert!(slots.iter().any(|slot| slot.state == "confirmed"), "{slots:?}");
        let [running, _] = slots;
        println!(
            "power cut {cut}: {} ms, {phase}; came back with {}, {}",
            moment.as_millis(),
            running.version,
            running.state
        );
        settle(&node);
    }
    node.osctl(&["health", "--wait"]).unwrap();
    if bed.long {
        let output = begin(&node, &releases, &["--wait"]).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// An upgrade to a release that does not run.
fn begin(node: &Node, releases: &Releases, more: &[&str]) -> Child {
    let running = running(node);
    let version = releases.versions.iter().find(|version| **version != running).unwrap();
    let repository = releases.repository.to_string_lossy();
    let leave = ["--allow-downgrade", "--retry-failed"];
    let arguments = [&["upgrade", "--release", &repository, "--version", version], &leave[..], more].concat();
    node.osctl_command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What goes on, if the node is there to be asked.
fn phase(node: &Node) -> String {
    let output = node.osctl_output(&["--timeout", "2s", "get", "upgrade", "-o", "json"]).unwrap();
    let upgrade: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    upgrade["items"][0]["spec"]["phase"].as_str().unwrap_or("rebooting").to_owned()
}

//! A node whose clock is years ahead is told the time, and does not judge anybody by what nothing vouches for.

#![allow(missing_docs)]

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use support::{bed, blueprint, folder, sntp, tools};
use testbed::{network::Network, node::Node};

const AHEAD: &str = "2033-05-05T05:05:05";
/// 2033-05-05.
const AHEAD_S: u64 = 1_998_864_000;
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_clock_that_is_wrong_by_years_is_set_right() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "time");
    blueprint.probe_image = None;
    blueprint.hardware.network = Network::Open;
    blueprint.hardware.clock = Some(AHEAD.into());
    let node = Node::up_without_pod(&tools(&bed), &blueprint, &folder(&bed, "time")).unwrap();
    assert_eq!(condition(&node)["reason"], "NoServers");
    assert!(last_update_s(&node, "services") > AHEAD_S);

    let patch = node.files().folder().join("time.yaml");
    let server = sntp::serve();
    fs::write(&patch, format!("apiVersion: {}\nkind: Time\nservers: [{server}]\n", config::API_VERSION))
        .unwrap();
    node.osctl(&["patch", "config", "-f", &patch.to_string_lossy()]).unwrap();
    let mut watch = node
        .osctl_command(&["get", "timeservers", "-w", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    let right = lines.find(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["resource"]["spec"]["synchronized"] == true
    });
    watch.kill().unwrap();
    watch.wait().unwrap();
    let right: Value = serde_json::from_str(&right.expect("the clock was never right")).unwrap();
    let spec = &right["resource"]["spec"];
    assert_eq!((&spec["authenticated"], &spec["origin"]), (&false.into(), &"configuration".into()));
    let host_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let off_s = last_update_s(&node, "timeservers").abs_diff(host_s);
    assert!(off_s < HOUR.as_secs(), "the clock is off by {off_s} s");
    assert_eq!(condition(&node)["reason"], "Synchronized");
    node.osctl(&["health", "--wait"]).unwrap();
}

fn condition(node: &Node) -> Value {
    let output = node.osctl_output(&["health", "-o", "json"]).unwrap();
    let health: Value = serde_json::from_slice(&output.stdout).unwrap();
    let conditions = health["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["name"] == "time").unwrap().clone()
}

/// When a resource of this kind changed last, by the node's clock, in seconds since 1970.
fn last_update_s(node: &Node, kind: &str) -> u64 {
    let list: Value = serde_json::from_str(&node.osctl(&["get", kind, "-o", "json"]).unwrap()).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    let updated = items.map(|item| item["updated"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
    updated.max().unwrap().as_second().try_into().unwrap()
}

//! What a node says of its releases.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use serde_json::Value;
use testbed::node::Node;

/// A slot as `osctl slots` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub version: String,
    pub state: String,
    pub active: bool,
}

/// The slot that runs, and the other one.
pub fn slots(node: &Node) -> [Slot; 2] {
    let listed = json(node, &["slots", "-o", "json"]);
    let mut slots: Vec<&Value> = listed["items"].as_array().unwrap().iter().collect();
    slots.sort_by_key(|slot| slot["running"] != true);
    [0, 1].map(|index| {
        let text = |field: &str| slots[index][field].as_str().unwrap().to_owned();
        Slot { version: text("version"), state: text("state"), active: slots[index]["active"] == true }
    })
}

/// The release that runs.
pub fn running(node: &Node) -> String {
    let [running, _] = slots(node);
    running.version
}

/// What `osctl upgrade status` says.
pub fn status(node: &Node) -> Value {
    json(node, &["upgrade", "status", "-o", "json"])
}

fn json(node: &Node, arguments: &[&str]) -> Value {
    serde_json::from_str(&node.osctl(arguments).unwrap()).unwrap()
}

/// Waits until the node does nothing more about a release by itself, but for a later try.
pub fn settle(node: &Node) {
    let mut watch = node.osctl_command(&["get", "upgrade", "-w"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    let settled = lines.any(|line| line.contains("idle") || line.contains("backingOff"));
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(settled, "the node went away before it had settled");
}

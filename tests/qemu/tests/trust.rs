//! A change of client CAs outlives power cuts, and a reset node is a new one.

#![allow(missing_docs)]

mod support;

use std::fs;

use pki::{Ca, SubjectName, Validity};
use serde_json::json;
use support::{bed, blueprint, up};
use testbed::node::Node;

#[test]
fn cas_change_with_overlap_and_a_reset_forgets_everything() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "trusting");
    blueprint.probe_image = None;
    let mut node = up(&bed, &blueprint);
    let first = node.osctl(&["version", "-o", "json"]).unwrap();

    let ca = Ca::create(&SubjectName::parse("second").unwrap(), Validity::UNLIMITED).unwrap();
    let add = json!([{"op": "add", "path": "/Api/clientCAs/-", "value": ca.bundle().to_pem()}]);
    let with_both = patch(&node, &add);
    assert!(with_both.contains("generation 2 runs"), "{with_both}");
    cut(&mut node);
    assert_eq!(node.osctl(&["get", "config"]).unwrap().matches("BEGIN CERTIFICATE").count(), 2);

    let without = patch(&node, &json!([{"op": "remove", "path": "/Api/clientCAs/1"}]));
    assert!(without.contains("generation 3 runs"), "{without}");
    cut(&mut node);
    assert_eq!(node.osctl(&["get", "config"]).unwrap().matches("BEGIN CERTIFICATE").count(), 1);
    node.wait_for_pod().unwrap();

    // The volume with its first configuration is still there, so it becomes a node of the same name.
    node.osctl(&["reset", "--yes", "--wipe-data"]).unwrap();
    node.osctl(&["config", "remove", "trusting"]).unwrap();
    node.adopt().unwrap();
    node.wait_for_pod().unwrap();
    let second = node.osctl(&["version", "-o", "json"]).unwrap();
    let id = |version: &str| {
        let version: serde_json::Value = serde_json::from_str(version).unwrap();
        version["node"]["nodeId"].as_str().unwrap_or_else(|| panic!("{version}")).to_owned()
    };
    assert_ne!(id(&first), id(&second), "the node kept its identity");
    let generations = node.osctl(&["get", "generations", "-o", "json"]).unwrap();
    assert!(!generations.contains("superseded"), "{generations}");
}

fn patch(node: &Node, operations: &serde_json::Value) -> String {
    let path = node.files().folder().join("patch.json");
    fs::write(&path, operations.to_string()).unwrap();
    node.osctl(&["patch", "config", "--json", &path.to_string_lossy()]).unwrap()
}

/// Power goes as soon as osctl knows that the change is confirmed.
fn cut(node: &mut Node) {
    node.machine.cut_power().unwrap();
    node.restart().unwrap();
    node.wait_for_fingerprint().unwrap();
}

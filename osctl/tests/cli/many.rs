//! One command on several nodes at once.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;

use pki::{Role, Validity};

use crate::rig::{Rig, closed_port};

/// An adopted node with three contexts: two that reach it, "edge-1" and "edge-2", and "off".
fn rig() -> Rig {
    let rig = Rig::adopted();
    rig.add_context("edge-2", &rig.ca, Role::Admin, Validity::UNLIMITED);
    rig.add_context_at("off", &closed_port().unwrap(), &rig.ca, Role::Admin, Validity::UNLIMITED);
    rig
}

#[test]
fn each_line_stands_under_the_name_of_its_node() {
    let rig = rig();
    let services = rig.run(&["services", "-c", "edge-1"]).ok();
    let both = rig.run(&["services", "-c", "edge-1,edge-2"]).ok();
    for node in ["edge-1", "edge-2"] {
        let own: String = both
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("{node}  ")))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(own, services, "{both}");
    }
}

#[test]
fn a_dead_node_holds_up_no_other_and_is_named() {
    let rig = rig();
    let ran = rig.run(&["version", "-c", "@all", "-o", "json"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("1 of 3: off"), "{ran:?}");
    let answers: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let items = answers["items"].as_array().unwrap();
    let of = |index: usize, field: &str| &items[index][field];
    assert_eq!(items.len(), 3);
    assert_eq!((of(0, "context"), of(0, "exitCode")), (&"edge-1".into(), &0.into()));
    assert_eq!(of(0, "output")["node"]["nodeId"], "n-1");
    assert_eq!((of(2, "context"), of(2, "exitCode")), (&"off".into(), &3.into()));
    assert!(of(2, "error").as_str().unwrap().contains("connection refused"), "{answers}");
    assert!(of(2, "output").is_null() && of(0, "error").is_null(), "{answers}");

    let table = rig.run(&["version", "-c", "@all"]);
    assert!(table.err.contains("off     error: cannot reach off"), "{table:?}");
    let yaml = rig.run(&["version", "-c", "@all", "-o", "yaml"]);
    assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&yaml.out).unwrap(), answers);
}

#[test]
fn a_silent_node_gives_way_to_the_next_one() {
    let rig = rig();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    rig.add_context_at("mute", &address, &rig.ca, Role::Admin, Validity::UNLIMITED);
    let ran = rig.run(&["reboot", "-c", "mute,edge-1", "--timeout", "2s", "--parallel", "1"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.starts_with("edge-1  "), "{ran:?}");
    assert!(ran.err.contains("mute    error: ") && ran.err.contains("1 of 2: mute"), "{ran:?}");
    assert!(rig.done().contains(&"reboot".to_owned()));
}

#[test]
fn several_values_of_one_node_are_a_list() {
    let rig = rig();
    let ran = rig.run(&["dmesg", "-c", "edge-1,edge-2", "-o", "json"]);
    let answers: serde_json::Value = serde_json::from_str(&ran.ok()).unwrap();
    assert!(answers["items"][1]["output"].is_array(), "{answers}");
}

#[test]
fn what_lasts_is_printed_as_it_comes() {
    let rig = rig();
    let watch = ["get", "services", "-w", "-o", "json", "-c", "edge-1,edge-2"];
    let mut watching = rig.command(&watch).spawn().unwrap();
    let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut seen = BTreeSet::new();
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert!(line["output"]["event"].is_string(), "{line}");
        seen.insert(line["context"].as_str().unwrap().to_owned());
        if seen.len() == 2 {
            break;
        }
    }
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["edge-1", "edge-2"]);
}

#[test]
fn of_what_lasts_a_dead_node_says_why_at_once() {
    let rig = rig();
    let ran = rig.run(&["get", "services", "-w", "-o", "json", "-c", "off,off-too"]);
    ran.fails(6, &["off-too"]);
    rig.add_context_at("off-too", &closed_port().unwrap(), &rig.ca, Role::Admin, Validity::UNLIMITED);
    let ran = rig.run(&["get", "services", "-w", "-o", "json", "-c", "off,off-too"]);
    ran.fails(
        3,
        &["off      error: cannot reach off", "off-too  error: cannot reach off-too", "2 of 2: off, off-too"],
    );
}

#[test]
fn groups_are_made_listed_and_removed() {
    let rig = rig();
    rig.run(&["config", "group", "set", "shop", "edge-1", "edge-2"]).ok();
    assert_eq!(rig.json(&["config", "group", "list", "-o", "json"])["items"][0]["contexts"][1], "edge-2");
    assert_eq!(rig.run(&["health", "-c", "@shop"]).code, 0);
    rig.run(&["config", "group", "set", "x", "nobody"]).fails(6, &["nobody"]);
    rig.run(&["config", "group", "remove", "shop"]).ok();
    rig.run(&["health", "-c", "@shop"]).fails(6, &["no group named \"shop\""]);
}

#[test]
fn what_asks_back_or_cannot_be_taken_back_takes_one_node() {
    let rig = rig();
    rig.run(&["reset", "--yes", "-c", "@all"]).fails(2, &["one node at a time"]);
    rig.run(&["edit", "config", "-c", "edge-1,edge-2"]).fails(2, &["one node at a time"]);
    rig.run(&["version", "-c", "@all", "-n", "127.0.0.1"]).fails(2, &["-n"]);
    let ran = rig.run(&["apply-config", "-f", "-", "-c", "edge-1,edge-2"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("standard input"), "{ran:?}");
    assert!(!rig.done().contains(&"reset".to_owned()));
}

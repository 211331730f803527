//! The limits of docs/SPECIFICATION.md on an idle node.

#![allow(missing_docs)]

mod support;

use serde_json::Value;
use support::{bed, blueprint, up};

const INIT_PSS_LIMIT_KIB: u64 = 2 * 1024;
const OURS_PSS_LIMIT_KIB: u64 = 20 * 1024;
const ROOT_IMAGE_LIMIT_BYTES: u64 = 256 << 20;

#[test]
fn an_idle_node_stays_within_its_limits() {
    let bed = bed();
    let root_bytes = std::fs::metadata(&bed.root_image).unwrap().len();
    println!("root image: {root_bytes} bytes");
    assert!(
        root_bytes <= ROOT_IMAGE_LIMIT_BYTES,
        "root image: {root_bytes} bytes, limit {ROOT_IMAGE_LIMIT_BYTES}"
    );

    let node = up(&bed, &blueprint(&bed, "limits"));
    node.osctl(&["health", "--wait"]).unwrap();
    let processes: Value = serde_json::from_str(&node.probe("GET", "/pss").unwrap()).unwrap();
    let pss = |name: &str| -> u64 {
        let all = processes.as_array().unwrap().iter();
        let found: Vec<u64> =
            all.filter(|p| p["comm"] == name).map(|p| p["pss_kib"].as_u64().unwrap()).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0]
    };
    let (init, machined, apid) = (pss("init"), pss("machined"), pss("apid"));
    println!("proportional set size: init {init} KiB, machined {machined} KiB, apid {apid} KiB");
    assert!(init <= INIT_PSS_LIMIT_KIB, "init: {init} KiB, limit {INIT_PSS_LIMIT_KIB}");
    let ours = init + machined + apid;
    assert!(ours <= OURS_PSS_LIMIT_KIB, "ours together: {ours} KiB, limit {OURS_PSS_LIMIT_KIB}");
}

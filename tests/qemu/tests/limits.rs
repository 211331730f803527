//! The limits of docs/SPECIFICATION.md on an idle node.

#![allow(missing_docs)]

mod support;

use support::{bed, blueprint, up};
use testbed::measure::{self, INIT_PSS_LIMIT_KIB, OWN_PSS_LIMIT_KIB, ROOT_IMAGE_LIMIT_BYTES};

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
    let processes = measure::processes(&node).unwrap();
    let [init, machined, apid] =
        ["init", "machined", "apid"].map(|name| measure::pss_kib(&processes, name).unwrap());
    println!("proportional set size: init {init} KiB, machined {machined} KiB, apid {apid} KiB");
    assert!(init <= INIT_PSS_LIMIT_KIB, "init: {init} KiB, limit {INIT_PSS_LIMIT_KIB}");
    let own = init + machined + apid;
    assert!(own <= OWN_PSS_LIMIT_KIB, "ours together: {own} KiB, limit {OWN_PSS_LIMIT_KIB}");
}

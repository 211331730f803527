//! Clocks that are wrong: no admin is locked out, nobody who was revoked comes back.

#![allow(missing_docs)]

mod support;

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use support::{bed, blueprint, up};
use testbed::node::Node;

/// The kernel sets no clock to before it was started itself.
const EPOCH: &str = "set-clock-s 60\n";
const SECONDS_PER_YEAR: u64 = 31_556_952;
const YEARS_AHEAD: u64 = 10;

#[test]
fn a_wrong_clock_locks_no_admin_out_and_lets_no_revoked_client_in() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "timeless");
    (blueprint.image, blueprint.probe_image) = (bed.test_disk.clone(), None);
    blueprint.hardware.test_hooks = Some(EPOCH.to_owned());
    let mut node = up(&bed, &blueprint);
    assert_eq!(clock_year(&node), 1970);
    the_admin_gets_in(&node, "past");
    a_revoked_client_stays_out_after_a_rollback(&node);

    let future = year_now() + YEARS_AHEAD;
    node.machine.cut_power().unwrap();
    node.hardware().test_hooks = None;
    node.hardware().clock = Some(format!("{future}-06-01T00:00:00"));
    node.restart().unwrap();
    node.wait_for_fingerprint().unwrap();
    // What was signed for five years at adoption has expired by now, if one asks the node.
    the_admin_gets_in(&node, "future");
    node.wait_for_pod().unwrap();
    assert_eq!(clock_year(&node), future);
    is_refused(&node);
}

fn year_now() -> u64 {
    1970 + SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / SECONDS_PER_YEAR
}

/// The year in which containerd believes itself to be.
fn clock_year(node: &Node) -> u64 {
    let log = node.osctl(&["logs", "containerd"]).unwrap();
    let year = log
        .lines()
        .next_back()
        .and_then(|line| line.split("time=\"").nth(1)?.split('-').next()?.parse().ok());
    year.unwrap_or_else(|| panic!("containerd does not say what time it is: {log}"))
}

fn the_admin_gets_in(node: &Node, label: &str) {
    assert!(node.osctl(&["version"]).unwrap().contains("timeless"));
    node.osctl(&["health", "--wait"]).unwrap();
    let applied = patch(node, &format!("kind: Machine\nlabels: {{clock: {label}}}\n"));
    assert!(applied.contains("runs"), "{applied}");
    let shown = node.osctl(&["get", "config"]).unwrap();
    assert!(shown.contains(&format!("clock: {label}")), "{shown}");
}

fn patch(node: &Node, text: &str) -> String {
    let path = node.files().folder().join("patch.yaml");
    fs::write(&path, format!("apiVersion: cairn.dev/v1alpha1\n{text}")).unwrap();
    node.osctl(&["patch", "config", "-f", &path.to_string_lossy()]).unwrap()
}

fn a_revoked_client_stays_out_after_a_rollback(node: &Node) {
    let (secrets, endpoint) = (node.secrets().to_string_lossy().into_owned(), node.endpoint());
    let eve = ["gen", "client", "--role", "admin", "--name", "eve", "--context", "eve"];
    let made =
        node.osctl_output(&[&eve[..], &["--secrets", &secrets, "--endpoint", &endpoint]].concat()).unwrap();
    let said = String::from_utf8(made.stderr).unwrap();
    let hash = said.split("SHA-256 ").nth(1).unwrap_or_else(|| panic!("{said}")).trim();
    node.osctl(&["--context", "eve", "version"]).unwrap();
    let applied = patch(node, &format!("kind: Api\nrevokedCertificates: [{hash}]\n"));
    assert!(applied.contains("runs"), "{applied}");
    is_refused(node);
    node.osctl(&["rollback", "config"]).unwrap();
    let shown = node.osctl(&["get", "config"]).unwrap();
    assert!(!shown.contains(hash), "the revocation is still configured: {shown}");
    is_refused(node);
}

fn is_refused(node: &Node) {
    let output = node.osctl_output(&["--context", "eve", "version"]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("the node refuses the client certificate: it is revoked"), "{said}");
}

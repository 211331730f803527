//! `osctl adopt`

use pki::{Role, Validity};

use crate::rig::{NODE, Rig};

#[test]
fn adoption_signs_the_node_and_writes_the_context() {
    let rig = Rig::new();
    let ran = rig.adopt(&["-o", "json"]);
    let adopted: serde_json::Value = serde_json::from_str(&ran.ok()).unwrap();
    assert_eq!(adopted["context"], "edge-1", "the hostname names the context");
    assert_eq!((&adopted["nodeId"], &adopted["renewed"]), (&NODE.into(), &false.into()));
    let certificate = rig.node.state.lock().unwrap().certificate.clone();
    let id = pki::NodeId::parse(NODE).unwrap();
    pki::check_server(certificate.der(), rig.ca.bundle(), &id).unwrap();
    assert!(rig.run(&["version"]).ok().contains(NODE));
}

#[test]
fn adopting_again_renews_and_keeps_the_client() {
    let rig = Rig::adopted();
    let before = std::fs::read_to_string(rig.config()).unwrap();
    let ran = rig.adopt(&[]);
    assert_eq!(ran.ok(), "node n-1 renewed\n");
    assert_eq!(std::fs::read_to_string(rig.config()).unwrap(), before);
}

#[test]
fn another_fingerprint_is_refused_before_anything_is_sent() {
    let rig = Rig::new();
    let (secrets, endpoint) = (rig.path("secrets.yaml"), rig.endpoint());
    let wrong = "0".repeat(64);
    let ran = rig.run(&["adopt", "--secrets", &secrets, "--fingerprint", &wrong, "--endpoint", &endpoint]);
    ran.fails(5, &[&rig.node.fingerprint(), "console"]);
    assert!(rig.done().is_empty());
    assert!(!rig.config().exists());
}

#[test]
fn a_node_of_another_fleet_refuses() {
    let rig = Rig::new();
    rig.run(&["gen", "secrets", "-o", "other.yaml"]).ok();
    let (fingerprint, endpoint) = (rig.node.fingerprint(), rig.endpoint());
    rig.run(&["adopt", "--secrets", "other.yaml", "--fingerprint", &fingerprint, "-n", &endpoint])
        .fails(5, &["does not know its CA"]);
    assert!(!rig.config().exists());
}

#[test]
fn a_context_of_another_fleet_stops_adoption_before_the_node_is_changed() {
    let rig = Rig::new();
    rig.run(&["gen", "secrets", "-o", "other.yaml"]).ok();
    rig.run(&["gen", "client", "--secrets", "other.yaml", "--role", "admin", "--name", "a", "-c", "edge-1"])
        .ok();
    rig.adopt(&[]).fails(1, &["another CA"]);
    assert!(!rig.done().contains(&"install".to_owned()));
}

#[test]
fn adoption_needs_an_address() {
    let rig = Rig::new();
    let fingerprint = rig.node.fingerprint();
    rig.run(&["adopt", "--secrets", "secrets.yaml", "--fingerprint", &fingerprint]).fails(2, &["--endpoint"]);
}

#[test]
fn before_adoption_a_context_does_not_trust_the_node() {
    let rig = Rig::new();
    rig.add_context("early", &rig.ca, Role::Admin, Validity::UNLIMITED);
    rig.run(&["version", "-c", "early"]).fails(5, &["osctl adopt"]);
}

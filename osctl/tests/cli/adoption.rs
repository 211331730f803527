//! `osctl adopt`

use std::time::{SystemTime, UNIX_EPOCH};

use pki::{Bundle, NodeId, Role, Validity};

use crate::rig::{NODE, Rig, ca_of};

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
fn a_node_changes_over_to_another_ca() {
    let rig = Rig::adopted();
    rig.run(&["gen", "secrets", "-o", "next.yaml"]).ok();
    let next = ca_of(&rig.folder.path().join("next.yaml"));
    let both = [rig.ca.certificate().clone(), next.certificate().clone()];
    rig.node.state.lock().unwrap().cas = Bundle::new(both.to_vec()).unwrap();
    let (fingerprint, endpoint) = (rig.node.fingerprint(), rig.endpoint());
    rig.run(&["adopt", "--secrets", "next.yaml", "--fingerprint", &fingerprint, "-n", &endpoint]).ok();
    rig.node.state.lock().unwrap().cas = next.bundle().clone();
    assert!(rig.run(&["version"]).ok().contains(NODE));
}

/// A certificate in the last third of its life.
fn old() -> Validity {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Validity::starting(now_s - 1_000_000, 1_100_000)
}

#[test]
fn any_contact_of_an_admin_renews_in_time() {
    let rig = Rig::adopted();
    let served = || rig.node.state.lock().unwrap().certificate.clone();
    let adopted = served();
    rig.run(&["version"]).ok();
    assert_eq!(served(), adopted, "nothing is due");

    rig.issue(&rig.ca, NODE, old());
    let ran = rig.run(&["version"]);
    assert_eq!(ran.err, "", "silently");
    ran.ok();
    assert!(served().validity().not_after_s >= adopted.validity().not_after_s);

    rig.issue(&rig.ca, NODE, Validity::starting(1_000_000_000, 60));
    assert!(rig.run(&["version"]).err.contains("expired"));
    assert_eq!(rig.run(&["version"]).err, "", "expired or not");
}

#[test]
fn a_new_ca_in_the_place_of_the_old_one_signs_at_the_next_contact() {
    let rig = Rig::adopted();
    rig.run(&["gen", "secrets", "-o", "secrets.yaml", "--force"]).ok();
    let next = ca_of(&rig.folder.path().join("secrets.yaml"));
    let refused = rig.run(&["version"]);
    assert!(refused.err.contains("is not renewed") && refused.code == 0, "{refused:?}");

    let both = [rig.ca.certificate().clone(), next.certificate().clone()];
    rig.node.state.lock().unwrap().cas = Bundle::new(both.to_vec()).unwrap();
    assert_eq!(rig.run(&["version"]).err, "");
    let certificate = rig.node.state.lock().unwrap().certificate.clone();
    pki::check_server(certificate.der(), next.bundle(), &NodeId::parse(NODE).unwrap()).unwrap();
    assert!(rig.run(&["version"]).ok().contains(NODE), "the context knows both CAs");
}

#[test]
fn without_the_secrets_or_the_role_nothing_is_renewed() {
    let rig = Rig::adopted();
    rig.issue(&rig.ca, NODE, old());
    let served = rig.node.state.lock().unwrap().certificate.clone();
    rig.add_context("reader", &rig.ca, Role::Reader, Validity::UNLIMITED);
    assert_eq!(rig.run(&["version", "-c", "reader"]).err, "");
    std::fs::rename(rig.path("secrets.yaml"), rig.path("elsewhere.yaml")).unwrap();
    assert_eq!(rig.run(&["version"]).err, "");
    assert_eq!(rig.node.state.lock().unwrap().certificate, served);
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

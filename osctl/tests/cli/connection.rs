//! Who is trusted, who is let in, and what is said when there is no node.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use pki::{Role, Validity};

use crate::fake::FakeNode;
use crate::rig::{NODE, Rig, closed_port, other_ca};

#[test]
fn a_node_that_is_off_is_unreachable() {
    let rig = Rig::adopted();
    let closed = closed_port().unwrap();
    for command in [
        &["version"][..],
        &["health"],
        &["services", "restart", "kubelet"],
        &["logs", "kubelet"],
        &["reboot"],
        &["get", "pods"],
    ] {
        let ran = rig.run(&[command, &["-n", &closed]].concat());
        ran.fails(3, &["cannot reach edge-1", &closed, "connection refused", "is the node on"]);
    }
}

#[test]
fn a_silent_address_times_out() {
    let rig = Rig::adopted();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    rig.run(&["version", "-n", &address, "--timeout", "1s"]).fails(3, &["no answer within 1 s", "--timeout"]);
}

#[test]
fn a_name_that_does_not_exist_is_said_to() {
    let rig = Rig::adopted();
    rig.run(&["version", "-n", "no-such-host.invalid"]).fails(3, &["does not resolve", "-n"]);
}

#[test]
fn the_next_endpoint_is_tried() {
    let rig = Rig::adopted();
    let (closed, endpoint) = (closed_port().unwrap(), rig.endpoint());
    rig.run(&["version", "-n", &closed, "-n", &endpoint]).ok();
    let other = closed_port().unwrap();
    rig.run(&["version", "-n", &closed, "-n", &other]).fails(3, &[&closed, &other]);
}

#[test]
fn plain_text_is_not_a_node() {
    let rig = Rig::adopted();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 64];
        stream.read_exact(&mut hello).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    rig.run(&["version", "-n", &address]).fails(5, &["does not speak the node's TLS 1.3", "50000"]);
    server.join().unwrap();
}

#[test]
fn a_node_of_another_ca_is_not_trusted() {
    let rig = Rig::adopted();
    rig.issue(&other_ca(), NODE, Validity::UNLIMITED);
    rig.run(&["version"]).fails(5, &["not signed by the CA of this context"]);
}

#[test]
fn another_node_of_the_fleet_is_not_the_node() {
    let rig = Rig::adopted();
    rig.issue(&rig.ca, "n-2", Validity::UNLIMITED);
    rig.run(&["reboot"]).fails(5, &["another node of the fleet", "-n"]);
    assert!(!rig.done().contains(&"reboot".to_owned()));
}

#[test]
fn an_expired_node_certificate_only_warns() {
    let rig = Rig::adopted();
    rig.issue(&rig.ca, NODE, Validity::starting(1_000_000_000, 60));
    let ran = rig.run(&["version"]);
    assert!(ran.err.contains("warning: the certificate of node edge-1 expired at 2001-09-09"), "{ran:?}");
    ran.ok();
}

#[test]
fn a_client_of_another_ca_is_refused() {
    let rig = Rig::adopted();
    rig.add_context("mallory", &other_ca(), Role::Admin, Validity::UNLIMITED);
    rig.run(&["version", "-c", "mallory"]).fails(5, &["does not know its CA", "secrets bundle"]);
}

#[test]
fn an_expired_client_is_told_to_mint_a_new_certificate() {
    let rig = Rig::adopted();
    rig.add_context("old", &rig.ca, Role::Admin, Validity::starting(1_000_000_000, 60));
    rig.run(&["version", "-c", "old"])
        .fails(5, &["it has expired", "mint a new one with `osctl gen client`"]);
    let secrets = rig.path("secrets.yaml");
    rig.run(&["gen", "client", "--secrets", &secrets, "--role", "admin", "--name", "old", "-c", "old"]).ok();
    rig.run(&["version", "-c", "old"]).ok();
}

#[test]
fn a_reader_may_look_but_not_act() {
    let rig = Rig::adopted();
    rig.add_context("rita", &rig.ca, Role::Reader, Validity::UNLIMITED);
    for command in [&["version"][..], &["health"], &["services"], &["pods"], &["logs", "kubelet"], &["dmesg"]]
    {
        rig.run(&[command, &["-c", "rita"]].concat()).ok();
    }
    for command in [&["reboot"][..], &["shutdown"], &["services", "stop", "kubelet"]] {
        rig.run(&[command, &["-c", "rita"]].concat()).fails(5, &["operator", "reader", "--role"]);
    }
}

#[test]
fn two_nodes_are_not_confused() {
    let rig = Rig::adopted();
    let other = FakeNode::start(&rig.ca, "n-2");
    let address = other.address.to_string();
    rig.run(&["version", "-n", &address]).fails(5, &["osctl adopt"]);
}

#[test]
fn a_context_without_a_node_says_so() {
    let rig = Rig::new();
    let secrets = rig.path("secrets.yaml");
    rig.run(&["gen", "client", "--secrets", &secrets, "--role", "admin", "--name", "a", "-n", "10.0.0.1"])
        .ok();
    rig.run(&["version"]).fails(1, &["which node", "osctl adopt"]);
    rig.run(&["version", "-c", "nope"]).fails(6, &["nope", "there are: a"]);
}

//! The firewall on the real image: a scan from the network sees what is configured, in both families, pods notice
//! nothing, and who shuts himself out is let in again.

#![allow(missing_docs)]

mod support;

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use serde_json::Value;
use support::{SOON, bed, blueprint, up};
use testbed::{
    lan::Lan,
    node::{API_PORT, Node, POD_PORT, PROBE_PORT},
};

const HEADER: &str = "apiVersion: cairn.dev/v1alpha1\n";
/// osctl: the node took the change back.
const REVERTED: i32 = 7;
/// The node on the network that is scanned.
const ON_LAN: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 17)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 0x11))];
const FAR_END_V6: &str = "2001:db8:7::1/64";
/// Ports of a node that something listens on, those of the kubelet on loopback, and others that nothing does.
const SCANNED: [u16; 8] = [22, 80, POD_PORT, PROBE_PORT, 10_248, 10_250, API_PORT, API_PORT + 1];
/// An emulated node is slow to answer, but answers.
const PATIENCE: Duration = Duration::from_secs(5);
/// For counters: they are read every 30 s.
const COUNTED: Duration = Duration::from_secs(90);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Open,
    Closed,
    Silent,
}

#[test]
fn a_scan_sees_what_is_configured() {
    if !geteuid().is_root() {
        println!("not run: network namespaces need root");
        return;
    }
    let bed = bed();
    let lan = Lan::new().unwrap();
    lan.ip(&["address", "add", FAR_END_V6, "dev", "lan", "nodad"]).unwrap();
    let mut blueprint = blueprint(&bed, "walled");
    blueprint.hardware.links = vec![lan.port("only").unwrap()];
    let mut node = up(&bed, &blueprint);
    node.osctl(&["health", "--wait"]).unwrap();
    change(&node, &links()).unwrap();

    without_a_firewall_everything_answers(&lan, &node);
    who_shuts_himself_out_is_let_in_again(&node);
    only_what_is_configured_answers(&lan, &mut node);
    rules_count(&lan, &node);
    it_stands_after_a_reboot(&lan, &mut node);
    change(&node, &format!("{HEADER}kind: Firewall\n$patch: delete\n")).unwrap();
    without_a_firewall_everything_answers(&lan, &node);
}

/// eth0 is the admin's; eth1 leads to who scans.
fn links() -> String {
    let [v4, v6] = ON_LAN;
    format!(
        "{HEADER}kind: Interface\nname: eth0\ndhcp: true\n---\n{HEADER}kind: Interface\nname: eth1\naddresses: [{v4}/24, '{v6}/64']\n"
    )
}

/// Whoever scans reaches the probe pod, which is in the node's network, by IPv4 alone.
fn firewall() -> String {
    format!(
        "{HEADER}kind: Firewall\napi: {{interfaces: [eth0]}}\nallow:\n  - {{name: probe, protocol: tcp, ports: [{PROBE_PORT}]}}\n"
    )
}

fn change(node: &Node, patch: &str) -> Result<(), (Option<i32>, String)> {
    change_with(node, patch, &[])
}

fn change_with(node: &Node, patch: &str, more: &[&str]) -> Result<(), (Option<i32>, String)> {
    let path = node.files().folder().join("patch.yaml");
    fs::write(&path, patch).unwrap();
    let output =
        node.osctl_output(&[&["patch", "config", "-f", &path.to_string_lossy()], more].concat()).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err((output.status.code(), error)) }
}

fn scan(lan: &Lan, address: IpAddr) -> Vec<(u16, Seen)> {
    let look = |port: u16| match TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE) {
        Ok(_) => Seen::Open,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Seen::Closed,
        Err(error) if error.kind() == ErrorKind::TimedOut => Seen::Silent,
        Err(error) => panic!("{address} port {port}: {error}"),
    };
    lan.inside(|| SCANNED.iter().map(|port| (*port, look(*port))).collect()).unwrap()
}

/// Ports that look so.
fn seen(scan: &[(u16, Seen)], wanted: Seen) -> Vec<u16> {
    scan.iter().filter(|(_, seen)| *seen == wanted).map(|(port, _)| *port).collect()
}

fn without_a_firewall_everything_answers(lan: &Lan, node: &Node) {
    let [v4, v6] = ON_LAN.map(|address| scan(lan, address));
    assert_eq!(seen(&v4, Seen::Open), [POD_PORT, PROBE_PORT, API_PORT], "{v4:?}");
    assert!(seen(&v6, Seen::Open).contains(&API_PORT), "{v6:?}");
    assert!(seen(&v4, Seen::Silent).is_empty() && seen(&v6, Seen::Silent).is_empty(), "{v4:?} {v6:?}");
    assert_eq!(condition(node), "NotConfigured");
    assert!(items(node).is_empty());
}

fn who_shuts_himself_out_is_let_in_again(node: &Node) {
    let before = node.osctl(&["get", "config"]).unwrap();
    for api in ["{from: [198.51.100.0/24]}", "{interfaces: [eth1]}"] {
        let patch = format!("{HEADER}kind: Firewall\napi: {api}\n");
        let (code, error) = change_with(node, &patch, &["--confirm-within", "20s"]).unwrap_err();
        assert_eq!(code, Some(REVERTED), "{api}: {error}");
        assert_eq!(node.osctl(&["get", "config"]).unwrap(), before);
        assert_eq!(condition(node), "NotConfigured");
    }
}

fn only_what_is_configured_answers(lan: &Lan, node: &mut Node) {
    change(node, &firewall()).unwrap();
    assert_eq!(condition(node), "Applied");
    only_that_is_seen(lan);
    node.wait_for_pod().unwrap();
    node.wait_for_probe().unwrap();
    node.osctl(&["health", "--wait"]).unwrap();
}

/// The sample pod's host port is not the node's own.
fn only_that_is_seen(lan: &Lan) {
    let [v4, v6] = ON_LAN.map(|address| scan(lan, address));
    assert_eq!(seen(&v4, Seen::Open), [POD_PORT, PROBE_PORT], "{v4:?}");
    assert!(seen(&v4, Seen::Closed).is_empty(), "{v4:?}");
    // The probe listens on IPv4 alone: its port is let through, and the kernel says that nobody listens.
    assert_eq!(seen(&v6, Seen::Closed), [PROBE_PORT], "{v6:?}");
    assert!(seen(&v6, Seen::Open).is_empty(), "{v6:?}");
}

fn rules_count(lan: &Lan, node: &Node) {
    let until = Instant::now() + COUNTED;
    loop {
        let rules = items(node);
        let packets = |name: &str| {
            let rule = rules.iter().find(|rule| rule["id"] == name).unwrap_or_else(|| panic!("{rules:?}"));
            rule["spec"]["packets"].as_u64().unwrap()
        };
        if ["probe", "api", "api-denied", "default", "essential"].iter().all(|name| packets(name) > 0) {
            let probe = rules.iter().find(|rule| rule["id"] == "probe").unwrap();
            assert_eq!(probe["spec"]["traffic"], format!("tcp {PROBE_PORT} from anywhere"));
            assert_eq!(probe["spec"]["origin"], "configuration");
            return;
        }
        assert!(Instant::now() < until, "not counted: {rules:?}");
        only_that_is_seen(lan);
    }
}

fn it_stands_after_a_reboot(lan: &Lan, node: &mut Node) {
    node.osctl(&["reboot", "--wait"]).unwrap();
    node.wait_for_pod().unwrap();
    node.wait_for_probe().unwrap();
    let until = Instant::now() + SOON;
    while condition(node) != "Applied" {
        assert!(Instant::now() < until, "{}", condition(node));
    }
    only_that_is_seen(lan);
    let table = node.osctl(&["get", "firewall"]).unwrap();
    assert!(table.contains("probe") && table.contains("api-denied"), "{table}");
}

fn items(node: &Node) -> Vec<Value> {
    let list: Value = serde_json::from_str(&node.osctl(&["get", "firewall", "-o", "json"]).unwrap()).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Reason of the condition.
fn condition(node: &Node) -> String {
    let output = node.osctl_output(&["health", "-o", "json"]).unwrap();
    let health: Value = serde_json::from_slice(&output.stdout).unwrap();
    let conditions = health["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|condition| condition["name"] == "firewall").unwrap();
    found["reason"].as_str().unwrap().to_owned()
}

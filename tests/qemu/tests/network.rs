//! Links in layers on a node with four cards: a bond, a VLAN and a bridge at once, and cables that are pulled.

#![allow(missing_docs)]

mod support;

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use serde_json::{Value, json};
use support::{SOON, bed, blueprint, up};
use testbed::{lan::Lan, node::Node};

const HEADER: &str = "apiVersion: cairn.dev/v1alpha1\n";
/// osctl: the node took the change back.
const REVERTED: i32 = 7;
/// The node's address on the bond.
const ON_BOND: &str = "192.0.2.17";
/// The node's address on the bridge, and the far end's there.
const ON_BRIDGE: &str = "203.0.113.7";
const FAR_END: &str = "203.0.113.1/24";
/// Who answers on the VLAN, and on no other.
const CAMERA: [u8; 4] = [198, 51, 100, 6];
const CAMERA_MAC: [u8; 6] = [2, 0, 0, 0, 0, 6];
const VLAN: u16 = 20;
/// Longest time without the API when a cable of the bond is pulled.
const FAIL_OVER: Duration = Duration::from_secs(10);
/// How often each cable is pulled; the long form pulls 50.
const PULLS: usize = 2;
const PULLS_LONG: usize = 25;

#[test]
fn links_in_layers_carry_the_admin_while_cables_are_pulled() {
    if !geteuid().is_root() {
        println!("not run: network namespaces need root");
        return;
    }
    let bed = bed();
    let lan = Lan::new().unwrap();
    lan.ip(&["address", "add", FAR_END, "dev", "lan"]).unwrap();
    let camera = lan.open_port("camera").unwrap();
    thread::spawn(move || answer(camera));
    let mut blueprint = blueprint(&bed, "layered");
    blueprint.probe_image = None;
    blueprint.hardware.links = ["first", "second", "third"].map(|name| lan.port(name).unwrap()).to_vec();
    let mut node = up(&bed, &blueprint);
    node.osctl(&["health", "--wait"]).unwrap();

    a_vlan_that_the_switch_does_not_have_is_taken_back(&node);
    change(&node, &layers(VLAN)).unwrap();
    the_links_are_as_configured(&node);
    node.osctl(&["health", "--wait"]).unwrap();
    for address in [ON_BOND, ON_BRIDGE] {
        over(&lan, &node, address, &["version"]).unwrap();
    }
    the_api_survives_pulled_cables(&lan, &mut node, if bed.long { PULLS_LONG } else { PULLS });
    a_bridge_without_cable_is_named(&mut node);
    let gone = format!(
        "{HEADER}kind: Bridge\nname: shelf\n$patch: delete\n---\n{HEADER}kind: Vlan\nname: cameras\n$patch: delete\n---\n\
         {HEADER}kind: Bond\nname: bond0\n$patch: delete\n---\n{HEADER}kind: Interface\nname: second\n$patch: delete\n"
    );
    change(&node, &gone).unwrap();
    let links = links(&node);
    assert!(links.iter().all(|link| link["spec"]["origin"] != "configuration"), "{links:?}");
    let is_free = |link: &Value| link["spec"]["driver"] != "virtio_net" || link["spec"]["master"] == "";
    assert!(links.iter().all(is_free), "{links:?}");
}

/// Everything at once; one card is found by its hardware address (testbed::lan gives them).
fn layers(vlan: u16) -> String {
    [
        "kind: Interface\nname: eth0\ndhcp: true\n".to_owned(),
        "kind: Interface\nname: second\nselect: {mac: '52:54:00:ca:12:01'}\ndhcp: false\n".to_owned(),
        format!(
            "kind: Bond\nname: bond0\nports: [eth1, second]\nmonitorIntervalMs: 50\naddresses: [{ON_BOND}/24]\n"
        ),
        format!(
            "kind: Vlan\nname: cameras\nparent: bond0\nid: {vlan}\naddresses: [198.51.100.5/24]\n\
             routes: [{{to: 10.99.0.0/16, via: 198.51.100.6}}]\n"
        ),
        format!("kind: Bridge\nname: shelf\nports: [eth3]\naddresses: [{ON_BRIDGE}/24, '2001:db8:7::7/64']\n"),
    ]
    .map(|document| format!("{HEADER}{document}"))
    .join("---\n")
}

fn change(node: &Node, patch: &str) -> Result<(), (Option<i32>, String)> {
    let path = node.files().folder().join("patch.yaml");
    fs::write(&path, patch).unwrap();
    let output = node.osctl_output(&["patch", "config", "-f", &path.to_string_lossy()]).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err((output.status.code(), error)) }
}

fn a_vlan_that_the_switch_does_not_have_is_taken_back(node: &Node) {
    let before = node.osctl(&["get", "config"]).unwrap();
    let (code, error) = change(node, &layers(VLAN + 1)).unwrap_err();
    assert_eq!(code, Some(REVERTED), "{error}");
    assert!(error.contains("198.51.100.6"), "{error}");
    assert_eq!(node.osctl(&["get", "config"]).unwrap(), before);
    let links = links(node);
    assert!(links.iter().all(|link| link["spec"]["origin"] != "configuration"), "{links:?}");
}

fn links(node: &Node) -> Vec<Value> {
    items(&node.osctl(&["get", "links", "-o", "json"]).unwrap())
}

fn items(text: &str) -> Vec<Value> {
    let value: Value = serde_json::from_str(text).unwrap();
    value["items"].as_array().unwrap_or_else(|| panic!("{text}")).clone()
}

fn the_links_are_as_configured(node: &Node) {
    let links = links(node);
    let shown = |name: &str| {
        let link = links.iter().find(|link| link["id"] == name).unwrap_or_else(|| panic!("{links:?}"));
        let text = |field: &str| link["spec"][field].as_str().unwrap_or_default().to_owned();
        ["kind", "origin", "document", "master", "parent"].map(text).join(" ")
    };
    assert_eq!(shown("eth1"), "ether kernel  bond0 ");
    assert_eq!(shown("eth2"), "ether kernel Interface/second bond0 ");
    assert_eq!(shown("eth3"), "ether kernel  shelf ");
    assert_eq!(shown("bond0"), "bond configuration Bond/bond0  ");
    assert_eq!(shown("cameras"), "vlan configuration Vlan/cameras  bond0");
    assert_eq!(shown("shelf"), "bridge configuration Bridge/shelf  ");
    let addresses = node.osctl(&["get", "addresses", "-o", "json"]).unwrap();
    for id in ["bond0/192.0.2.17/24", "cameras/198.51.100.5/24", "shelf/2001:db8:7::7/64"] {
        let found = items(&addresses).into_iter().find(|address| address["id"] == id);
        assert_eq!(found.unwrap_or_else(|| panic!("no {id}: {addresses}"))["spec"]["source"], "static");
    }
    let routes = items(&node.osctl(&["get", "routes", "-o", "json"]).unwrap());
    let route = routes.iter().find(|route| route["spec"]["destination"] == "10.99.0.0/16").unwrap();
    assert_eq!((&route["spec"]["origin"], &route["spec"]["link"]), (&json!("static"), &json!("cameras")));
    let until = Instant::now() + SOON;
    loop {
        let neighbours = node.osctl(&["get", "neighbours", "-o", "json"]).unwrap();
        if items(&neighbours).iter().any(|found| found["spec"]["link"] == "eth0") {
            return;
        }
        assert!(Instant::now() < until, "the gateway is no neighbour: {neighbours}");
    }
}

/// osctl at an address of the node, from the far end.
fn over(lan: &Lan, node: &Node, address: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = node.osctl_command(&[&["-n", address], arguments].concat());
    let output = lan.inside(|| command.output()).unwrap().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(error) }
}

fn the_api_survives_pulled_cables(lan: &Lan, node: &mut Node, pulls: usize) {
    let mut session = Session::start(lan, node);
    let mut longest = Duration::ZERO;
    for pull in 0..pulls * 2 {
        let (cable, link) = [("lan0", "eth1"), ("lan1", "eth2")][pull % 2];
        set_link(node, cable, false);
        let pulled = Instant::now();
        until_carrier(node, link, false);
        let until = pulled + FAIL_OVER;
        while let Err(error) = over(lan, node, ON_BOND, &["version"]) {
            assert!(Instant::now() < until, "{cable} is pulled, and the bond carries nothing: {error}");
        }
        longest = longest.max(pulled.elapsed());
        set_link(node, cable, true);
        until_carrier(node, link, true);
        assert!(session.runs(), "the session broke when {cable} was pulled");
    }
    println!("{} cables pulled; the API answered within {} ms", pulls * 2, longest.as_millis());
}

fn set_link(node: &mut Node, cable: &str, up: bool) {
    node.machine.qmp().unwrap().execute("set_link", json!({"name": cable, "up": up})).unwrap();
}

/// Asked by the card that no cable is pulled of.
fn until_carrier(node: &Node, name: &str, carrier: bool) {
    let until = Instant::now() + SOON;
    loop {
        let links = links(node);
        let link = links.iter().find(|link| link["id"] == name).unwrap();
        if link["spec"]["carrier"] == carrier {
            return;
        }
        assert!(Instant::now() < until, "the carrier of {name} does not become {carrier}");
    }
}

/// A watch over the bond.
struct Session(Child);

impl Session {
    fn start(lan: &Lan, node: &Node) -> Self {
        let mut command = node.osctl_command(&["-n", ON_BOND, "get", "links", "-w"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(lan.inside(|| command.spawn()).unwrap().unwrap())
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn a_bridge_without_cable_is_named(node: &mut Node) {
    set_link(node, "lan2", false);
    until_carrier(node, "shelf", false);
    let health = node.osctl_output(&["health"]).unwrap();
    let health = String::from_utf8_lossy(&health.stdout).into_owned();
    assert!(health.contains("shelf has no carrier"), "{health}");
    set_link(node, "lan2", true);
    until_carrier(node, "shelf", true);
    node.osctl(&["health", "--wait"]).unwrap();
}

/// Answers ARP (RFC 826) for one address in one VLAN (IEEE 802.1Q), until the port goes.
fn answer(mut port: File) {
    let mut frame = [0; 2048];
    while let Ok(length) = port.read(&mut frame) {
        if let Some(reply) = frame.get(..length).and_then(reply) {
            let _ = port.write_all(&reply);
        }
    }
}

fn reply(frame: &[u8]) -> Option<Vec<u8>> {
    let (asker, tag, kind) = (frame.get(6..12)?, frame.get(12..16)?, frame.get(16..18)?);
    let id = u16::from_be_bytes([tag[2], tag[3]]) & 0xfff;
    let question = frame.get(18..46)?;
    let asks = tag[..2] == [0x81, 0] && id == VLAN && kind == [8, 6] && question[6..8] == [0, 1];
    if !asks || question[24..28] != CAMERA {
        return None;
    }
    let mut reply = [asker, &CAMERA_MAC, tag, kind, &question[..6], &[0, 2], &CAMERA_MAC, &CAMERA].concat();
    reply.extend(&question[8..18]);
    Some(reply)
}

#[test]
fn the_camera_answers_for_itself_in_its_vlan() {
    let question = |vlan: u16, target: [u8; 4]| {
        let tag = [[0x81, 0], vlan.to_be_bytes()].concat();
        let sender = [2, 0, 0, 0, 0, 1, 198, 51, 100, 5];
        [
            &[0xff; 6][..],
            &[2, 0, 0, 0, 0, 1],
            &tag,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &sender,
            &[0; 6],
            &target,
        ]
        .concat()
    };
    let answered = reply(&question(VLAN, CAMERA)).unwrap();
    assert_eq!((&answered[..6], &answered[24..26]), (&[2, 0, 0, 0, 0, 1][..], &[0, 2][..]));
    assert_eq!(&answered[26..36], [&CAMERA_MAC[..], &CAMERA].concat());
    assert_eq!(&answered[36..], [2, 0, 0, 0, 0, 1, 198, 51, 100, 5]);
    assert_eq!(reply(&question(VLAN + 1, CAMERA)), None);
    assert_eq!(reply(&question(VLAN, [198, 51, 100, 7])), None);
    assert_eq!(reply(&[]), None);
}

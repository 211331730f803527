//! The first hour on a local link: a disk that knows its admin's CA, found by `osctl discover`, configured and adopted
//! by that admin alone.

#![allow(missing_docs)]

mod support;

use std::{
    fs,
    net::UdpSocket,
    process::{Command, Output},
    time::Instant,
};

use nix::unistd::geteuid;
use serde_json::Value;
use support::{BOOT, SOON, bed, blueprint, folder, tools};
use testbed::{
    bed::Bed,
    lan::{HOST, Lan},
    machine::{self, Files},
    network::Network,
    node::Node,
};

const DATAGRAM_MAX_BYTES: usize = 65_535;

#[test]
fn a_node_of_a_known_ca_is_discovered_and_taken_by_its_admin() {
    if !geteuid().is_root() {
        println!("not run: network namespaces need root");
        return;
    }
    let bed = bed();
    let lan = Lan::new().unwrap();
    let _server = lan.serve_dhcp().unwrap();
    let mut node = flashed(&bed, &lan);
    let line = node.machine.wait_for("cairn: maintenance https://", BOOT).unwrap();
    assert!(!line.contains("code"), "the medium's CA needs no code: {line}");

    let found = discovered(&lan, &node);
    assert_eq!(found["mode"], "maintenance", "{found}");
    let fingerprint = found["fingerprint"].as_str().unwrap().to_owned();
    assert!(line.contains(&fingerprint), "{line}");
    let address = found["address"].as_str().unwrap().to_owned();
    assert!(line.contains(&address), "{address} for {line}");

    let logs = lan.inside(|| UdpSocket::bind((HOST, 0))).unwrap().unwrap();
    write_configurations(&node, &address, logs.local_addr().unwrap().port());
    let refused = apply(&lan, &node, "stranger", &address, &fingerprint);
    assert!(!refused.status.success(), "the admin of another CA has the node");
    let applied = apply(&lan, &node, "admin", &address, &fingerprint);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));

    osctl(&lan, &node, &["health", "--wait"]);
    let pods = osctl(&lan, &node, &["pods"]);
    assert!(pods.contains("hello"), "{pods}");
    the_log_arrives(&logs);
    let found = discovered(&lan, &node);
    assert_eq!((&found["mode"], &found["name"]), (&"running".into(), &"linked".into()), "{found}");
    assert_eq!(found["address"], address.as_str(), "{found}");
}

/// A node on a disk that brings its admin's CA along and nothing else.
fn flashed(bed: &Bed, lan: &Lan) -> Node {
    let mut blueprint = blueprint(bed, "linked");
    blueprint.probe_image = None;
    blueprint.hardware.network = Network::Absent;
    blueprint.hardware.links = vec![lan.port("node").unwrap()];
    let files = Node::prepare(&tools(bed), &blueprint, &folder(bed, &blueprint.name)).unwrap();
    fs::remove_file(files.config_volume()).unwrap();
    fs::remove_file(files.disk()).unwrap();
    let disk = files.folder().join("disk.raw");
    let [image, target] = [&bed.disk, &disk].map(|path| path.to_string_lossy());
    let medium = ["flash", &image, &target, "--file", "--yes", "--ca", &path(&files, "secrets.yaml")];
    let output = Command::new(&bed.osctl).args(medium).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    machine::create_disk(&bed.programs(), &disk, &files, &blueprint.disk_size).unwrap();
    Node::start(&tools(bed), &blueprint, &files).unwrap()
}

/// The only node on the link. A question may come too early: then it is asked again.
fn discovered(lan: &Lan, node: &Node) -> Value {
    let until = Instant::now() + SOON;
    loop {
        let found = osctl(lan, node, &["discover", "-o", "json"]);
        let mut found: Vec<Value> = serde_json::from_str(&found).unwrap();
        assert!(found.len() < 2, "{found:?}");
        match found.pop() {
            Some(found) => return found,
            None => assert!(Instant::now() < until, "no node is discovered"),
        }
    }
}

/// The admin's, who has the API at one address and its log sent to the far end, and that of a stranger.
fn write_configurations(node: &Node, address: &str, log_port: u16) {
    let hello = path(node.files(), "hello.yaml");
    for admin in ["admin", "stranger"] {
        let secrets = secrets(node, admin);
        if admin == "stranger" {
            node.osctl(&["gen", "secrets", "-o", &secrets]).unwrap();
        }
        let file = path(node.files(), &format!("{admin}.yaml"));
        let generate = ["gen", "config", "--secrets", &secrets, "--hostname", "linked", "-o", &file];
        node.osctl(&[&generate[..], &["--static-pod", &hello]].concat()).unwrap();
        let (address, _) = address.rsplit_once(':').unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let text = text.replace("kind: Api\n", &format!("kind: Api\naddresses: [{address}]\n"));
        let logging = format!("kind: Logging\ndestinations:\n  - url: udp://{HOST}:{log_port}\n");
        fs::write(&file, format!("{text}---\napiVersion: cairn.dev/v1alpha1\n{logging}")).unwrap();
    }
}

fn secrets(node: &Node, admin: &str) -> String {
    let name = if admin == "admin" { "secrets.yaml" } else { "stranger-secrets.yaml" };
    path(node.files(), name)
}

fn path(files: &Files, name: &str) -> String {
    files.folder().join(name).to_string_lossy().into_owned()
}

fn apply(lan: &Lan, node: &Node, admin: &str, address: &str, fingerprint: &str) -> Output {
    let (file, secrets) = (path(node.files(), &format!("{admin}.yaml")), secrets(node, admin));
    let arguments = ["apply-config", "--insecure", "-f", &file, "--secrets", &secrets, "-n", address];
    output(lan, node, &[&arguments[..], &["--fingerprint", fingerprint]].concat())
}

fn osctl(lan: &Lan, node: &Node, arguments: &[&str]) -> String {
    let output = output(lan, node, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "osctl {}: {error}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

fn output(lan: &Lan, node: &Node, arguments: &[&str]) -> Output {
    let mut command = node.osctl_command(arguments);
    lan.inside(|| command.output()).unwrap().unwrap()
}

/// One datagram a line, JSON, from the kubelet among others.
fn the_log_arrives(logs: &UdpSocket) {
    let until = Instant::now() + SOON;
    let mut datagram = vec![0; DATAGRAM_MAX_BYTES];
    loop {
        let left = until.checked_duration_since(Instant::now()).expect("no line of the kubelet arrives");
        logs.set_read_timeout(Some(left)).unwrap();
        let length = logs.recv(&mut datagram).expect("no line of the log arrives");
        let line: Value = serde_json::from_slice(&datagram[..length]).unwrap();
        if line["service"] == "kubelet" {
            assert_eq!(line["node"], "linked", "{line}");
            return;
        }
    }
}

//! A running node's configuration: changed, tried, staged, rolled back.

#![allow(missing_docs)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::net::UnixStream,
    sync::mpsc::{self, Receiver},
    time::Instant,
};

use serde_json::Value;
use support::{BOOT, SOON, bed, blueprint, up};
use testbed::{network::HOST, node::Node};

const HEADER: &str = "apiVersion: cairn.dev/v1alpha1\n";
/// Where the test listens for lines of logs.
const LOG_PORT: u16 = 5514;
/// The kubelet starts with this only where it has given no container a processor yet.
const PINNED: &str = "kind: Kubelet\nconfiguration: {cpuManagerPolicy: static, kubeReserved: {cpu: 250m}}\n";

#[test]
fn a_change_is_made_tried_staged_and_taken_back() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "configured");
    blueprint.probe_image = None;
    blueprint.hardware.host_port = Some(LOG_PORT);
    let mut node = up(&bed, &blueprint);
    a_dry_run_changes_nothing(&node);
    a_name_changes_and_stays(&node);
    a_pod_is_added_and_removed(&node);
    a_try_is_taken_back_when_nobody_confirms(&node);
    lines_of_logs_reach_a_log_server(&node);
    an_api_at_one_address_keeps_the_admin_in(&node);
    a_staged_change_waits_for_the_next_boot(&mut node);
    a_try_does_not_survive_a_power_cut(&mut node);
    what_is_signed_for_another_base_is_refused(&node);
}

/// Writes a patch and returns its path.
fn patch(node: &Node, text: &str) -> String {
    let path = node.files().folder().join("patch.yaml");
    fs::write(&path, format!("{HEADER}{text}")).unwrap();
    path.to_string_lossy().into_owned()
}

fn hostname(node: &Node) -> String {
    let version: Value = serde_json::from_str(&node.osctl(&["version", "-o", "json"]).unwrap()).unwrap();
    version["node"]["hostname"].as_str().unwrap_or_else(|| panic!("{version}")).to_owned()
}

fn a_dry_run_changes_nothing(node: &Node) {
    let file = patch(node, "kind: Machine\nhostname: renamed\n");
    let planned = node.osctl(&["patch", "config", "-f", &file, "--dry-run"]).unwrap();
    for expected in ["-hostname: configured", "+hostname: renamed", "restart", "kubelet"] {
        assert!(planned.contains(expected), "no {expected:?} in {planned}");
    }
    assert_eq!(hostname(node), "configured");
    let generations = node.osctl(&["get", "generations", "-o", "json"]).unwrap();
    assert!(!generations.contains("\"2\""), "{generations}");
}

fn a_name_changes_and_stays(node: &Node) {
    let file = patch(node, "kind: Machine\nhostname: renamed\n");
    let out = node.osctl(&["patch", "config", "-f", &file]).unwrap();
    assert!(out.contains("generation 2 runs"), "{out}");
    assert_eq!(hostname(node), "renamed");
    assert!(node.osctl(&["get", "config"]).unwrap().contains("hostname: renamed"));
    let effective = node.osctl(&["get", "config", "--effective"]).unwrap();
    assert!(
        effective.len() > node.osctl(&["get", "config"]).unwrap().len(),
        "no default is shown: {effective}"
    );
    node.osctl(&["health", "--wait"]).unwrap();
}

fn a_pod_is_added_and_removed(node: &Node) {
    let pod = "kind: StaticPod\npod:\n  apiVersion: v1\n  kind: Pod\n  metadata: {name: second}\n  spec:\n    \
               containers:\n    - {name: main, image: localhost/cairn/hello:1, imagePullPolicy: Never}\n";
    node.osctl(&["patch", "config", "-f", &patch(node, pod)]).unwrap();
    node.osctl(&["health", "--wait"]).unwrap();
    assert!(node.osctl(&["pods"]).unwrap().contains("second"));
    let out = node.osctl(&["rollback", "config"]).unwrap();
    assert!(out.contains("runs"), "{out}");
    node.osctl(&["health", "--wait"]).unwrap();
    assert!(!node.osctl(&["get", "config"]).unwrap().contains("second"));
}

fn a_try_is_taken_back_when_nobody_confirms(node: &Node) {
    let file = patch(node, "kind: Machine\nhostname: tried\n");
    let tried = ["patch", "config", "-f", &file, "--mode", "try", "--confirm-within", "20s"];
    let out = node.osctl(&tried).unwrap();
    assert!(out.contains("on trial"), "{out}");
    assert_eq!(hostname(node), "tried");
    let second = node.osctl_output(&["patch", "config", "-f", &file]).unwrap();
    assert!(!second.status.success(), "a second change was taken during a trial");
    let reverted = wait_for_generation(node, "everted");
    assert!(reverted.contains("confirm"), "no reason: {reverted}");
    assert_eq!(hostname(node), "renamed");
}

fn lines_of_logs_reach_a_log_server(node: &Node) {
    let lines = lines_of(UnixStream::connect(node.files().host_socket()).unwrap());
    let logging = format!(
        "kind: Logging\ndestinations: [{{url: 'tcp://{HOST}:{LOG_PORT}'}}]\nfields: {{site: harbour}}\n"
    );
    let out = node.osctl(&["patch", "config", "-f", &patch(node, &logging)]).unwrap();
    assert!(out.contains("runs"), "{out}");
    node.osctl(&["health", "--wait"]).unwrap();
    let mut services = BTreeSet::new();
    while !services.contains("audit") {
        // Each call leaves one.
        let line = lines.recv_timeout(SOON).unwrap_or_else(|_| panic!("lines of {services:?} only"));
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["node"], &line["site"]), (&"renamed".into(), &"harbour".into()), "{line}");
        assert!(line["timestamp"].is_string() && line["message"].is_string(), "{line}");
        services.insert(line["service"].as_str().unwrap().to_owned());
    }
    node.osctl(&["rollback", "config"]).unwrap();
    assert!(!node.osctl(&["get", "config"]).unwrap().contains("Logging"));
}

/// Reads until the machine ends: QEMU stands still when nobody takes what it has to write.
fn lines_of(stream: UnixStream) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            // Nobody may want it any more.
            sender.send(line).ok();
        }
    });
    lines
}

/// Served from now on where DHCP brings the node, also after the boots below, which begin without an address.
fn an_api_at_one_address_keeps_the_admin_in(node: &Node) {
    let file = patch(node, "kind: Api\naddresses: [10.0.2.15]\n");
    let planned = node.osctl(&["patch", "config", "-f", &file, "--dry-run"]).unwrap();
    assert!(planned.contains("restart") && planned.contains("apid"), "{planned}");
    let out = node.osctl(&["patch", "config", "-f", &file]).unwrap();
    assert!(out.contains("runs"), "{out}");
    assert!(node.osctl(&["get", "config"]).unwrap().contains("10.0.2.15"));
    node.osctl(&["health", "--wait"]).unwrap();
}

fn a_staged_change_waits_for_the_next_boot(node: &mut Node) {
    let file = patch(node, &format!("kind: Machine\nhostname: staged\n---\n{HEADER}{PINNED}"));
    let out = node.osctl(&["patch", "config", "-f", &file, "--mode", "staged"]).unwrap();
    assert!(out.contains("next boot"), "{out}");
    assert_eq!(hostname(node), "renamed");
    node.osctl(&["reboot", "--wait"]).unwrap();
    assert_eq!(hostname(node), "staged");
    // A change of the name is a trial: connecting and saying so keeps it.
    node.osctl(&["confirm-config"]).unwrap();
    node.osctl(&["health", "--wait"]).unwrap();
    assert!(node.osctl(&["get", "config"]).unwrap().contains("cpuManagerPolicy: static"));
    node.wait_for_pod().unwrap();
}

fn a_try_does_not_survive_a_power_cut(node: &mut Node) {
    let file = patch(node, "kind: Machine\nhostname: cut-off\n");
    node.osctl(&["patch", "config", "-f", &file, "--mode", "try", "--confirm-within", "10m"]).unwrap();
    assert_eq!(hostname(node), "cut-off");
    node.machine.cut_power().unwrap();
    node.restart().unwrap();
    node.wait_for_fingerprint().unwrap();
    assert_eq!(hostname(node), "staged");
    node.wait_for_pod().unwrap();
}

fn what_is_signed_for_another_base_is_refused(node: &Node) {
    let file = patch(node, "kind: Machine\nhostname: other\n");
    let refused = node.osctl_output(&["rollback", "config", "--to", "99"]).unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("99"));
    // The newest number was given to the change that the power cut ended.
    node.osctl(&["patch", "config", "-f", &file]).unwrap();
    assert_eq!(hostname(node), "other");
}

/// Watches the generations until one line says `text`.
fn wait_for_generation(node: &Node, text: &str) -> String {
    let until = Instant::now() + SOON + BOOT;
    let mut watch = node
        .osctl_command(&["get", "generations", "-w"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    let line = loop {
        let line = lines.next().unwrap().unwrap();
        if line.contains(text) {
            break line;
        }
        assert!(Instant::now() < until, "no generation became {text}");
    };
    watch.kill().unwrap();
    watch.wait().unwrap();
    line
}

//! A cluster on one node, made from the image and a configuration alone: no network but the node's own.

#![allow(missing_docs)]

mod support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use serde_json::{Value, json};
use support::{
    bed, blueprint, folder,
    kubectl::{Kubectl, PATIENCE, PATIENT},
    tools,
};
use testbed::{http, lan::Lan, measure, node::Node};

/// With less the programs, which are paged from a verified root, push each other out under emulation.
const MEMORY_MIB: u32 = 2048;
/// Ports of the cluster's Services on the node.
const HELLO_PORT: u16 = 30080;
const PROBE_PORT: u16 = 30081;
/// Of the two nodes on the link between them.
const ADDRESSES: [&str; 2] = ["192.0.2.11", "192.0.2.12"];
const HEADER: &str = "apiVersion: cairn.dev/v1alpha1\n";
const WORKLOAD: &str = include_str!("../pods/workload.yaml");

#[test]
fn one_node_is_a_whole_cluster() {
    let bed = bed();
    if !bed.long {
        println!(
            "not run: beside another test, under emulation, an API server needs many minutes; --long does"
        );
        return;
    }
    let programs = bed.host_kubernetes().unwrap();
    let mut blueprint = blueprint(&bed, "cluster");
    blueprint.hardware.memory_mib = MEMORY_MIB;
    blueprint.hardware.forwarded_ports.extend([layout::CLUSTER_API_PORT, HELLO_PORT, PROBE_PORT]);
    let folder = folder(&bed, &blueprint.name);
    let mut node = Node::up(&tools(&bed), &blueprint, &folder).unwrap();
    nobody_gets_a_kubeconfig_of_a_node_without_a_cluster(&node);

    let before = Instant::now();
    join(&node, &folder);
    let kubectl = administrator(&node, &folder, &programs.kubectl, "cluster");
    kubectl.run(&["wait", "--for=condition=Ready", "node/cluster", PATIENCE]);
    println!("configuration with a cluster → node Ready: {:.1} s", before.elapsed().as_secs_f32());
    node.osctl(&["health", "--wait"]).unwrap();

    services_answer(&node, &kubectl);
    the_dns_answers(&node, &kubectl);
    nobody_unknown_is_let_in(&kubectl);
    manifests_are_applied_and_pruned(&node, &kubectl, &folder);
    the_memory_is_told(&node);
    everything_is_back_after_a_power_cut(&mut node, &kubectl);
}

#[test]
fn pods_of_two_nodes_reach_each_other() {
    if !geteuid().is_root() {
        println!("not run: network namespaces need root");
        return;
    }
    let bed = bed();
    if !bed.long {
        println!("not run: two machines that share two processors take a quarter of an hour; --long does");
        return;
    }
    let programs = bed.host_kubernetes().unwrap();
    let lan = Lan::new().unwrap();
    let machine = |name: &str, ports: &[u16]| {
        let mut blueprint = blueprint(&bed, name);
        blueprint.hardware.memory_mib = 1536;
        blueprint.hardware.forwarded_ports.extend(ports);
        blueprint.hardware.links = vec![lan.port(name).unwrap()];
        let folder = folder(&bed, name);
        (Node::up(&tools(&bed), &blueprint, &folder).unwrap(), folder)
    };
    let (one, folder) = machine("one", &[layout::CLUSTER_API_PORT]);
    let (two, two_folder) = machine("two", &[PROBE_PORT]);
    let cluster = folder.join("shop");
    let endpoint = format!("{}:6443", ADDRESSES[0]);
    let arguments = ["gen", "cluster", "shop", "--endpoint", &endpoint, "-o", &cluster.to_string_lossy()];
    one.osctl(&arguments).unwrap();
    become_a_node_of_the_lan(&one, &folder, &cluster.join("control-plane.yaml"), ADDRESSES[0]);
    let kubectl = administrator(&one, &folder, &programs.kubectl, "one");
    become_a_node_of_the_lan(&two, &two_folder, &cluster.join("worker.yaml"), ADDRESSES[1]);
    kubectl.run(&["wait", "--for=create", "node/two", PATIENCE]);
    kubectl.run(&["wait", "--for=condition=Ready", "node/one", "node/two", PATIENCE]);
    for (name, address) in ["one", "two"].into_iter().zip(ADDRESSES) {
        let node = kubectl.json(&["get", "node", name]);
        let addresses = node["status"]["addresses"].as_array().unwrap();
        assert!(addresses.contains(&json!({"type": "InternalIP", "address": address})), "{addresses:?}");
    }

    kubectl.apply(WORKLOAD);
    pin(&kubectl, "deployment/hello", "one");
    pin(&kubectl, "deployment/inside", "two");
    let port = two.forwarded(PROBE_PORT).unwrap();
    let reached = |host: &str, port_there: u16| {
        let target = format!("/connect?host={host}&port={port_there}");
        assert_eq!(http::wait_for(port, &target, PATIENT, || true).unwrap(), "connected\n", "{host}");
    };
    let pods = kubectl.json(&["get", "pods", "-l", "app=hello"]);
    for pod in pods["items"].as_array().unwrap() {
        reached(pod["status"]["podIP"].as_str().unwrap(), 8080);
    }
    reached("hello.default.svc.cluster.local", 80);
    // The API server reads them from the other node's kubelet.
    kubectl.run(&["logs", "deployment/inside"]);
    two.osctl(&["health", "--wait"]).unwrap();
}

/// Its address on the link to the other node, and its place in the cluster, in one change.
fn become_a_node_of_the_lan(node: &Node, folder: &Path, documents: &Path, address: &str) {
    let cluster = std::fs::read_to_string(documents).unwrap();
    let cluster = cluster.replace("kind: Cluster\n", "kind: Cluster\nnodeSubnets: [192.0.2.0/24]\n");
    let text = format!(
        "{HEADER}kind: Interface\nname: eth0\ndhcp: true\n---\n{HEADER}kind: Interface\nname: eth1\n\
         addresses: [{address}/24]\n---\n{cluster}"
    );
    let path = folder.join("member.yaml");
    std::fs::write(&path, text).unwrap();
    node.osctl(&["patch", "config", "-f", &path.to_string_lossy()]).unwrap();
}

/// Has its pods run on one node.
fn pin(kubectl: &Kubectl, deployment: &str, node: &str) {
    let patch = json!({"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}}}}});
    kubectl.run(&["patch", deployment, "--type=merge", "-p", &patch.to_string()]);
    kubectl.run(&["rollout", "status", deployment, PATIENCE]);
}

fn nobody_gets_a_kubeconfig_of_a_node_without_a_cluster(node: &Node) {
    let output = node.osctl_output(&["kubeconfig", "-o", "-"]).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && errors.contains("serves no cluster"), "{errors}");
}

/// As an admin does it: secrets on the laptop, one change of the configuration.
fn join(node: &Node, folder: &Path) {
    let cluster = folder.join("shop");
    node.osctl(&["gen", "cluster", "shop", "-o", &cluster.to_string_lossy()]).unwrap();
    let control_plane = cluster.join("control-plane.yaml");
    node.osctl(&["patch", "config", "-f", &control_plane.to_string_lossy()]).unwrap();
}

/// kubectl with a certificate that the node issued, through the forwarded port.
fn administrator(node: &Node, folder: &Path, program: &Path, name: &str) -> Kubectl {
    let kubeconfig = folder.join("kubeconfig");
    node.osctl(&["kubeconfig", "-o", &kubeconfig.to_string_lossy()]).unwrap();
    let port = node.forwarded(layout::CLUSTER_API_PORT).unwrap();
    let kubectl = Kubectl::new(program, &kubeconfig, format!("https://127.0.0.1:{port}"));
    let until = Instant::now() + PATIENT;
    loop {
        let output = kubectl.output(&["get", "node", name]);
        if output.status.success() {
            return kubectl;
        }
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(Instant::now() < until, "the node is no member: {errors}");
        std::thread::park_timeout(Duration::from_secs(1));
    }
}

fn services_answer(node: &Node, kubectl: &Kubectl) {
    kubectl.apply(WORKLOAD);
    kubectl.run(&["rollout", "status", "deployment/hello", PATIENCE]);
    let port = node.forwarded(HELLO_PORT).unwrap();
    let answer = http::wait_for(port, "/", PATIENT, || true).unwrap();
    assert!(answer.starts_with("hello from hello-"), "{answer}");
    assert!(kubectl.run(&["logs", "deployment/hello", "--all-pods"]).contains("listening on port 8080"));
}

/// From a pod, by the name of a Service: CoreDNS, kube-proxy and the pod network at once.
fn the_dns_answers(node: &Node, kubectl: &Kubectl) {
    for wanted in ["deployment/coredns -n kube-system", "deployment/inside"] {
        let arguments: Vec<&str> =
            ["rollout", "status", PATIENCE].into_iter().chain(wanted.split(' ')).collect();
        kubectl.run(&arguments);
    }
    let port = node.forwarded(PROBE_PORT).unwrap();
    http::wait_for(port, "/healthz", PATIENT, || true).unwrap();
    let answer =
        http::wait_for(port, "/connect?host=hello.default.svc.cluster.local&port=80", PATIENT, || true);
    assert_eq!(answer.unwrap(), "connected\n");
    assert!(http::get(port, "/connect?host=nothing.default.svc.cluster.local&port=80").is_err());
}

fn nobody_unknown_is_let_in(kubectl: &Kubectl) {
    let stranger = ["--kubeconfig=/dev/null", "--insecure-skip-tls-verify", "--token=nobody"];
    let denied = kubectl.output(&[&stranger[..], &["get", "--raw", "/readyz"]].concat());
    let errors = String::from_utf8_lossy(&denied.stderr).into_owned();
    assert!(!denied.status.success() && errors.contains("Unauthorized"), "{errors}");
    let checks = kubectl.run(&["get", "--raw", "/readyz?verbose"]);
    assert!(checks.contains("readyz check passed"), "{checks}");
}

fn manifests_are_applied_and_pruned(node: &Node, kubectl: &Kubectl, folder: &Path) {
    const TWO: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Manifests\nname: shop\nobjects:\n  \
        - {apiVersion: v1, kind: ConfigMap, metadata: {name: till, namespace: shop}, data: {open: \"yes\"}}\n  \
        - {apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n";
    const NONE: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Manifests\nname: shop\n$patch: delete\n";
    let patch = |text: &str| {
        let path = folder.join("manifests.yaml");
        std::fs::write(&path, text).unwrap();
        node.osctl(&["patch", "config", "-f", &path.to_string_lossy()]).unwrap();
    };
    patch(TWO);
    kubectl.run(&["wait", "--for=create", "configmap/till", "-n", "shop", PATIENCE]);
    patch(NONE);
    kubectl.run(&["wait", "--for=delete", "namespace/shop", PATIENCE]);
}

fn the_memory_is_told(node: &Node) {
    let mut processes = measure::processes(node).unwrap();
    processes.sort_by_key(|process| std::cmp::Reverse(process.pss_kib));
    let sum: u64 = processes.iter().map(|process| process.pss_kib).sum();
    println!("proportional set sizes, KiB, {sum} in all:");
    for process in &processes {
        println!("{:>8} {} ({})", process.pss_kib, process.comm, process.cgroup);
    }
    assert!(processes.iter().any(|process| process.cgroup.starts_with("/cluster/kube-apiserver")));
}

/// A write that was acknowledged is there.
fn everything_is_back_after_a_power_cut(node: &mut Node, kubectl: &Kubectl) {
    kubectl.run(&["create", "configmap", "acknowledged", "--from-literal=written=yes"]);
    node.machine.cut_power().unwrap();
    node.restart().unwrap();
    let before = Instant::now();
    let port = node.forwarded(HELLO_PORT).unwrap();
    let answer = http::wait_for(port, "/", PATIENT, || true).unwrap();
    println!("power back → Service answers: {:.1} s", before.elapsed().as_secs_f32());
    assert!(answer.starts_with("hello from hello-"), "{answer}");
    let found: Value = kubectl.json(&["get", "configmap", "acknowledged"]);
    assert_eq!(found["data"]["written"], "yes");
    kubectl.run(&["wait", "--for=condition=Ready", "node/cluster", PATIENCE]);
    node.osctl(&["health", "--wait"]).unwrap();
}

//! A node joins a cluster that Cairn did not make: by its configuration alone, and only if the cluster takes it in.

#![allow(missing_docs)]

mod support;

use std::{fs, path::Path, time::Instant};

use serde_json::json;
use support::{
    bed, blueprint, folder,
    foreign_cluster::{ForeignCluster, TOKEN},
    kubectl::{Kubectl, PATIENCE, PATIENT},
    tools,
};
use testbed::{http, network::Network, node::Node};

const HELLO_PORT: u16 = 30080;
const WORKLOAD: &str = include_str!("../pods/workload.yaml");

#[test]
fn a_node_joins_a_cluster_that_is_not_ours() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "worker");
    blueprint.hardware.network = Network::Open;
    blueprint.hardware.forwarded_ports.push(HELLO_PORT);
    let folder = folder(&bed, &blueprint.name);
    let mut cluster = ForeignCluster::start(bed.host_kubernetes().unwrap(), &folder.join("foreign"));
    let mut node = Node::up(&tools(&bed), &blueprint, &folder).unwrap();

    who_would_not_become_a_member_is_told_so(&node, &cluster, &folder);
    let kubectl = cluster.kubectl();
    let before = Instant::now();
    patch(&node, &folder, &document(&cluster, &cluster.endpoint(), TOKEN.1)).unwrap();
    kubectl.run(&["wait", "--for=create", "node/worker", PATIENCE]);
    kubectl.run(&["wait", "--for=condition=Ready", "node/worker", PATIENCE]);
    println!("configuration with a cluster → node Ready: {:.1} s", before.elapsed().as_secs_f32());
    it_is_what_its_configuration_says(&kubectl);
    node.osctl(&["health", "--wait"]).unwrap();

    kubectl.apply(WORKLOAD);
    let port = node.forwarded(HELLO_PORT).unwrap();
    let answer = http::wait_for(port, "/", PATIENT, || true).unwrap();
    assert!(answer.starts_with("hello from hello-"), "{answer}");

    pods_run_on_without_the_cluster(&mut cluster, &node);
    it_starts_its_own_pods_without_the_cluster_and_is_a_member_again(&mut cluster, &mut node);
}

fn who_would_not_become_a_member_is_told_so(node: &Node, cluster: &ForeignCluster, folder: &Path) {
    let other =
        pki::Ca::create(&pki::SubjectName::parse("other").unwrap(), pki::Validity::UNLIMITED).unwrap();
    let right = document(cluster, &cluster.endpoint(), TOKEN.1);
    for (wrong, why) in [
        (
            document(cluster, &cluster.endpoint(), "fedcba9876543210"),
            "does not accept Cluster.bootstrapToken",
        ),
        (document(cluster, "10.0.2.2:9", TOKEN.1), "no API server of the cluster answers: 10.0.2.2:9"),
        (
            right.replace(
                &json!(cluster.authority()).to_string(),
                &json!(other.certificate().to_pem()).to_string(),
            ),
            "no API server of the cluster answers",
        ),
    ] {
        let errors = patch(node, folder, &wrong).unwrap_err();
        assert!(errors.contains(why), "{errors}");
    }
    http::get(node.forwarded(testbed::node::POD_PORT).unwrap(), "/").unwrap();
}

fn it_is_what_its_configuration_says(kubectl: &Kubectl) {
    let node = kubectl.json(&["get", "node/worker"]);
    assert_eq!(node["metadata"]["labels"]["site"], "harbour");
    let taint = json!({"key": "role", "value": "camera", "effect": "PreferNoSchedule"});
    assert!(node["spec"]["taints"].as_array().unwrap().contains(&taint), "{}", node["spec"]["taints"]);
    assert_eq!(node["status"]["nodeInfo"]["osImage"].as_str().unwrap().split(' ').next(), Some("Cairn"));
}

fn pods_run_on_without_the_cluster(cluster: &mut ForeignCluster, node: &Node) {
    cluster.stop_api_server();
    let port = node.forwarded(HELLO_PORT).unwrap();
    assert!(http::get(port, "/").unwrap().starts_with("hello from hello-"));
    let until = Instant::now() + PATIENT;
    while !says_that_no_api_server_answers(node) {
        assert!(Instant::now() < until, "nobody says that no API server answers");
    }
    cluster.start_api_server();
    node.osctl(&["health", "--wait"]).unwrap();
}

/// Whether the node is unwell then or not is not this test's matter.
fn says_that_no_api_server_answers(node: &Node) -> bool {
    let health = node.osctl_output(&["health"]).unwrap();
    let conditions = String::from_utf8(health.stdout).unwrap();
    let condition = conditions.lines().find(|line| line.starts_with("api-servers "));
    condition.is_some_and(|line| !line.contains(" healthy "))
}

fn it_starts_its_own_pods_without_the_cluster_and_is_a_member_again(
    cluster: &mut ForeignCluster,
    node: &mut Node,
) {
    cluster.stop_api_server();
    node.osctl(&["reboot", "--wait"]).unwrap();
    let static_pod = node.forwarded(testbed::node::POD_PORT).unwrap();
    http::wait_for(static_pod, "/", PATIENT, || true).unwrap();

    cluster.start_api_server();
    let port = node.forwarded(HELLO_PORT).unwrap();
    let answer = http::wait_for(port, "/", PATIENT, || true).unwrap();
    assert!(answer.starts_with("hello from hello-"), "{answer}");
    let kubectl = cluster.kubectl();
    kubectl.run(&["wait", "--for=condition=Ready", "node/worker", PATIENCE]);
    let requests = kubectl.json(&["get", "certificatesigningrequests"]);
    assert_eq!(requests["items"].as_array().unwrap().len(), 1, "it kept its certificate");
    node.osctl(&["health", "--wait"]).unwrap();
}

fn document(cluster: &ForeignCluster, endpoint: &str, secret: &str) -> String {
    let cluster = json!({
        "apiVersion": "cairn.dev/v1alpha1",
        "kind": "Cluster",
        "endpoints": [endpoint],
        "certificateAuthorities": [cluster.authority()],
        "bootstrapToken": format!("{}.{secret}", TOKEN.0),
        "dns": ["10.98.0.10"],
        "taints": ["role=camera:PreferNoSchedule"],
    });
    let machine =
        json!({"apiVersion": "cairn.dev/v1alpha1", "kind": "Machine", "labels": {"site": "harbour"}});
    format!("{cluster}\n---\n{machine}\n")
}

/// What osctl says against it.
fn patch(node: &Node, folder: &Path, text: &str) -> Result<(), String> {
    let path = folder.join("patch.yaml");
    fs::write(&path, text).unwrap();
    let output = node.osctl_output(&["patch", "config", "-f", &path.to_string_lossy()]).unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

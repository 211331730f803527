//! `osctl kubeconfig`: whom it asks, what it writes, and what it leaves as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pki::{Ca, Certificate, Key, Role, SubjectName, Validity};
use serde_json::{Value, json};

use crate::clusters::{Cluster, NOW_S};
use crate::rig::Rig;

const THEIRS: &str = "\
apiVersion: v1
kind: Config
current-context: theirs
preferences: {}
clusters:
- name: theirs
  cluster: {server: \"https://theirs:6443\", extensions: [{name: e, extension: {count: 7, on: \"yes\"}}]}
users:
- name: theirs
  user: {exec: {command: get-token, args: [\"010\", \"a: b\"], env: null}}
contexts:
- name: theirs
  context: {cluster: theirs, user: theirs, namespace: \"1e3\"}
";

fn cluster_ca() -> Ca {
    Ca::create(&SubjectName::parse("shop").unwrap(), Validity::UNLIMITED).unwrap()
}

/// A node that serves a cluster, and what the cluster's CA is.
fn rig() -> (Rig, Certificate) {
    let rig = Rig::adopted();
    let ca = cluster_ca();
    let certificate = ca.certificate().clone();
    rig.node.state.lock().unwrap().cluster = Some(Cluster { ca: Some(ca), endpoints: Vec::new() });
    (rig, certificate)
}

fn read(file: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn decoded(value: &Value) -> String {
    String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap()
}

#[test]
fn a_kubeconfig_has_a_certified_key_and_reaches_the_node_by_any_address() {
    let (rig, ca) = rig();
    let ran = rig.run(&["kubeconfig", "--lifetime", "7d"]);
    assert!(ran.err.contains("good until 2026-09-28T"), "{ran:?}");
    assert_eq!(ran.ok(), "");
    assert_eq!(rig.done().last().unwrap(), "issue for 604800 s");
    let file = rig.folder.path().join("kubeconfig");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let file = read(&file);
    assert_eq!(file["current-context"], "edge-1");
    assert_eq!(
        file["contexts"],
        json!([{"name": "edge-1", "context": {"cluster": "edge-1", "user": "edge-1"}}])
    );
    let cluster = &file["clusters"][0]["cluster"];
    assert_eq!(cluster["server"], "https://127.0.0.1:6443");
    assert_eq!(cluster["tls-server-name"], "kubernetes.default.svc");
    assert_eq!(decoded(&cluster["certificate-authority-data"]), ca.to_pem());
    let user = &file["users"][0]["user"];
    let certificate = Certificate::from_pem(&decoded(&user["client-certificate-data"])).unwrap();
    let key = Key::from_pem(&decoded(&user["client-key-data"])).unwrap();
    assert_eq!(certificate.public_key_der(), key.public_key_der());
    assert_eq!(certificate.validity(), Validity::starting(NOW_S, 7 * 86_400));
}

#[test]
fn name_server_and_place_can_be_chosen() {
    let (rig, _) = rig();
    let out = rig.run(&["kubeconfig", "-o", "-", "--name", "shop", "--server", "k8s.shop.example:8443"]).ok();
    let file: Value = serde_saphyr::from_str(&out).unwrap();
    assert_eq!((&file["clusters"][0]["name"], &file["current-context"]), (&json!("shop"), &json!("shop")));
    assert_eq!(file["clusters"][0]["cluster"]["server"], "https://k8s.shop.example:8443");
    assert!(!rig.folder.path().join("kubeconfig").exists());
    rig.run(&["kubeconfig", "-o", "-", "--merge"]).fails(2, &["standard output"]);
    rig.run(&["kubeconfig", "-c", "@all"]).fails(2, &["one node at a time"]);
}

#[test]
fn an_existing_file_is_replaced_only_by_force_and_before_anything_is_signed() {
    let (rig, _) = rig();
    let file = rig.folder.path().join("kubeconfig");
    fs::write(&file, THEIRS).unwrap();
    rig.run(&["kubeconfig"]).fails(1, &["exists", "--merge", "--force"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), THEIRS);
    assert!(!rig.done().iter().any(|done| done.starts_with("issue")));
    rig.run(&["kubeconfig", "--force"]).ok();
    assert_eq!(read(&file)["clusters"].as_array().unwrap().len(), 1);
}

#[test]
fn merging_keeps_everything_that_others_wrote() {
    let (rig, _) = rig();
    let file = rig.folder.path().join("theirs");
    fs::write(&file, THEIRS).unwrap();
    let merge = || {
        let variable = format!("none:{}", file.display());
        rig.command(&["kubeconfig", "--merge"]).env("KUBECONFIG", variable).output().unwrap()
    };
    let theirs = read(&file);
    assert!(merge().status.success());
    let merged = read(&file);
    for list in ["clusters", "users", "contexts"] {
        assert_eq!(merged[list][0], theirs[list][0]);
        assert_eq!(merged[list][1]["name"], "edge-1");
    }
    assert_eq!(merged["current-context"], "theirs");
    assert_eq!(merged["preferences"], theirs["preferences"]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // Once more renews its own entry and adds none.
    assert!(merge().status.success());
    let renewed = read(&file);
    assert_eq!(renewed["users"].as_array().unwrap().len(), 2);
    assert_ne!(renewed["users"][1], merged["users"][1]);
    assert_eq!(renewed["clusters"], merged["clusters"]);

    // A lock of kubectl is respected, and kubectl finds none afterwards.
    let lock = rig.folder.path().join("theirs.lock");
    assert!(!lock.exists());
    fs::write(&lock, "").unwrap();
    let refused = merge();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("theirs.lock exists"));
    assert_eq!(read(&file), renewed);
}

#[test]
fn merging_takes_no_name_from_another_cluster_and_harms_no_other_file() {
    let (rig, _) = rig();
    let file = rig.folder.path().join("mine");
    rig.run(&["kubeconfig", "--merge", "-o", "mine", "--name", "theirs"]).ok();
    let mine = read(&file);
    assert_eq!(mine["current-context"], "theirs");
    fs::write(&file, THEIRS).unwrap();
    let merge = ["kubeconfig", "--merge", "-o", "mine", "--name", "theirs"];
    rig.run(&merge).fails(1, &["not of this cluster", "--name", "--force"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), THEIRS);
    rig.run(&[&merge[..], &["--force"]].concat()).ok();
    assert_eq!(read(&file)["clusters"], mine["clusters"]);
    for text in ["kind: Pod\n", "a: [", "- x\n"] {
        fs::write(&file, text).unwrap();
        rig.run(&merge).fails(1, &["no kubeconfig"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    assert!(!rig.folder.path().join("mine.lock").exists());
}

#[test]
fn without_a_variable_it_is_the_file_below_home() {
    let (rig, _) = rig();
    let mut command = rig.command(&["kubeconfig", "--merge"]);
    command.env_remove("KUBECONFIG").env("HOME", rig.folder.path());
    assert!(command.output().unwrap().status.success());
    assert_eq!(read(&rig.folder.path().join(".kube/config"))["current-context"], "edge-1");
}

#[test]
fn a_node_that_serves_no_cluster_says_where_to_go() {
    let rig = Rig::adopted();
    let set = |cluster| rig.node.state.lock().unwrap().cluster = cluster;
    rig.run(&["kubeconfig"]).fails(1, &["edge-1 serves no cluster", "osctl gen cluster", "-c"]);
    set(Some(Cluster { ca: None, endpoints: vec!["10.0.0.5:6443".into()] }));
    rig.run(&["kubeconfig"]).fails(1, &["it is a worker", "10.0.0.5:6443", "-c"]);
    assert!(!rig.folder.path().join("kubeconfig").exists());
    assert!(!rig.done().iter().any(|done| done.starts_with("issue")));
}

#[test]
fn only_an_admin_of_the_node_becomes_one_of_the_cluster() {
    let (rig, _) = rig();
    rig.add_context("rita", &rig.ca, Role::Reader, Validity::UNLIMITED);
    rig.run(&["kubeconfig", "-c", "rita"]).fails(5, &["admin"]);
    assert!(!rig.folder.path().join("kubeconfig").exists());
}

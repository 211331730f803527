//! `osctl gen cluster`: what is in the documents, and that nothing is lost or shown.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pki::{Ca, Key};
use serde_json::{Value, json};

use crate::rig::{Ran, run};

const MAKE: [&str; 7] = ["gen", "cluster", "shop", "--endpoint", "10.0.0.5", "-o", "shop"];

fn documents(folder: &Path, file: &str) -> Vec<Value> {
    let file = folder.join("shop").join(file);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    serde_saphyr::from_multiple(&fs::read_to_string(file).unwrap()).unwrap()
}

fn text<'a>(document: &'a Value, field: &str) -> &'a str {
    document[field].as_str().unwrap_or_else(|| panic!("no {field} in {document}"))
}

/// Whether a token is `[a-z0-9]{6}.[a-z0-9]{16}`.
fn is_token(token: &str) -> bool {
    let of = |part: &str, length| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    token.split_once('.').is_some_and(|(id, secret)| of(id, 6) && of(secret, 16))
}

#[test]
fn a_control_plane_gets_all_secrets_and_a_worker_only_what_it_joins_with() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--endpoint", "k8s.shop.example:8443", "--endpoint", "[2001:db8::5]"];
    let Ran { code, out, err } = run(folder.path(), &[&MAKE[..], &more].concat());
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("osctl patch config") && err.contains("shop/control-plane.yaml"), "{err}");

    let control_plane = documents(folder.path(), "control-plane.yaml");
    let [cluster, secrets, manifests] = control_plane.as_slice() else { panic!("{control_plane:?}") };
    assert!(control_plane.iter().all(|document| document["apiVersion"] == "cairn.dev/v1alpha1"));
    assert_eq!((text(cluster, "kind"), text(secrets, "kind")), ("Cluster", "ControlPlane"));
    assert_eq!((text(manifests, "kind"), text(manifests, "name")), ("Manifests", "coredns"));
    assert_eq!(
        cluster["certificateAuthorities"].as_array().map(Vec::len),
        Some(1),
        "one CA in the beginning"
    );
    let ca = cluster["certificateAuthorities"][0].as_str().unwrap();
    let ca = Ca::from_pem(ca, text(secrets, "certificateAuthorityKey")).unwrap();
    assert!(ca.certificate().der().windows(6).any(|part| part == b"\x0c\x04shop"), "the CA's name");
    let lifetime_s = ca.certificate().validity().not_after_s - ca.certificate().validity().not_before_s;
    assert!((3650..3652).contains(&(lifetime_s / 86_400)), "{lifetime_s}");
    let service_accounts = Key::from_pem(text(secrets, "serviceAccountKey")).unwrap();
    assert_ne!(service_accounts.public_key_der(), ca.key().public_key_der());
    assert_eq!(STANDARD.decode(text(secrets, "encryptionKey")).unwrap().len(), 32);
    let names = json!(["10.0.0.5", "2001:db8::5", "k8s.shop.example"]);
    assert_eq!(secrets["alternativeNames"], names);
    assert_eq!(
        (text(secrets, "podSubnet"), text(secrets, "serviceSubnet")),
        ("10.244.0.0/16", "10.96.0.0/12")
    );
    assert!(is_token(text(cluster, "bootstrapToken")), "{cluster}");
    assert_eq!(cluster["dns"], json!(["10.96.0.10"]));
    assert_eq!((text(cluster, "domain"), text(cluster, "podNetwork")), ("cluster.local", "cairn"));
    assert_eq!(cluster.get("endpoints"), None, "those besides its own");

    let worker = documents(folder.path(), "worker.yaml");
    let mut joining = cluster.clone();
    joining["endpoints"] = json!(["10.0.0.5:6443", "k8s.shop.example:8443", "[2001:db8::5]:6443"]);
    assert_eq!(worker, [joining]);
}

#[test]
fn what_is_chosen_is_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let choice =
        ["--domain", "shop.example", "--service-subnet", "10.100.0.0/16", "--pod-network", "external"];
    run(folder.path(), &[&MAKE[..], &choice, &["--pod-subnet", "10.200.0.0/14"]].concat()).ok();
    let documents = documents(folder.path(), "control-plane.yaml");
    let [cluster, secrets, manifests] = documents.as_slice() else { panic!("{documents:?}") };
    assert_eq!((text(cluster, "domain"), text(cluster, "podNetwork")), ("shop.example", "external"));
    assert_eq!(cluster["dns"], json!(["10.100.0.10"]));
    assert_eq!(
        (text(secrets, "podSubnet"), text(secrets, "serviceSubnet")),
        ("10.200.0.0/14", "10.100.0.0/16")
    );
    let objects = manifests["objects"].as_array().unwrap();
    let of = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
    assert_eq!(of("Service")["spec"]["clusterIP"], "10.100.0.10");
    assert!(text(&of("ConfigMap")["data"], "Corefile").contains("kubernetes shop.example in-addr.arpa"));
}

#[test]
fn two_clusters_share_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = || {
        run(folder.path(), &[&MAKE[..], &["--force"]].concat()).ok();
        let documents = documents(folder.path(), "control-plane.yaml");
        let secret = |number: usize, field: &str| text(&documents[number], field).to_owned();
        [
            secret(0, "bootstrapToken"),
            secret(1, "certificateAuthorityKey"),
            secret(1, "serviceAccountKey"),
            secret(1, "encryptionKey"),
        ]
    };
    let (one, other) = (secrets(), secrets());
    for (one, other) in one.iter().zip(&other) {
        assert_ne!(one, other);
    }
}

#[test]
fn nothing_secret_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), &MAKE);
    let documents = documents(folder.path(), "control-plane.yaml");
    let (token, key) = (text(&documents[0], "bootstrapToken"), text(&documents[1], "encryptionKey"));
    let said = format!("{}{}", ran.out, ran.err);
    assert!(!said.contains(token) && !said.contains(key) && !said.contains("PRIVATE"), "{said}");
    for place in [&["gen", "cluster", "shop"][..], &["gen", "cluster", "shop", "-o", "-"]] {
        run(folder.path(), place).fails(2, &["-o"]);
    }
}

#[test]
fn the_secrets_of_a_cluster_are_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &MAKE).ok();
    let read = |name: &str| fs::read_to_string(folder.path().join("shop").join(name)).unwrap();
    let before = read("control-plane.yaml");
    run(folder.path(), &MAKE).fails(1, &["control-plane.yaml exists", "--force"]);
    assert_eq!(read("control-plane.yaml"), before);
    fs::remove_file(folder.path().join("shop/control-plane.yaml")).unwrap();
    run(folder.path(), &MAKE).fails(1, &["worker.yaml exists"]);
    assert!(!folder.path().join("shop/control-plane.yaml").exists(), "a half of another cluster");
}

#[test]
fn without_an_endpoint_there_is_nothing_to_join() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &MAKE).ok();
    let ran = run(folder.path(), &["gen", "cluster", "shop", "-o", "shop", "--force"]);
    assert!(ran.err.contains("no worker.yaml") && ran.err.contains("--endpoint"), "{ran:?}");
    assert!(ran.err.contains("removed shop/worker.yaml"), "{ran:?}");
    ran.ok();
    assert!(!folder.path().join("shop/worker.yaml").exists(), "it is of another cluster");
    assert_eq!(documents(folder.path(), "control-plane.yaml")[1]["alternativeNames"], json!([]));
}

#[test]
fn what_a_node_would_refuse_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for (option, value, words) in [
        ("--pod-subnet", "10.96.0.0/16", "overlaps podSubnet"),
        ("--pod-subnet", "fd00:10:244::/56", "podSubnet"),
        ("--pod-subnet", "10.244.0.0/24", "podSubnet"),
        ("--service-subnet", "10.0.0.0/8", "serviceSubnet"),
        ("--endpoint", "fe80::1%eth0", "alternativeNames"),
    ] {
        run(folder.path(), &[&MAKE[..], &[option, value]].concat()).fails(1, &["would refuse", words]);
    }
    run(folder.path(), &[&MAKE[..], &["--service-subnet", "10.96.0.0/29"]].concat())
        .fails(2, &["no tenth address"]);
    assert!(!folder.path().join("shop").exists());
}

#[test]
fn a_first_configuration_takes_the_documents_in() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &MAKE).ok();
    run(folder.path(), &["gen", "secrets"]).ok();
    for (file, kinds) in [
        ("shop/control-plane.yaml", &["Api", "Cluster", "ControlPlane", "Manifests"][..]),
        ("shop/worker.yaml", &["Api", "Cluster"]),
    ] {
        let whole = run(folder.path(), &["gen", "config", "--secrets", "secrets.yaml", "--base", file]).ok();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&whole).unwrap();
        assert_eq!(documents.iter().map(|document| text(document, "kind")).collect::<Vec<_>>(), kinds);
        fs::write(folder.path().join("whole.yaml"), &whole).unwrap();
        run(folder.path(), &["validate", "whole.yaml"]).ok();
    }
}

//! Secrets, client certificates, machine configuration, contexts: commands that contact no node.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::rig::{Rig, command, run};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: hello\nspec:\n  containers:\n  - name: web\n    image: web\n";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn secrets_are_private_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let first = run(folder.path(), &["gen", "secrets"]);
    assert!(first.err.contains("losing it loses the fleet"), "{first:?}");
    first.ok();
    let file = folder.path().join("secrets.yaml");
    assert_eq!(mode(&file), 0o600);
    let before = fs::read_to_string(&file).unwrap();
    run(folder.path(), &["gen", "secrets"]).fails(1, &["exists", "--force"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    run(folder.path(), &["gen", "secrets", "--force"]).ok();
    assert_ne!(fs::read_to_string(&file).unwrap(), before);
    assert!(run(folder.path(), &["gen", "secrets", "-o", "-"]).ok().contains("BEGIN PRIVATE KEY"));
}

#[test]
fn damaged_secrets_say_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["gen", "secrets"]).ok();
    let file = folder.path().join("secrets.yaml");
    let whole = fs::read_to_string(&file).unwrap();
    let make = ["gen", "client", "--secrets", "secrets.yaml", "--role", "admin", "--name", "a"];
    let cut_at = |marker: &str| &whole[..whole.find(marker).unwrap()];
    for (text, words) in [
        ("", &["the file is empty"][..]),
        (cut_at("  key:"), &["ca.key is missing"]),
        (cut_at("ca:"), &["ca.certificate is missing", "ca.key is missing"]),
        (cut_at("-----END PRIVATE"), &["ca.key has no END line", "cut off"]),
        (&whole.replace("version: 1", "version: 9"), &["version is 9"]),
    ] {
        fs::write(&file, text).unwrap();
        run(folder.path(), &make).fails(1, &[&["is damaged", "intact copy"], words].concat());
    }
    assert!(!folder.path().join("osctl.yaml").exists(), "a context was written");
    run(folder.path(), &["gen", "client", "--secrets", "none", "--role", "admin", "--name", "a"])
        .fails(1, &["gen secrets"]);
}

#[test]
fn the_first_configuration_holds_ca_hostname_and_pods() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["gen", "secrets"]).ok();
    fs::write(folder.path().join("pod.yaml"), POD).unwrap();
    let generate =
        ["gen", "config", "--secrets", "secrets.yaml", "--hostname", "edge-1", "--static-pod", "pod.yaml"];
    let text = run(folder.path(), &generate).ok();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    assert_eq!(documents[0]["hostname"], "edge-1");
    assert!(documents[1]["clientCAs"][0].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert_eq!(documents[2]["pod"]["metadata"]["name"], "hello");
    assert!(!text.contains("PRIVATE KEY"));
    run(folder.path(), &[&generate[..], &["-o", "machine.yaml"]].concat()).ok();
    assert_eq!(fs::read_to_string(folder.path().join("machine.yaml")).unwrap(), text);
    run(folder.path(), &["gen", "config", "--secrets", "secrets.yaml", "--static-pod", "none"])
        .fails(6, &["none"]);
    run(folder.path(), &[&generate[..], &["--static-pod", "pod.yaml"]].concat())
        .fails(1, &["default/hello stands twice"]);
}

#[test]
fn an_encrypted_bundle_asks_for_its_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    let run_with = |passphrase: &str, arguments: &[&str]| {
        let output = command(folder.path(), arguments).env("OSCTL_PASSPHRASE", passphrase).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let client = ["gen", "client", "--secrets", "secrets.yaml", "--role", "admin", "--name", "alice"];
    let (code, error) = run_with("short", &["gen", "secrets", "--encrypt"]);
    assert!(code == Some(2) && error.contains("fewer than 12 characters"), "{error}");
    let (code, error) = run_with("correct horse battery", &["gen", "secrets", "--encrypt"]);
    assert!(code == Some(0) && error.contains("passphrase"), "{error}");
    let text = fs::read_to_string(folder.path().join("secrets.yaml")).unwrap();
    assert!(text.contains("encrypted:") && !text.contains("BEGIN"), "{text}");

    assert_eq!(run_with("correct horse battery", &client).0, Some(0));
    let (code, error) = run_with("another horse", &client);
    assert!(code == Some(5) && error.contains("the passphrase is wrong"), "{error}");
    let config = ["gen", "config", "--secrets", "secrets.yaml"];
    assert_eq!(run_with("correct horse battery", &config).0, Some(0));

    fs::write(folder.path().join("secrets.yaml"), &text[..text.len() - 40]).unwrap();
    let (code, error) = run_with("correct horse battery", &client);
    assert!(code == Some(1) && error.contains("damaged or was cut off"), "{error}");
}

#[test]
fn contexts_are_listed_chosen_viewed_and_removed() {
    let rig = Rig::adopted();
    let (secrets, endpoint) = (rig.path("secrets.yaml"), rig.endpoint());
    let reader = [
        "gen",
        "client",
        "--secrets",
        &secrets,
        "--role",
        "reader",
        "--name",
        "rita",
        "-c",
        "rita",
        "-n",
        &endpoint,
    ];
    let made = rig.run(&reader);
    assert_eq!(mode(&rig.config()), 0o600);
    let (_, hash) = made.err.trim_end().rsplit_once("SHA-256 ").unwrap();
    let viewed = rig.json(&["config", "view", "-o", "json"]);
    assert_eq!(viewed["contexts"][1]["client-certificate-sha256"], hash);
    assert_eq!(hash.len(), 64);

    let listed = rig.json(&["config", "contexts", "-o", "json"]);
    assert_eq!(listed["items"][0]["name"], "edge-1");
    assert_eq!(
        (&listed["items"][0]["current"], &listed["items"][0]["role"]),
        (&true.into(), &"admin".into())
    );
    assert_eq!(
        (&listed["items"][1]["role"], &listed["items"][1]["nodeId"]),
        (&"reader".into(), &"n-1".into())
    );
    let table = rig.run(&["config", "contexts"]).ok();
    assert!(table.starts_with("CURRENT   NAME") && table.contains("\n*         edge-1"), "{table}");

    rig.run(&["config", "use", "rita"]).ok();
    assert_eq!(rig.json(&["config", "contexts", "-o", "json"])["items"][1]["current"], true);
    let view = rig.run(&["config", "view"]).ok();
    assert!(view.contains("current-context: rita") && view.contains("REDACTED"), "{view}");
    assert!(!view.contains("PRIVATE KEY"), "{view}");

    rig.run(&["config", "remove", "rita"]).ok();
    rig.run(&["config", "remove", "rita"]).fails(6, &["rita", "there are: edge-1"]);
    rig.run(&["version"]).fails(6, &["no context is chosen", "edge-1"]);
}

#[test]
fn a_context_can_be_handed_on() {
    let rig = Rig::adopted();
    let (secrets, endpoint) = (rig.path("secrets.yaml"), rig.endpoint());
    let make = [
        "gen",
        "client",
        "--secrets",
        &secrets,
        "--role",
        "operator",
        "--name",
        "otto",
        "-n",
        &endpoint,
        "-o",
        "otto.yaml",
    ];
    rig.run(&make).ok();
    assert_eq!(mode(&rig.folder.path().join("otto.yaml")), 0o600);
    let colleague = tempfile::tempdir().unwrap();
    let file = rig.path("otto.yaml");
    run(colleague.path(), &["config", "merge", &file]).ok();
    assert!(run(colleague.path(), &["version"]).ok().contains("edge-1"));
    run(colleague.path(), &["config", "merge", "none.yaml"]).fails(6, &["none.yaml"]);
}

#[test]
fn an_exposed_configuration_is_pointed_out() {
    let rig = Rig::adopted();
    fs::set_permissions(rig.config(), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = rig.run(&["version"]);
    assert!(ran.err.contains("chmod 600"), "{ran:?}");
    ran.ok();
}

#[test]
fn completions_pages_and_help_come_from_the_tree() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(folder.path(), &["completion", shell]).ok().contains("api-resources"), "{shell}");
    }
    run(folder.path(), &["man", "."]).ok();
    assert!(fs::read_to_string(folder.path().join("osctl-gen-secrets.1")).unwrap().contains("fleet"));
    let help = run(folder.path(), &["--help"]).ok();
    assert!(help.contains("Exit codes:") && help.contains("adopt"), "{help}");
    run(folder.path(), &["fly"]).fails(2, &["fly"]);
    run(folder.path(), &["-o", "json", "gen", "secrets"]).fails(2, &["-o FILE"]);
    assert!(!run(folder.path(), &["version", "--client"]).ok().is_empty());
}

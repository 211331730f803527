//! Bundles for whoever helps.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use pki::{Role, Validity};
use serde_json::Value;

use crate::rig::{Rig, closed_port};

/// Files of a bundle, by name.
fn unpacked(bundle: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(fs::File::open(bundle).unwrap()).unwrap());
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (name, content)
    });
    files.collect()
}

#[test]
fn a_bundle_holds_what_the_commands_print() {
    let rig = Rig::adopted();
    let file = rig.path("bundle.tar.zst");
    assert_eq!(rig.run(&["support", "-o", &file]).ok(), format!("{file}\n"));
    let files = unpacked(Path::new(&file));
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(manifest["context"], "edge-1");
    for part in manifest["parts"].as_array().unwrap() {
        let content = &files[part["file"].as_str().unwrap()];
        assert_eq!(part["bytes"], content.len(), "{part}");
    }
    let health: Value = serde_json::from_slice(&files["health.json"]).unwrap();
    assert_eq!(health, rig.json(&["health", "-o", "json"]));
    let sockets: Value = serde_json::from_slice(&files["live/sockets.json"]).unwrap();
    assert_eq!(sockets, rig.json(&["netstat", "--pods", "-o", "json"]));
    assert!(!rig.done().contains(&"arguments".to_owned()), "arguments of processes may hold secrets");
    let services = rig.json(&["get", "services", "-o", "json"]);
    for service in services["items"].as_array().unwrap() {
        assert!(files.contains_key(&format!("logs/{}.log", service["id"].as_str().unwrap())));
    }
    rig.run(&["support", "-o", &file]).fails(1, &["exists already", "-o"]);
}

#[test]
fn an_encrypted_bundle_opens_with_its_passphrase() {
    let rig = Rig::adopted();
    let (sealed, opened) = (rig.path("bundle.yaml"), rig.path("bundle.tar.zst"));
    let run = |arguments: &[&str], passphrase: &str| {
        rig.command(arguments).env("OSCTL_PASSPHRASE", passphrase).output().unwrap().status.code()
    };
    let passphrase = "correct horse battery";
    assert_eq!(run(&["support", "--encrypt", "-o", &sealed], passphrase), Some(0));
    assert!(fs::read_to_string(&sealed).unwrap().contains("scrypt"));
    assert_eq!(run(&["support", "open", &sealed, &opened], "correct horse buttery"), Some(1));
    assert!(!Path::new(&opened).exists());
    assert_eq!(run(&["support", "open", &sealed, &opened], passphrase), Some(0));
    assert!(unpacked(Path::new(&opened)).contains_key("version.json"));
}

#[test]
fn a_node_that_is_off_leaves_no_file_and_does_not_spoil_the_others() {
    let rig = Rig::adopted();
    rig.add_context_at("off", &closed_port().unwrap(), &rig.ca, Role::Admin, Validity::UNLIMITED);
    let folder = rig.path("bundles");
    fs::create_dir(&folder).unwrap();
    rig.run(&["support", "-c", "@all", "-o", &rig.path("one-file")]).fails(2, &["an existing folder"]);
    let ran = rig.run(&["support", "-c", "@all", "-o", &folder]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].to_str().unwrap().starts_with("support-edge-1-"), "{names:?}");
}

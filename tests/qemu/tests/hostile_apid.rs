//! Whoever takes over apid gains nothing from what an admin signs: machined refuses all that is not as it was signed,
//! by whom, for what and when.

#![allow(missing_docs)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

use pki::{
    Ca, NodeId, Role, SubjectName, Validity,
    signed::{self, Base},
};
use prost::Message as _;
use proto::config::v1::{Change, SignedRequest, change::Content};
use serde_json::Value;
use support::{bed, blueprint, folder, repository, tools};
use testbed::{bed::Bed, node::Node};

const APPLY: &str = "/cairn.config.v1.ConfigService/Apply";
/// What the hostile apid says at its start.
const MARK: &str = "this is the hostile apid of a test";
const CHANGE: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Sysctl\nvalues: {net.core.somaxconn: 4095}\n";

/// Reason of what is not as it was signed.
const FORGED: &str = "the request is not signed by the client's key for this method";
/// What is tried to every end, and why each is refused.
const TO_EVERY_END: [(&str, &str); 5] = [
    ("unsigned", "the request carries no signed change"),
    ("admin of another CA", "the client certificate is not signed by a CA of this node"),
    ("key of the node", "the certificate is not meant for clients"),
    ("certificate without its key", FORGED),
    ("edited body", FORGED),
];
/// What is tried with a change, its confirmation and an upgrade besides.
const WITH_ITS_OWN_METHOD: [&str; 3] = ["edited node", "edited generation", "edited epoch"];

#[test]
fn a_stolen_apid_gains_nothing_from_what_an_admin_signs() {
    let bed = bed();
    let hostile = bed.hostile().unwrap();
    assert!(has_mark(&bed, &hostile.root_image), "the mark is not found where it is");
    assert!(!has_mark(&bed, &bed.root_image), "the release has the hostile apid");

    let mut blueprint = blueprint(&bed, "stolen");
    (blueprint.image, blueprint.probe_image) = (hostile.disk, None);
    let mut node = Node::up_without_pod(&tools(&bed), &blueprint, &folder(&bed, "stolen")).unwrap();
    assert!(attempts(&node).is_empty());
    let id = node_id(&node);
    an_admin_makes_a_change(&node);
    let handed_over = hand_over(&node, &id);
    an_admin_pushes_releases(&bed, &node);

    let mut expected = expected();
    let mut count = 0;
    for Attempt { aim, how, code, reason } in attempts(&node) {
        if how == "handed over" {
            continue;
        }
        let reasons = expected.get_mut(&(aim.clone(), how.clone()));
        let (of_code, of_reason, seen) = reasons.unwrap_or_else(|| panic!("unexpected: {how} {aim}"));
        assert!(code == *of_code && reason.contains(*of_reason), "{how} {aim}: {code}: {reason}");
        *seen = true;
        count += 1;
    }
    let missing: Vec<_> = expected.iter().filter(|(_, (_, _, seen))| !seen).collect();
    assert!(missing.is_empty(), "not tried: {missing:?}");
    println!("{} attempts refused, {handed_over} of them with what a signer made", count + handed_over);
    nothing_but_the_change_was_made(&mut node, &id);
}

/// A try is signed twice: when it is made and when it is kept.
fn an_admin_makes_a_change(node: &Node) {
    let file = node.files().folder().join("patch.yaml");
    fs::write(&file, CHANGE).unwrap();
    let tried = node.osctl(&["patch", "config", "-f", &file.to_string_lossy(), "--mode", "try"]).unwrap();
    assert!(tried.contains("generation 2 is on trial"), "{tried}");
    assert!(states(node).contains(&(2, "trial".into())), "the trial was ended by somebody else");
    node.osctl(&["confirm-config"]).unwrap();
    wait_for_confirmation(node);
}

/// Of what passes through the hostile apid nothing comes: blocks that were spoilt are refused, and so is a release
/// that is older, which it could have put in the place of the one that is meant.
fn an_admin_pushes_releases(bed: &Bed, node: &Node) {
    let releases = bed.releases(2).unwrap();
    let older = node.files().folder().join("older");
    repository::with_release(&older, &releases.keys, "0.0.1");
    for (repository, message) in [
        (&releases.repository, "is not what the manifest says"),
        (&older, "ask for it with leave to downgrade"),
    ] {
        let repository = repository.to_string_lossy();
        let output = node.osctl_output(&["upgrade", "--release", &repository, "--no-reboot"]).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(message), "{errors}");
    }
}

/// Requests that somebody signed indeed, but not an admin, not for this node, or not in this start of it. Returns how
/// many were refused.
fn hand_over(node: &Node, id: &str) -> usize {
    let (this, other) = (NodeId::parse(id).unwrap(), NodeId::parse(&"0".repeat(32)).unwrap());
    let cases = [
        (Role::Reader, &this, "PermissionDenied", "the signer is reader, this needs admin"),
        (Role::Operator, &this, "PermissionDenied", "the signer is operator, this needs admin"),
        (Role::Admin, &other, "PermissionDenied", "the request is signed for another node"),
        (Role::Admin, &this, "Aborted", "the request is signed for an earlier start of the node"),
    ];
    let ca = fleet_ca(node);
    for (role, meant, _, _) in cases {
        let request = hex::encode(signed_by(&ca, role, meant).encode_to_vec());
        let found = node.osctl_output(&["get", "service", &format!("try-{request}")]).unwrap();
        assert_eq!(found.status.code(), Some(6), "{}", String::from_utf8_lossy(&found.stderr));
    }
    let tried: Vec<_> = attempts(node).into_iter().filter(|attempt| attempt.how == "handed over").collect();
    assert_eq!(tried.len(), cases.len());
    for (Attempt { code, reason, .. }, (.., of_code, of_reason)) in tried.iter().zip(cases) {
        assert!(code == of_code && reason.contains(of_reason), "{code}: {reason}");
    }
    cases.len()
}

fn signed_by(ca: &Ca, role: Role, node_id: &NodeId) -> SignedRequest {
    let client = ca.issue_client(&SubjectName::parse("mallory").unwrap(), role, Validity::UNLIMITED).unwrap();
    let change = Change { content: Some(Content::RollbackTo(1)), mode: 1, ..Change::default() };
    let signed =
        signed::sign(&client.key, &client.certificate, APPLY, node_id, Base::FIRST, change.encode_to_vec());
    signed.unwrap().into()
}

/// Code, reason, and whether it was seen, of each aim and how it was tried to be reached.
fn expected() -> BTreeMap<(String, String), (&'static str, &'static str, bool)> {
    let mut expected = BTreeMap::new();
    let mut add = |aim: &str, how: &str, code, reason| {
        expected.insert((aim.to_owned(), how.to_owned()), (code, reason, false));
    };
    for aim in ["apply", "rollback", "confirm", "reset", "upgrade", "return", "cancel"] {
        for (how, reason) in TO_EVERY_END {
            let code = if how == "unsigned" { "InvalidArgument" } else { "PermissionDenied" };
            add(aim, how, code, reason);
        }
    }
    for aim in ["apply", "confirm", "upgrade"] {
        WITH_ITS_OWN_METHOD.into_iter().for_each(|how| add(aim, how, "PermissionDenied", FORGED));
    }
    for aim in ["apply", "confirm", "reset", "upgrade", "return", "cancel"] {
        add(aim, "re-targeted", "PermissionDenied", FORGED);
    }
    add("apply", "replayed", "Aborted", "the request is signed for generation 1, the node runs 2");
    add("upgrade", "replayed", "Aborted", "the request is signed for generation");
    add("confirm", "replayed", "FailedPrecondition", "generation 2 waits for no confirmation");
    expected
}

fn nothing_but_the_change_was_made(node: &mut Node, id: &str) {
    assert_eq!(states(node), [(1, "superseded".into()), (2, "confirmed".into())]);
    let config = node.osctl(&["get", "config"]).unwrap();
    assert!(config.contains("4095") && config.contains("hostname: stolen"), "{config}");
    assert_eq!(node_id(node), id);
    let slots = node.osctl(&["slots", "-o", "json"]).unwrap();
    let slots: Value = serde_json::from_str(&slots).unwrap();
    assert_eq!((&slots["items"][0]["running"], &slots["items"][1]["state"]), (&true.into(), &"empty".into()));
    let machined = node.osctl(&["logs", "machined"]).unwrap();
    assert_eq!(machined.matches("an upgrade is asked for").count(), 2, "the admin's alone: {machined}");
    // It was replayed when it was made, and again with each of the two releases.
    assert_eq!(machined.matches("an admin confirms").count(), 4, "the admin's, and its replays: {machined}");
    assert!(!machined.contains("a reset is asked for"), "{machined}");
    let console = node.machine.console().lines().unwrap();
    assert_eq!(console.iter().filter(|line| line.contains("cairn: init started")).count(), 1);
}

struct Attempt {
    aim: String,
    how: String,
    code: String,
    reason: String,
}

/// What the hostile apid says of itself.
fn attempts(node: &Node) -> Vec<Attempt> {
    let log = node.osctl(&["logs", "apid"]).unwrap();
    assert!(log.contains(MARK), "{log}");
    assert!(!log.contains("an attempt could not be made"), "{log}");
    let lines = log.lines().filter_map(|line| line.get(line.find('{')?..));
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let attempt = |line: Value| {
        let field = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
        Attempt { aim: field("aim"), how: field("how"), code: field("code"), reason: field("reason") }
    };
    lines.filter(|line| line["message"] == "attempt").map(attempt).collect()
}

/// Numbers of all generations and what they are.
fn states(node: &Node) -> Vec<(u64, String)> {
    let listed: Value =
        serde_json::from_str(&node.osctl(&["get", "generations", "-o", "json"]).unwrap()).unwrap();
    let state = |item: &Value| {
        let number = item["id"].as_str().unwrap().parse().unwrap();
        (number, item["spec"]["state"].as_str().unwrap().to_owned())
    };
    let mut states: Vec<_> = listed["items"].as_array().unwrap().iter().map(state).collect();
    states.sort();
    states
}

/// Its conditions have to hold for a while besides.
fn wait_for_confirmation(node: &Node) {
    let mut watch =
        node.osctl_command(&["get", "generations", "2", "-w"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("confirmed")), "the watch ended");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

fn fleet_ca(node: &Node) -> Ca {
    let bundle: Value = serde_saphyr::from_str(&fs::read_to_string(node.secrets()).unwrap()).unwrap();
    let [certificate, key] = ["certificate", "key"].map(|part| bundle["ca"][part].as_str().unwrap());
    Ca::from_pem(certificate, key).unwrap()
}

fn node_id(node: &Node) -> String {
    let version: Value = serde_json::from_str(&node.osctl(&["version", "-o", "json"]).unwrap()).unwrap();
    version["node"]["nodeId"].as_str().unwrap_or_else(|| panic!("{version}")).to_owned()
}

fn has_mark(bed: &Bed, root_image: &Path) -> bool {
    let image = root_image.to_string_lossy();
    let apid = bed.programs().run("dump.erofs", &["--path=/usr/bin/apid", "--cat", &image]).unwrap().stdout;
    assert!(apid.starts_with(b"\x7fELF"), "apid is no program");
    apid.windows(MARK.len()).any(|part| part == MARK.as_bytes())
}

//! Upgrades, slots, and the way back.

use std::fs;

use proto::update::v1::{Ending, Phase, RefusedRelease, Status};

use crate::rig::Rig;
use crate::updates::{operation, outcome, status};

/// A repository of one large file, on the admin's computer.
fn repository(rig: &Rig) -> String {
    let release = rig.folder.path().join("release");
    fs::create_dir_all(release.join("metadata")).unwrap();
    fs::create_dir_all(release.join("targets/releases/1.1.0")).unwrap();
    fs::write(release.join("metadata/timestamp.json"), "{}").unwrap();
    fs::write(release.join("targets/releases/1.1.0/root.img"), vec![7; 150_001]).unwrap();
    rig.path("release")
}

fn then(rig: &Rig, statuses: impl IntoIterator<Item = Status>) {
    rig.node.state.lock().unwrap().updates.statuses = statuses.into_iter().collect();
}

#[test]
fn a_release_on_this_computer_is_served_to_the_node_and_nothing_else_is() {
    let rig = Rig::adopted();
    let release = repository(&rig);
    let ran = rig.run(&["upgrade", "--release", &release]);
    assert!(ran.err.contains("fetching 1.1.0: 70 % (7 of 10 blocks), 1024 KiB fetched"), "{ran:?}");
    assert_eq!(ran.ok(), "edge-1 reboots into 1.1.0; `osctl upgrade status` tells what becomes of it\n");
    let done = rig.done();
    let [.., asked, image, missing, hostile] = done.as_slice() else { panic!("{done:?}") };
    assert!(asked.contains("Client") && asked.contains("extent: Reboot"), "{asked}");
    assert_eq!(image, "read targets/releases/1.1.0/root.img: 150000 bytes");
    assert_eq!(missing, "read metadata/2.root.json: not found");
    assert_eq!(hostile, "read ../secrets.yaml: it is no file of a repository");
}

#[test]
fn what_is_asked_for_reaches_the_node() {
    let rig = Rig::adopted();
    let flags =
        ["--stage", "--allow-downgrade", "--retry-failed", "--allow-expired", "--allow-kubernetes-minor"];
    rig.run(&[&["upgrade", "--url", "https://u.example/c", "--version", "1.1.0"], &flags[..]].concat()).ok();
    let asked = rig.done().pop().unwrap();
    for word in
        ["Url(\"https://u.example/c\")", "\"1.1.0\"", "Stage", "allow_downgrade: true", "retry_failed: true"]
    {
        assert!(asked.contains(word), "{word} in {asked}");
    }
    rig.run(&["upgrade", "--volume", "RELEASE", "--no-reboot"]).ok();
    let asked = rig.done().pop().unwrap();
    assert!(asked.contains("VolumeLabel(\"RELEASE\")") && asked.contains("Write"), "{asked}");
    rig.run(&["upgrade"]).ok();
    assert!(rig.done().pop().unwrap().contains("source: None"));
}

#[test]
fn waiting_follows_the_node_to_its_verdict() {
    for (ending, code, word) in [
        (Ending::Confirmed, 0, "edge-1 runs 1.1.0"),
        (Ending::FellBack, 7, "did not prove healthy on edge-1, which went back: the kubelet is dead"),
        (Ending::NoVerdict, 7, "without a verdict"),
    ] {
        let rig = Rig::adopted();
        let on_trial = Status { operation: Some(operation(Phase::Trial)), ..status() };
        let message = if code == 0 { "" } else { "the kubelet is dead" };
        let over = Status { last: Some(outcome(ending, message)), ..status() };
        then(&rig, [status(), on_trial, over]);
        let ran = rig.run(&["upgrade", "--url", "https://u.example/c", "--wait"]);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(format!("{}{}", ran.out, ran.err).contains(word), "{ran:?}");
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let rig = Rig::adopted();
    rig.run(&["upgrade", "--url", "https://u.example/c", "--version", "0.1.0"])
        .fails(1, &["with leave to downgrade", "hint: leave is given with --allow-downgrade"]);
    rig.run(&["upgrade", "--url", "https://u.example/c", "--version", "8.0.0"])
        .fails(1, &["1.1.0 was not installed on edge-1: root.img is not what was signed"]);
    rig.run(&["upgrade", "--url", "https://u.example/c", "--version", "9.0.0"])
        .fails(3, &["the connection to edge-1 was lost", "the upgrade goes on by itself"]);
    rig.run(&["upgrade", "--release", &rig.path("nowhere")]).fails(6, &["does not exist"]);
    rig.run(&["upgrade", "--release", &rig.path("")])
        .fails(1, &["is no release repository", "metadata/timestamp.json"]);
}

#[test]
fn an_upgrade_that_never_began_is_not_waited_for() {
    let rig = Rig::adopted();
    let former = Status { last: Some(outcome(Ending::Confirmed, "")), ..status() };
    then(&rig, [former.clone(), former]);
    rig.run(&["upgrade", "--url", "https://u.example/c", "--version", "9.0.0", "--wait"])
        .fails(1, &["knows nothing of the upgrade"]);
}

#[test]
fn slots_and_status_are_shown() {
    let rig = Rig::adopted();
    let slots = rig.run(&["slots"]).ok();
    assert!(slots.starts_with("SLOT   VERSION   STATE"), "{slots}");
    let slots = rig.json(&["slots", "-o", "json"]);
    assert_eq!(slots["items"][1]["version"], "1.0.0");
    assert_eq!(
        (&slots["items"][1]["running"], &slots["items"][0]["state"]),
        (&true.into(), &"confirmed".into())
    );

    let refused = RefusedRelease { version: "1.2.0".into(), message: "gate".into(), until: None };
    then(
        &rig,
        [Status {
            operation: Some(operation(Phase::Fetching)),
            last: Some(outcome(Ending::Failed, "no answer\u{1b}[2J")),
            refused: vec![refused],
            ..status()
        }],
    );
    let text = rig.run(&["upgrade", "status"]).ok();
    for word in [
        "fetching 1.1.0: 70 %",
        "asked for by admin",
        "last: 1.1.0 failed",
        "refused: 1.2.0 (only with --retry-failed): gate",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let json = rig.json(&["upgrade", "status", "-o", "json"]);
    assert_eq!(
        (&json["operation"]["phase"], &json["last"]["ending"]),
        (&"fetching".into(), &"failed".into())
    );
    let lines = rig.run(&["upgrade", "status", "--watch", "-o", "json"]).ok();
    assert_eq!(lines.lines().count(), 2, "{lines}");
}

#[test]
fn the_way_back_names_the_release_that_is_meant() {
    let rig = Rig::adopted();
    assert_eq!(rig.run(&["rollback"]).ok(), "edge-1 returns to 0.9.0\n");
    assert_eq!(rig.done().pop().unwrap(), "rollback 0.9.0");
    let over = Status { last: Some(outcome(Ending::Confirmed, "")), ..status() };
    then(&rig, [status(), over]);
    assert_eq!(rig.run(&["rollback", "--wait"]).ok(), "edge-1 runs 1.1.0\n");
    let mut alone = status();
    alone.slots[0].version.clear();
    then(&rig, [alone]);
    rig.run(&["rollback"]).fails(6, &["has no other release"]);
}

#[test]
fn an_upgrade_is_cancelled() {
    let rig = Rig::adopted();
    assert_eq!(rig.run(&["upgrade", "cancel"]).ok(), "the upgrade of edge-1 is cancelled\n");
    assert_eq!(rig.done().pop().unwrap(), "cancel");
}

//! Every command against an adopted node.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command};

use proto::machine::v1::ConditionStatus::{Healthy, Progressing, Unhealthy};

use crate::rig::Rig;
use crate::services::health;

fn set_health(rig: &Rig, statuses: &[proto::machine::v1::ConditionStatus]) {
    rig.node.state.lock().unwrap().health = statuses.iter().copied().map(health).collect();
}

/// Starts a command and reads the first lines of its output.
fn start(rig: &Rig, arguments: &[&str], lines: usize) -> (Child, Vec<String>) {
    let mut child = rig.command(arguments).spawn().unwrap();
    let read =
        BufReader::new(child.stdout.as_mut().unwrap()).lines().take(lines).map(Result::unwrap).collect();
    (child, read)
}

/// Presses Ctrl-C and returns exit code and standard error.
fn interrupt(mut child: Child) -> (Option<i32>, String) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let code = child.wait().unwrap().code();
    let mut errors = String::new();
    child.stderr.unwrap().read_to_string(&mut errors).unwrap();
    (code, errors)
}

#[test]
fn version_in_all_formats() {
    let rig = Rig::adopted();
    assert!(rig.run(&["version"]).ok().contains("kubernetes    1.37.2\n"));
    let json = rig.json(&["version", "-o", "json"]);
    assert_eq!(json["node"]["kernelVersion"], "6.12.1");
    let yaml: serde_json::Value = serde_saphyr::from_str(&rig.run(&["version", "-o", "yaml"]).ok()).unwrap();
    assert_eq!(yaml, json);
}

#[test]
fn health_shows_conditions_and_decides_the_exit_code() {
    let rig = Rig::adopted();
    rig.run(&["health"]).ok();
    set_health(&rig, &[Unhealthy]);
    let ran = rig.run(&["health"]);
    assert_eq!((ran.code, ran.err.as_str()), (4, ""), "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("CONDITION   STATUS") && lines[1].contains("plug in the cable"), "{ran:?}");
    let ran = rig.run(&["health", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["healthy"], false);
    assert_eq!(json["conditions"][0]["status"], "unhealthy");
    assert_eq!(json["conditions"][0]["since"], "2026-09-21T14:13:20Z");
}

#[test]
fn waiting_for_health_ends_with_it_or_with_the_time() {
    let rig = Rig::adopted();
    set_health(&rig, &[Progressing, Unhealthy, Healthy]);
    let ran = rig.run(&["health", "--wait"]);
    assert_eq!(ran.err, "", "progress belongs on terminals only");
    assert!(ran.ok().contains("healthy"));
    set_health(&rig, &[Progressing]);
    let ran = rig.run(&["health", "--wait", "--timeout", "2s"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("progressing"), "{ran:?}");
}

#[test]
fn services_are_listed_and_controlled() {
    let rig = Rig::adopted();
    let table = rig.run(&["services"]).ok();
    assert!(
        table.starts_with("ID        STATE     PID   RESTARTS   AGE\napid      running   71    0          "),
        "{table}"
    );
    assert_eq!(rig.json(&["services", "list", "-o", "json"])["items"][1]["spec"]["pid"], 71);
    for action in ["start", "stop", "restart"] {
        assert_eq!(rig.run(&["services", action, "kubelet"]).ok(), format!("kubelet: {action} begun\n"));
        assert!(rig.done().contains(&format!("{action} kubelet")));
    }
    rig.run(&["services", "restart", "nope"]).fails(6, &["nope", "the services are: apid, kubelet"]);
    rig.run(&["services", "stop", "machined"]).fails(1, &["essential"]);
}

#[test]
fn logs_of_services_and_containers() {
    let rig = Rig::adopted();
    assert_eq!(rig.run(&["logs", "kubelet"]).ok(), "one\ntwo\n");
    assert_eq!(rig.run(&["logs", "kubelet", "--tail", "1"]).ok(), "two\n");
    for (source, expected) in [
        ("hello/web", "default|hello|web\n"),
        ("default/hello", "default|hello|\n"),
        ("a/hello/web", "a|hello|web\n"),
        ("hello/", "|hello|\n"),
    ] {
        assert_eq!(rig.run(&["logs", source]).ok(), expected, "{source}");
    }
    rig.run(&["logs", "nope"]).fails(6, &["the services are: apid, kubelet"]);
    rig.run(&["logs", "nope/web"]).fails(6, &["the pods are: default/hello"]);
    rig.run(&["logs", "hello/web", "-o", "json"]).fails(2, &["-o"]);
}

#[test]
fn following_ends_cleanly_with_ctrl_c() {
    let rig = Rig::adopted();
    for (arguments, expected) in [
        (&["logs", "-f", "kubelet"][..], "one"),
        (&["dmesg", "-f"], "[    1.500000] Linux version 6.12.1"),
        (&["get", "pods", "-w"], "EVENT   ID              PHASE     READY   AGE"),
    ] {
        let (child, lines) = start(&rig, arguments, 1);
        assert_eq!(lines, [expected]);
        assert_eq!(interrupt(child), (Some(0), String::new()), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let rig = Rig::adopted();
    let mut child = rig.command(&["get", "services", "-w", "-o", "json"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &[][..]));
}

#[test]
fn kernel_lines_as_objects() {
    let rig = Rig::adopted();
    let line = rig.json(&["dmesg", "-o", "json"]);
    assert_eq!((&line["severity"], &line["timestampUs"]), (&"info".into(), &1_500_000.into()));
}

#[test]
fn resources_are_got_by_any_name() {
    let rig = Rig::adopted();
    for kind in ["pod", "pods", "po", "PODS"] {
        assert_eq!(rig.json(&["get", kind, "-o", "json"])["items"][0]["id"], "default/hello", "{kind}");
    }
    let one = rig.json(&["get", "service", "kubelet", "-o", "json"]);
    assert_eq!((&one["kind"], &one["spec"]["state"]), (&"service".into(), &"running".into()));
    assert_eq!(rig.run(&["pods"]).ok(), rig.run(&["get", "pods"]).ok());
    rig.run(&["get", "unicorn"]).fails(6, &["unicorn", "the kinds are: service, pod"]);
    rig.run(&["get", "service", "nope"]).fails(6, &["nope", "the services are: apid, kubelet"]);
    let kinds = rig.run(&["api-resources"]).ok();
    assert!(
        kinds.starts_with("NAME      PLURAL     SHORT   DESCRIPTION\nservice   services   svc "),
        "{kinds}"
    );
}

#[test]
fn watched_events_are_lines_of_json_and_documents_of_yaml() {
    let rig = Rig::adopted();
    let (child, lines) = start(&rig, &["get", "service", "-w", "-o", "json"], 4);
    assert_eq!(interrupt(child).0, Some(0));
    let events: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["added", "bookmark", "modified", "removed"]);
    assert_eq!(events[3]["resource"]["id"], "apid");
    let (child, lines) = start(&rig, &["get", "service", "-w", "-o", "yaml"], 2);
    assert_eq!(interrupt(child).0, Some(0));
    assert_eq!(lines, ["---", "event: added"]);
}

#[test]
fn power() {
    let rig = Rig::adopted();
    assert_eq!(rig.run(&["reboot"]).ok(), "edge-1 is rebooting\n");
    assert_eq!(rig.run(&["reboot", "--wait"]).ok(), "edge-1 is back\n");
    assert_eq!(rig.json(&["shutdown", "-o", "json"])["action"], "shutdown");
    let powered: Vec<String> =
        rig.done().into_iter().filter(|done| done != "csr" && done != "install").collect();
    assert_eq!(powered, ["reboot", "reboot", "shutdown"]);
}

//! Logs survive an ordered reboot and a power cut.

#![allow(missing_docs)]

mod support;

use serde_json::Value;
use support::{bed, blueprint, up};
use testbed::node::Node;

#[test]
fn what_was_said_before_a_reboot_and_a_power_cut_is_kept() {
    let bed = bed();
    let mut node = up(&bed, &blueprint(&bed, "logs"));
    sources_are_listed(&node);

    let before = node.osctl(&["logs", "machined"]).unwrap();
    let boot = boot_id(&node);
    node.osctl(&["reboot", "--wait"]).unwrap();
    node.wait_for_pod().unwrap();
    let kept = node.osctl(&["logs", "machined", "--previous-boot"]).unwrap();
    assert!(kept.starts_with(&before), "{before}\n---\n{kept}");
    let kernel = node.osctl(&["dmesg", "--previous-boot"]).unwrap();
    assert!(kernel.contains("Linux version") && kernel.contains("cairn: init started"), "{kernel}");
    assert_eq!(boots(&node), [boot.clone(), boot_id(&node)]);
    patterns_and_times_narrow(&node, &boot);
    assert!(node.osctl(&["crashes"]).unwrap().lines().count() == 1, "nothing crashed");

    let before = node.osctl(&["logs", "machined"]).unwrap();
    node.machine.cut_power().unwrap();
    node.restart().unwrap();
    node.wait_for_pod().unwrap();
    let kept = node.osctl(&["logs", "machined", "--previous-boot"]).unwrap();
    assert!(before.starts_with(&kept) || kept.starts_with(&before), "{before}\n---\n{kept}");
    assert!(kept.contains("the internal API is served"), "what is older than the window is kept: {kept}");
}

fn sources_are_listed(node: &Node) {
    let list: Value = serde_json::from_str(&node.osctl(&["logs", "-o", "json"]).unwrap()).unwrap();
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    for source in ["apid", "audit", "containerd", "kernel", "kubelet", "machined"] {
        assert!(names.contains(&source), "no {source} among {names:?}");
    }
    let conditions = node.osctl(&["health", "--wait", "-o", "json"]).unwrap();
    let conditions: Value = serde_json::from_str(&conditions).unwrap();
    let logs = conditions["conditions"].as_array().unwrap().iter().find(|one| one["name"] == "logs");
    assert_eq!(logs.unwrap()["reason"], "Kept");
}

fn patterns_and_times_narrow(node: &Node, boot: &str) {
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let out = node.osctl(&[arguments, &["-o", "json"]].concat()).unwrap();
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let served = lines(&["logs", "machined", "--since", "1h", "--grep", "the internal API is .erved"]);
    assert_eq!(served.len(), 2, "one of each boot: {served:?}");
    assert_eq!(served[0]["boot"], boot);
    assert_eq!(served[1]["severity"], "info");
    assert!(lines(&["logs", "machined", "--until", "2020-01-01T00:00:00Z"]).is_empty());
    let asked =
        lines(&["logs", "audit", "--boot", &boot[..8], "--tail", "9", "--grep", "MachineService/Reboot"]);
    assert_eq!(asked.len(), 1, "{asked:?}");
    let output = node.osctl_output(&["logs", "machined", "--boot", "-7"]).unwrap();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
}

fn boot_id(node: &Node) -> String {
    let version: Value = serde_json::from_str(&node.osctl(&["version", "-o", "json"]).unwrap()).unwrap();
    version["node"]["bootId"].as_str().unwrap().to_owned()
}

fn boots(node: &Node) -> Vec<String> {
    let out = node.osctl(&["logs", "--boot", "list", "-o", "json"]).unwrap();
    let list: Value = serde_json::from_str(&out).unwrap();
    list["items"].as_array().unwrap().iter().map(|item| item["boot"].as_str().unwrap().to_owned()).collect()
}

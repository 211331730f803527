//! A blank node: found on its console, paired by its code, configured and adopted in one step; then no more of it.

#![allow(missing_docs)]

mod support;

use std::fs;

use support::{
    bed,
    blank::{self, Announced, announced, apply, apply_file, path, photographed},
};
use testbed::node::Node;

#[test]
fn a_blank_node_is_paired_configured_and_adopted() {
    let bed = bed();
    let mut node = blank::start(&bed, "blank");
    let announced = announced(&mut node);
    assert_eq!(photographed(&mut node), announced.url, "the screen shows something else");
    write_configuration(&node);

    nobody_gets_in_but_to_pair(&node, &announced);
    a_man_in_the_middle_is_noticed(&node, &announced);
    a_wrong_code_is_refused_and_counted(&mut node, &announced);
    a_bad_configuration_is_not_even_sent(&node);

    // The address in the URL is the node's own; -n says where the host sees it.
    let adopted = apply(&node, &["--url", &announced.url]);
    assert!(adopted.unwrap().contains("adopted"));
    node.wait_for_pod().unwrap();
    node.osctl(&["health", "--wait"]).unwrap();
    assert!(node.osctl(&["version"]).unwrap().contains("blank"), "the context is written");
    let log = node.osctl(&["dmesg"]).unwrap();
    assert!(log.contains(&announced.fingerprint), "{log}");
    assert!(
        !log.contains(&announced.code) && !log.contains('█'),
        "the pairing code is in the kernel's log: {log}"
    );

    maintenance_is_over(&node, &announced);
    node.osctl(&["reboot", "--wait"]).unwrap();
    node.wait_for_pod().unwrap();
    let lines = node.machine.console().lines().unwrap();
    let announcements = lines.iter().filter(|line| line.contains("cairn: maintenance https://")).count();
    assert_eq!(announcements, 1, "maintenance came back");
}

fn write_configuration(node: &Node) {
    let (secrets, name) = (node.secrets(), "blank");
    let (pod, file) = (path(node, "hello.yaml"), path(node, "machine.yaml"));
    let arguments = ["gen", "config", "--secrets", &secrets.to_string_lossy(), "--hostname", name];
    node.osctl(&[&arguments[..], &["--static-pod", &pod, "-o", &file]].concat()).unwrap();
}

fn nobody_gets_in_but_to_pair(node: &Node, announced: &Announced) {
    let refused = apply(node, &["--fingerprint", &announced.fingerprint]).unwrap_err();
    assert!(refused.contains("pairing code is missing"), "{refused}");
    let (secrets, endpoint) = (node.secrets(), node.endpoint());
    let secrets = secrets.to_string_lossy();
    let adopt = ["adopt", "--secrets", &secrets, "--fingerprint", &announced.fingerprint, "-n", &endpoint];
    assert!(!node.osctl_output(&adopt).unwrap().status.success(), "a node without configuration was adopted");
}

fn a_man_in_the_middle_is_noticed(node: &Node, announced: &Announced) {
    let other = "0".repeat(64);
    let refused = apply(node, &["--fingerprint", &other, "--code", &announced.code]).unwrap_err();
    assert!(refused.contains("someone in between") && refused.contains(&announced.fingerprint), "{refused}");
}

fn a_wrong_code_is_refused_and_counted(node: &mut Node, announced: &Announced) {
    let wrong = if announced.code.starts_with('0') { "1111-1111-1111" } else { "0000-0000-0000" };
    let refused = apply(node, &["--code", wrong]).unwrap_err();
    assert!(refused.contains("code is wrong") && refused.contains("4 tries are left"), "{refused}");
    let refused = apply(node, &["--fingerprint", &announced.fingerprint, "--code", wrong]).unwrap_err();
    assert!(refused.contains("3 tries are left"), "{refused}");
}

/// osctl sees errors before anything is sent: they cost no try.
fn a_bad_configuration_is_not_even_sent(node: &Node) {
    let text = fs::read_to_string(path(node, "machine.yaml")).unwrap();
    fs::write(path(node, "bad.yaml"), format!("{text}---\nkind: Nonsense\n")).unwrap();
    let refused = apply_file(node, "bad.yaml", &["--code", "0000-0000-0000"]).unwrap_err();
    assert!(refused.contains("Nonsense") && refused.contains("line"), "{refused}");
    node.osctl(&["gen", "secrets", "-o", &path(node, "other.yaml")]).unwrap();
    let (other, endpoint) = (path(node, "other.yaml"), node.endpoint());
    let arguments = ["apply-config", "--insecure", "-f", &path(node, "machine.yaml"), "--secrets", &other];
    let output = node.osctl_output(&[&arguments[..], &["-n", &endpoint]].concat()).unwrap();
    let refused = String::from_utf8(output.stderr).unwrap();
    assert!(refused.contains("does not name the CA of this secrets bundle"), "{refused}");
}

fn maintenance_is_over(node: &Node, announced: &Announced) {
    let refused =
        apply(node, &["--fingerprint", &announced.fingerprint, "--code", &announced.code]).unwrap_err();
    assert!(refused.contains("has a configuration already"), "{refused}");
    node.osctl(&["gen", "secrets", "-o", &path(node, "another.yaml")]).unwrap();
    let (other, endpoint) = (path(node, "another.yaml"), node.endpoint());
    let adopt = ["adopt", "--secrets", &other, "--fingerprint", &announced.fingerprint, "-n", &endpoint];
    let output = node.osctl_output(&adopt).unwrap();
    let refused = String::from_utf8(output.stderr).unwrap();
    assert!(refused.contains("does not know its CA"), "{refused}");
}

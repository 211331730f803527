//! From flashing to a pod and an API: the commands a user gives, and who is refused.

#![allow(missing_docs)]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
};

use pki::{Ca, Role, SubjectName, Validity};
use serde_json::Value;
use support::{SOON, bed, blueprint, up};
use testbed::{bed::Bed, http, node::Node};

#[test]
fn a_fresh_node_answers_every_command_and_refuses_strangers() {
    let bed = bed();
    let node = up(&bed, &blueprint(&bed, "first-light"));
    commands_answer(&node);
    resources_are_watched(&node);
    logs_are_followed(&node);
    wrong_names_are_explained(&node);
    strangers_are_refused(&bed, &node);
    a_reader_cannot_reboot(&node);
    the_kubelet_is_closed(&node);
    the_root_is_read_only(&node);
}

fn commands_answer(node: &Node) {
    let version: Value = json(node, &["version", "-o", "json"]);
    let text = version.to_string();
    assert!(text.contains("1.37.2") && text.contains("6.12"), "{text}");
    node.osctl(&["health", "--wait"]).unwrap();
    let services = node.osctl(&["services"]).unwrap();
    for service in ["machined", "apid", "containerd", "kubelet"] {
        let line =
            services.lines().find(|line| line.contains(service)).unwrap_or_else(|| panic!("{services}"));
        assert!(line.to_lowercase().contains("running"), "{line}");
    }
    let pods = node.osctl(&["pods"]).unwrap();
    assert!(pods.contains("hello") && pods.contains("probe"), "{pods}");
    let kinds = node.osctl(&["api-resources"]).unwrap();
    for kind in ["service", "disk", "volume", "link", "address", "pod"] {
        assert!(kinds.contains(kind), "{kinds}");
        let listed: Value = json(node, &["get", kind, "-o", "json"]);
        assert!(!listed.to_string().is_empty() && listed != Value::Array(Vec::new()), "{kind}: {listed}");
    }
    assert!(node.osctl(&["dmesg", "--tail", "200"]).unwrap().contains("cairn"));
}

fn resources_are_watched(node: &Node) {
    let mut watch =
        node.osctl_command(&["get", "service", "kubelet", "-w"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = watch.stdout.take().unwrap();
    let mut seen = read_until(&mut output, "kubelet");
    node.osctl(&["services", "restart", "kubelet"]).unwrap();
    seen.push_str(&read_until(&mut output, "kubelet"));
    watch.kill().unwrap();
    watch.wait().unwrap();
    node.osctl(&["health", "--wait"]).unwrap();
}

fn logs_are_followed(node: &Node) {
    assert!(!node.osctl(&["logs", "containerd", "--tail", "5"]).unwrap().is_empty());
    let mut follow =
        node.osctl_command(&["logs", "-f", "default/hello"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = follow.stdout.take().unwrap();
    http::get(node.forwarded(testbed::node::POD_PORT).unwrap(), "/").unwrap();
    read_until(&mut output, "hello");
    follow.kill().unwrap();
    follow.wait().unwrap();
}

fn wrong_names_are_explained(node: &Node) {
    for (arguments, code, expected) in [
        (&["services", "restart", "no-such"][..], 6, "no-such"),
        (&["get", "no-such-kind"], 6, "no-such-kind"),
        (&["logs", "no-such"], 6, "no-such"),
        (&["services", "stop", "machined"], 1, "essential"),
    ] {
        let output = node.osctl_output(arguments).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
    let output = node.osctl_output(&["--endpoint", "127.0.0.1:1", "--timeout", "5s", "version"]).unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}

fn strangers_are_refused(bed: &Bed, node: &Node) {
    let folder = node.files().folder();
    let (other, config) = (folder.join("other-secrets.yaml"), folder.join("other-osctl.yaml"));
    let name = node.osctl(&["config", "contexts"]).unwrap();
    assert!(name.contains("first-light"), "{name}");
    let other = other.to_string_lossy().into_owned();
    node.osctl(&["gen", "secrets", "-o", &other]).unwrap();
    let endpoint = node.endpoint();
    let stranger =
        |arguments: &[&str]| node.osctl_command(arguments).env("OSCTL_CONFIG", &config).output().unwrap();
    let made = stranger(&[
        "gen",
        "client",
        "--secrets",
        &other,
        "--role",
        "admin",
        "--name",
        "mallory",
        "--context",
        "m",
        "--endpoint",
        &endpoint,
    ]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let refused = stranger(&["--context", "m", "version"]);
    assert!(!refused.status.success());

    let port = node.forwarded(layout::API_PORT).unwrap();
    // No certificate, TLS 1.2, and one that expired before the image was made: the handshake must not end well.
    let [expired, valid] = [Validity::starting(1_000_000_000, 3600), Validity::UNLIMITED]
        .map(|validity| client_files(node, validity));
    for (extra, alert) in [
        (&["-tls1_3"][..], "alert certificate required"),
        (&["-tls1_2"], "alert protocol version"),
        (&["-cert", &expired.0, "-key", &expired.1], "alert certificate expired"),
    ] {
        let text = handshake(bed, port, extra);
        assert!(text.contains(alert), "{extra:?} was not refused with an {alert}: {text}");
    }
    let text = handshake(bed, port, &["-cert", &valid.0, "-key", &valid.1]);
    assert!(!text.contains("alert certificate"), "a good certificate is refused: {text}");
    let mut plain = TcpStream::connect(("127.0.0.1", port)).unwrap();
    plain.set_read_timeout(Some(SOON)).unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).ok();
    // At most a TLS alert record (type 21), never HTTP/2.
    assert!(answer.first().is_none_or(|byte| *byte == 21), "plain text was answered: {answer:?}");
}

/// What OpenSSL's client says of a connection with these arguments. What it sends is no HTTP/2, so that a server which
/// lets it in ends the connection too.
fn handshake(bed: &Bed, port: u16, arguments: &[&str]) -> String {
    let mut client = bed
        .programs()
        .command("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-alpn", "h2", "-ign_eof"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Where the handshake fails the pipe may be closed already.
    client.stdin.take().unwrap().write_all(&[b'x'; 64]).ok();
    let output = client.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Files with an admin's certificate of the fleet's CA and its key, valid when no `osctl` would make it so.
fn client_files(node: &Node, validity: Validity) -> (String, String) {
    let text = std::fs::read_to_string(node.secrets()).unwrap();
    let bundle: Value = serde_saphyr::from_str(&text).unwrap();
    let [certificate, key] = ["certificate", "key"].map(|part| bundle["ca"][part].as_str().unwrap());
    let ca = Ca::from_pem(certificate, key).unwrap();
    let client = ca.issue_client(&SubjectName::parse("old").unwrap(), Role::Admin, validity).unwrap();
    let write = |end: &str, content: &str| {
        let path = node.files().folder().join(format!("{}-{end}", validity.not_after_s));
        std::fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    };
    (write("client.crt", &client.certificate.to_pem()), write("client.key", &client.key.to_pem()))
}

fn a_reader_cannot_reboot(node: &Node) {
    let secrets = node.secrets().to_string_lossy().into_owned();
    let endpoint = node.endpoint();
    // The reader's context takes the node's identity over from the adopted one.
    node.osctl(&[
        "gen",
        "client",
        "--secrets",
        &secrets,
        "--role",
        "reader",
        "--name",
        "rita",
        "--context",
        "reader",
        "--endpoint",
        &endpoint,
    ])
    .unwrap();
    node.osctl(&["--context", "reader", "version"]).unwrap();
    for denied in [&["reboot"][..], &["services", "restart", "kubelet"]] {
        let output = node.osctl_output(&[&["--context", "reader"], denied].concat()).unwrap();
        assert_eq!(output.status.code(), Some(5), "{denied:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn the_kubelet_is_closed(node: &Node) {
    // Seen from the node's own address, as the LAN would: nothing listens there; on loopback a certificate is asked for.
    let addresses = json(node, &["get", "address", "-o", "json"]).to_string();
    assert!(addresses.contains("10.0.2.15"), "{addresses}");
    let refused = node.probe("GET", "/connect?host=10.0.2.15&port=10250").unwrap_err().to_string();
    assert!(refused.to_lowercase().contains("refused"), "{refused}");
    node.probe("GET", "/connect?host=127.0.0.1&port=10250").unwrap();
}

fn the_root_is_read_only(node: &Node) {
    let error = node.probe("POST", "/write?path=/host/usr/bin/x").unwrap_err().to_string();
    assert!(error.contains("EROFS") || error.contains("Read-only"), "{error}");
    let mounts = node.probe("GET", "/read?path=/proc/1/mounts&max=65536").unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(root.contains(" erofs ro"), "{root}");
}

fn json(node: &Node, arguments: &[&str]) -> Value {
    serde_json::from_str(&node.osctl(arguments).unwrap()).unwrap()
}

fn read_until(output: &mut impl std::io::Read, text: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&seen).contains(text) {
        assert_eq!(
            output.read(&mut byte).unwrap(),
            1,
            "ended before {text:?}: {}",
            String::from_utf8_lossy(&seen)
        );
        seen.push(byte[0]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

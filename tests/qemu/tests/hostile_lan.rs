//! The first network that a node meets is hostile: wrong codes are limited, a man in the middle gains nothing, and of
//! two admins one gets the node, whole.

#![allow(missing_docs)]

mod support;

use std::{process::Output, thread};

use pairing::Code;
use support::{
    BOOT, bed,
    blank::{self, Announced, announced, path, words},
    middleman::Middleman,
};
use testbed::node::Node;

#[test]
fn a_hostile_lan_gains_nothing() {
    let bed = bed();
    let mut node = blank::start(&bed, "hostile-lan");
    let first = announced(&mut node);
    for admin in ["alice", "bob"] {
        equip(&node, admin);
    }
    a_man_in_the_middle_gains_nothing(&node, &first);
    wrong_codes_are_limited(&mut node, &first);
    it_still_waits(&node, &first);

    node.machine.reset().unwrap();
    let second = announced(&mut node);
    assert_eq!(second.fingerprint, first.fingerprint, "the attack changed the node's key");
    assert_ne!(second.code, first.code);
    let refused = refusal(&node, &["--code", &first.code]);
    assert!(refused.contains("code is wrong") && refused.contains("4 tries are left"), "{refused}");
    let admin = of_two_admins_one_gets_it(&node, &second.url);
    a_second_one_comes_too_late(&node, &admin, &second.url);
}

/// Secrets and a configuration of a fleet of their own.
fn equip(node: &Node, admin: &str) {
    let secrets = secrets(node, admin);
    node.osctl(&["gen", "secrets", "-o", &secrets]).unwrap();
    let file = configuration(node, admin);
    node.osctl(&["gen", "config", "--secrets", &secrets, "--hostname", admin, "-o", &file]).unwrap();
}

fn secrets(node: &Node, admin: &str) -> String {
    path(node, &format!("{admin}-secrets.yaml"))
}

fn configuration(node: &Node, admin: &str) -> String {
    path(node, &format!("{admin}.yaml"))
}

/// osctl of an admin, with contexts of his own.
fn osctl(node: &Node, admin: &str, arguments: &[&str]) -> Output {
    let contexts = path(node, &format!("{admin}-osctl.yaml"));
    node.osctl_command(arguments).env("OSCTL_CONFIG", contexts).output().unwrap()
}

fn apply(node: &Node, admin: &str, endpoint: &str, more: &[&str]) -> Output {
    let (file, secrets) = (configuration(node, admin), secrets(node, admin));
    let arguments = ["apply-config", "--insecure", "-f", &file, "--secrets", &secrets, "-n", endpoint];
    osctl(node, admin, &[&arguments, more].concat())
}

/// The admin takes all from the QR code but the address: the host sees the node at another one.
fn take(node: &Node, admin: &str, url: &str) -> Output {
    apply(node, admin, &node.endpoint(), &["--url", url])
}

/// Why Alice does not get the node.
fn refusal(node: &Node, more: &[&str]) -> String {
    refusal_at(node, &node.endpoint(), more)
}

fn refusal_at(node: &Node, endpoint: &str, more: &[&str]) -> String {
    let output = apply(node, "alice", endpoint, more);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{more:?} was enough: {said}");
    said
}

fn a_man_in_the_middle_gains_nothing(node: &Node, announced: &Announced) {
    let middleman = Middleman::before(node.forwarded(layout::API_PORT).unwrap());
    let apply = |more: &[&str]| refusal_at(node, &middleman.endpoint, more);
    for fingerprint in [&announced.fingerprint, &words(announced)] {
        let refused = apply(&["--fingerprint", fingerprint, "--code", &announced.code]);
        assert!(
            refused.contains("someone in between") && !refused.contains(&announced.fingerprint),
            "{refused}"
        );
        assert!(middleman.heard().is_empty(), "something was said to him");
    }
    let refused = apply(&["--code", &announced.code]);
    assert!(refused.contains("someone in between; nothing was sent"), "{refused}");
    assert!(refused.contains("4 tries are left"), "he had the node prove itself more than once: {refused}");
    let heard = middleman.heard();
    let says = |text: &[u8]| heard.windows(text.len()).any(|part| part == text);
    assert!(says(b"PRI * HTTP/2.0"), "he was not in between");
    let code = announced.code.replace('-', "");
    for secret in ["clientCAs", "alice", &announced.code, &code] {
        assert!(!says(secret.as_bytes()), "he heard {secret}");
    }
}

fn wrong_codes_are_limited(node: &mut Node, announced: &Announced) {
    let wrong = wrong_code(announced);
    for left in (0..4).rev() {
        let left = if left == 0 { "no try is left".to_owned() } else { format!("{left} tries are left") };
        let refused = refusal(node, &["--fingerprint", &announced.fingerprint, "--code", &wrong]);
        assert!(refused.contains("code is wrong") && refused.contains(&left), "{refused}");
    }
    for code in [&wrong, &announced.code] {
        let refused = refusal(node, &["--fingerprint", &announced.fingerprint, "--code", code]);
        assert!(refused.contains("tries of the pairing code are spent; reboot the node"), "{refused}");
    }
    node.machine.wait_for("all 5 tries of the pairing code are spent; reboot the node", BOOT).unwrap();
    // The same moment is told twice, in either order.
    node.machine.console().rewind();
    node.machine.wait_for("code of no use: reboot for a new one", BOOT).unwrap();
}

fn wrong_code(announced: &Announced) -> String {
    let code = [[0; 8], [1; 8]].map(|random| Code::from_random(random).to_text().to_string());
    code.into_iter().find(|code| *code != announced.code).unwrap()
}

/// It answers who asks for its state, and nothing else.
fn it_still_waits(node: &Node, announced: &Announced) {
    let refused = refusal(node, &["--fingerprint", &announced.fingerprint]);
    assert!(refused.contains("pairing code is missing"), "{refused}");
}

/// Both have read the console, and both come at once. Returns who got the node.
fn of_two_admins_one_gets_it(node: &Node, url: &str) -> String {
    let admins = ["alice", "bob"];
    let outcomes = thread::scope(|scope| {
        let tries = admins.map(|admin| scope.spawn(move || (admin, take(node, admin, url))));
        tries.map(|tried| tried.join().unwrap())
    });
    let (winners, losers): (Vec<_>, Vec<_>) =
        outcomes.iter().partition(|(_, output)| output.status.success());
    let [(winner, _)] = winners[..] else { panic!("not one admin has the node: {outcomes:?}") };
    let [(loser, output)] = losers[..] else { panic!("not one admin is refused: {outcomes:?}") };
    let said = String::from_utf8_lossy(&output.stderr);
    let reasons = [
        "another configuration is being taken",
        "has taken its first configuration",
        "has a configuration of another fleet already",
    ];
    assert!(reasons.iter().any(|reason| said.contains(reason)), "{said}");
    assert!(!osctl(node, loser, &["version"]).status.success(), "{loser} has a context");
    let version = osctl(node, winner, &["version"]);
    assert!(String::from_utf8_lossy(&version.stdout).contains(winner), "{version:?}");
    let configured = osctl(node, winner, &["get", "config"]);
    let configured = String::from_utf8_lossy(&configured.stdout).into_owned();
    assert!(
        configured.contains(&format!("hostname: {winner}")) && !configured.contains(loser),
        "{configured}"
    );
    (*winner).to_owned()
}

fn a_second_one_comes_too_late(node: &Node, admin: &str, url: &str) {
    let other = if admin == "alice" { "bob" } else { "alice" };
    let output = take(node, other, url);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("has a configuration of another fleet already"), "{said}");
    assert!(osctl(node, admin, &["health", "--wait"]).status.success(), "the node is not what it should be");
}

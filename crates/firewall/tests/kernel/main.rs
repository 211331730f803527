//! Tables on the real kernel, in namespaces of their own: who gets in from outside, from a pod, and to a pod.
//!
//! Needs root, iproute2 and nft; without them it says so and passes.

mod lab;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::IpAddr;

use firewall::{
    API_PORT, Firewall, Policy, Ports, Protocol, Rule, Ruleset, Source, Surroundings, Table, removal, ruleset,
};
use lab::{FOREIGN, HOST_PORT, Lab, NODE_V4, NODE_V6, POD_BRIDGE, POD_GATEWAY, Seen};
use netplan::Prefix;

const WEB: u16 = 80;
const METRICS: u16 = 9100;
/// Nobody listens there.
const SILENT: u16 = 22;
const LISTENED: [u16; 3] = [WEB, METRICS, API_PORT];
const SCANNED: [u16; 4] = [SILENT, WEB, METRICS, API_PORT];

fn subnet(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap())
}

fn compiled(firewall: &Firewall) -> Ruleset {
    let links = BTreeMap::new();
    ruleset(firewall, &Surroundings { pods: (POD_BRIDGE, subnet("10.244.0.0/24")), links: &links })
}

fn rule(name: &str, protocol: Protocol, ports: &[u16], subnets: &[&str]) -> Rule {
    let source = Source { subnets: subnets.iter().map(|text| subnet(text)).collect(), interfaces: vec![] };
    Rule { name: name.into(), protocol, ports: ports.iter().map(|port| Ports::one(*port)).collect(), source }
}

/// The office reaches the web server in both families, and everybody's pings are answered.
fn office() -> Firewall {
    let web = rule("web", Protocol::Tcp, &[WEB], &["192.0.2.0/24", "2001:db8::/64"]);
    let other = rule("other", Protocol::Tcp, &[METRICS], &["198.51.100.0/24", "2001:db8:1::/64"]);
    let ping = rule("ping", Protocol::Icmp, &[], &[]);
    Firewall { allow: vec![web, other, ping], ..Firewall::default() }
}

#[test]
fn a_scan_shows_what_is_configured_and_pods_notice_nothing() {
    let name = "a_scan_shows_what_is_configured_and_pods_notice_nothing";
    let Some(lab) = Lab::new(name) else { return };
    let _listening = lab.listen(&LISTENED);
    let everything = scan_both(&lab, Seen::Open);
    assert_eq!(
        everything,
        [(SILENT, Seen::Closed), (WEB, Seen::Open), (METRICS, Seen::Open), (API_PORT, Seen::Open)]
    );
    pods_talk(&lab, Seen::Open);
    let foreign = lab.foreign();

    only_what_is_configured_is_seen(&lab);
    a_broken_script_changes_nothing(&lab);
    a_connection_outlives_another_table(&lab);
    pods_can_be_kept_out(&lab);
    the_api_can_be_narrowed(&lab);
    a_table_that_lost_something_is_not_the_same(&lab);
    the_largest_firewall_is_taken(&lab);

    lab.apply(&removal()).unwrap();
    lab.apply(&removal()).unwrap();
    assert!(lab.list().is_none());
    assert_eq!(scan_both(&lab, Seen::Open), everything);
    let now = lab.foreign();
    assert_eq!(now, foreign, "another table was touched");
    assert!(now.contains(FOREIGN));
}

/// What the peer sees; `web` is how both families must agree.
fn scan_both(lab: &Lab, web: Seen) -> Vec<(u16, Seen)> {
    // So that IPv6 needs its neighbours found anew.
    lab.forget_neighbours();
    let [v4, v6] = [NODE_V4, NODE_V6].map(|address| lab.scan_from_peer(address, &SCANNED));
    assert_eq!(v4, v6, "the families differ");
    assert_eq!(v4[1], (WEB, web));
    v4
}

fn pods_talk(lab: &Lab, to_node: Seen) {
    assert_eq!(lab.scan_from_peer(NODE_V4, &[HOST_PORT]), [(HOST_PORT, Seen::Open)], "the pod's host port");
    assert_eq!(lab.scan_from_pod(POD_GATEWAY, &[METRICS]), [(METRICS, to_node)], "from the pod to the node");
    assert_eq!(lab.scan_from_node(lab::POD, &[lab::POD_PORT]), [(lab::POD_PORT, Seen::Open)], "a probe");
    assert_eq!(lab.scan_from_node([127, 0, 0, 1].into(), &[METRICS]), [(METRICS, Seen::Open)], "loopback");
}

fn put(lab: &Lab, firewall: &Firewall) -> Ruleset {
    let wanted = compiled(firewall);
    lab.apply(&wanted.to_string()).unwrap_or_else(|error| panic!("{error}\n{wanted}"));
    assert!(table(lab).is(&wanted), "{wanted}");
    wanted
}

fn table(lab: &Lab) -> Table {
    Table::read(&lab.list().expect("no table")).unwrap()
}

fn packets(lab: &Lab, counter: &str) -> u64 {
    table(lab).counters[counter].packets
}

fn only_what_is_configured_is_seen(lab: &Lab) {
    put(lab, &office());
    assert_eq!(packets(lab, "rule-web"), 0);
    let seen = scan_both(lab, Seen::Open);
    assert_eq!(
        seen,
        [(SILENT, Seen::Silent), (WEB, Seen::Open), (METRICS, Seen::Silent), (API_PORT, Seen::Open)]
    );
    pods_talk(lab, Seen::Open);
    assert!(packets(lab, "rule-web") >= 2, "one for each family");
    assert!(packets(lab, "cairn-default") >= 4 && packets(lab, "cairn-api") >= 2);
    assert!(packets(lab, "cairn-essential") >= 1, "neighbours were found");
    assert!(packets(lab, "cairn-pods") >= 1);
    assert_eq!(packets(lab, "rule-other"), 0);
    assert!(lab.ping(NODE_V4) && lab.ping(NODE_V6));
    put(lab, &Firewall { allow: vec![], ..office() });
    assert!(!lab.ping(NODE_V4) && !lab.ping(NODE_V6));
    put(lab, &Firewall { default: Policy::Accept, allow: vec![], ..office() });
    assert_eq!(scan_both(lab, Seen::Open)[2], (METRICS, Seen::Open));
    assert!(packets(lab, "cairn-default") >= 2, "what would be dropped is counted");
}

fn a_broken_script_changes_nothing(lab: &Lab) {
    let wanted = put(lab, &office());
    scan_both(lab, Seen::Open);
    let before = table(lab);
    let broken = compiled(&Firewall::default()).to_string().replace("tcp dport 50000", "tcp dport nonsense");
    let error = lab.apply(&broken).unwrap_err();
    assert!(error.contains("nonsense"), "{error}");
    assert_eq!(table(lab), before);
    assert!(before.is(&wanted));
}

fn a_connection_outlives_another_table(lab: &Lab) {
    put(lab, &office());
    let (mut near, mut far) = lab.connect_from_peer(NODE_V4, WEB + 1, || {
        put(lab, &Firewall { allow: vec![rule("one", Protocol::Tcp, &[WEB + 1], &[])], ..office() });
    });
    put(lab, &Firewall { allow: vec![], ..office() });
    let mut byte = [0];
    near.write_all(b"x").unwrap();
    far.read_exact(&mut byte).unwrap();
    far.write_all(b"y").unwrap();
    near.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"y");
    assert_eq!(lab.scan_from_peer(NODE_V4, &[WEB + 1]), [(WEB + 1, Seen::Silent)], "a new one is not let in");
}

fn pods_can_be_kept_out(lab: &Lab) {
    put(lab, &Firewall { pods: Policy::Deny, ..office() });
    pods_talk(lab, Seen::Silent);
    assert_eq!(lab.scan_from_pod(POD_GATEWAY, &[API_PORT]), [(API_PORT, Seen::Open)]);
}

fn the_api_can_be_narrowed(lab: &Lab) {
    let all = rule("all", Protocol::Tcp, &[], &[]);
    let from = |subnets: &[&str]| {
        let source =
            Source { subnets: subnets.iter().map(|text| subnet(text)).collect(), interfaces: vec![] };
        Firewall { api: Some(source), allow: vec![all.clone()], default: Policy::Accept, ..office() }
    };
    put(lab, &from(&["192.0.2.2/32", "2001:db8::2/128"]));
    assert_eq!(scan_both(lab, Seen::Open)[3], (API_PORT, Seen::Open));
    assert_eq!(lab.scan_from_pod(POD_GATEWAY, &[API_PORT]), [(API_PORT, Seen::Silent)]);
    assert!(packets(lab, "cairn-api-denied") >= 1);
    put(lab, &from(&["192.0.2.3/32"]));
    assert_eq!(scan_both(lab, Seen::Open)[3], (API_PORT, Seen::Silent));
    let by = |link: &str| Source { interfaces: vec![link.into()], ..Source::default() };
    put(lab, &Firewall { api: Some(by("eth0")), ..office() });
    assert_eq!(scan_both(lab, Seen::Open)[3], (API_PORT, Seen::Open));
    put(lab, &Firewall { api: Some(by("eth9")), ..office() });
    assert_eq!(scan_both(lab, Seen::Open)[3], (API_PORT, Seen::Silent));
}

fn a_table_that_lost_something_is_not_the_same(lab: &Lab) {
    let wanted = put(lab, &office());
    lab.apply("flush chain inet cairn input\n").unwrap();
    assert!(!table(lab).is(&wanted));
    put(lab, &office());
    lab.apply("add rule inet cairn input accept\n").unwrap();
    assert!(!table(lab).is(&wanted));
}

/// As much of everything as a configuration can ask for.
fn the_largest_firewall_is_taken(lab: &Lab) {
    const MANY: u8 = 64;
    let v4 = (0..MANY / 2).map(|net| Prefix::new(IpAddr::from([10, net, 0, 0]), 16));
    let v6 =
        (0..MANY / 2).map(|net| Prefix::new(IpAddr::from([0x2001, 0xdb8, net.into(), 0, 0, 0, 0, 0]), 48));
    let subnets: Vec<Prefix> = v4.chain(v6).collect();
    let interfaces: Vec<String> = (0..MANY).map(|link| format!("interface-{link:05}")).collect();
    let ports: Vec<Ports> =
        (0..u16::from(MANY)).map(|at| Ports { first: at * 1000 + 1, last: at * 1000 + 500 }).collect();
    let allow = (0..MANY).map(|number| Rule {
        name: format!("{number}-{}", "n".repeat(60)),
        protocol: if number % 2 == 0 { Protocol::Tcp } else { Protocol::Udp },
        ports: ports.clone(),
        source: Source { subnets: subnets.clone(), interfaces: interfaces.clone() },
    });
    put(lab, &Firewall { allow: allow.collect(), ..Firewall::default() });
}

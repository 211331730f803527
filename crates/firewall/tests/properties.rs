//! Whatever a firewall says, its table does just that, names no other table, and shuts nobody in or out by chance.

use std::collections::BTreeMap;
use std::net::IpAddr;

use firewall::{
    API_PORT, Firewall, Match, Policy, Ports, Protocol, Rule, Ruleset, Source, Surroundings, Verdict, ruleset,
};
use netplan::Prefix;
use proptest::prelude::*;

/// Firewalls a run.
const CASES: u32 = 1_000;
const LINKS: [&str; 4] = ["eth0", "office", "trunk", "pods0"];
const POD_BRIDGE: &str = "pods0";

fn pod_network() -> Prefix {
    Prefix::new([10, 244, 0, 0].into(), 24)
}

/// "trunk" is the document's name of enp2s0; that of "office" is not there in every second case.
fn links(has_office: bool) -> BTreeMap<String, Option<String>> {
    let office = has_office.then(|| "enp3s0".to_owned());
    [("trunk".to_owned(), Some("enp2s0".to_owned())), ("office".to_owned(), office)].into()
}

fn kernel_name(links: &BTreeMap<String, Option<String>>, name: &str) -> Option<String> {
    links.get(name).cloned().unwrap_or_else(|| Some(name.to_owned()))
}

#[derive(Clone, Debug)]
struct Packet {
    link: String,
    from: IpAddr,
    to_group: bool,
    established: bool,
    content: Content,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Tcp {
        to: u16,
    },
    Udp {
        from: u16,
        to: u16,
    },
    /// ICMP or ICMPv6, by the sender's family.
    Icmp(u8),
    Igmp,
}

/// What the configuration means, said another way than the compiler does.
fn is_let_in(firewall: &Firewall, links: &BTreeMap<String, Option<String>>, packet: &Packet) -> bool {
    let v4 = packet.from.is_ipv4();
    let from = |source: &Source| {
        let by = source
            .interfaces
            .iter()
            .filter_map(|name| kernel_name(links, name))
            .any(|name| name == packet.link);
        let of = source.subnets.iter().any(|subnet| subnet.contains(packet.from));
        (source.interfaces.is_empty() || by) && (source.subnets.is_empty() || of)
    };
    let essential = match packet.content {
        Content::Icmp(kind) if v4 => [3, 11, 12].contains(&kind),
        Content::Icmp(kind) => [1, 2, 3, 4, 130, 131, 132, 134, 135, 136, 143].contains(&kind),
        Content::Igmp => v4,
        Content::Udp { from: 67, to: 68 } => v4,
        Content::Udp { to: 5353, .. } => v4 && packet.to_group,
        Content::Udp { .. } | Content::Tcp { .. } => false,
    };
    if packet.link == "lo" || packet.established || essential {
        return true;
    }
    if matches!(packet.content, Content::Tcp { to: API_PORT }) {
        return firewall.api.as_ref().is_none_or(from);
    }
    let is_pod = packet.link == POD_BRIDGE && pod_network().contains(packet.from);
    let names = |rule: &Rule| {
        let port = |port| rule.ports.is_empty() || rule.ports.iter().any(|ports| ports.contains(port));
        match (rule.protocol, packet.content) {
            (Protocol::Tcp, Content::Tcp { to }) | (Protocol::Udp, Content::Udp { to, .. }) => port(to),
            (Protocol::Icmp, Content::Icmp(kind)) => kind == if v4 { 8 } else { 128 },
            _ => false,
        }
    };
    is_pod && firewall.pods == Policy::Accept
        || firewall.allow.iter().any(|rule| names(rule) && from(&rule.source))
        || firewall.default == Policy::Accept
}

/// What the kernel would do.
fn verdict(ruleset: &Ruleset, packet: &Packet) -> bool {
    let decided = ruleset.statements.iter().find_map(|statement| {
        statement.verdict.filter(|_| statement.matches.iter().all(|part| holds(part, packet)))
    });
    decided.map_or(ruleset.policy == Policy::Accept, |verdict| verdict == Verdict::Accept)
}

fn holds(part: &Match, packet: &Packet) -> bool {
    let v4 = packet.from.is_ipv4();
    match (part, packet.content) {
        (Match::Links(names), _) => names.contains(&packet.link),
        (Match::Established, _) => packet.established,
        (Match::Sender(subnets), _) => subnets.iter().any(|subnet| subnet.contains(packet.from)),
        (Match::Group(_), _) => v4 && packet.to_group,
        (Match::Ipv4, _) => v4,
        (Match::Ipv4Protocol(number), Content::Igmp) => v4 && *number == 2,
        (Match::SourcePort { protocol: Protocol::Udp, port }, Content::Udp { from, .. }) => *port == from,
        (Match::Destination { protocol: Protocol::Tcp, ports }, Content::Tcp { to })
        | (Match::Destination { protocol: Protocol::Udp, ports }, Content::Udp { to, .. }) => {
            ports.iter().any(|ports| ports.contains(to))
        }
        (Match::Icmp(kinds), Content::Icmp(kind)) => v4 && kinds.contains(&kind),
        (Match::Icmpv6(kinds), Content::Icmp(kind)) => !v4 && kinds.contains(&kind),
        _ => false,
    }
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![Just(API_PORT), Just(80), Just(68), Just(5353), Just(65_535), 1_u16..=100, 1_u16..=65_535]
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0_u8..4, any::<u8>()).prop_map(|(net, host)| IpAddr::from([192, 0, net, host])),
        (0_u8..3, any::<u8>()).prop_map(|(net, host)| IpAddr::from([10, 244, net, host])),
        (0_u16..4, any::<u16>()).prop_map(|(net, host)| IpAddr::from([0x2001, 0xdb8, net, 0, 0, 0, 0, host])),
    ]
}

fn subnet() -> impl Strategy<Value = Prefix> {
    (address(), 0_u8..=128).prop_map(|(address, length)| {
        let length = if address.is_ipv4() { length.min(32) } else { length };
        let network = match address {
            IpAddr::V4(own) => {
                IpAddr::V4((own.to_bits() & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)).into())
            }
            IpAddr::V6(own) => IpAddr::V6(
                (own.to_bits() & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)).into(),
            ),
        };
        Prefix::new(network, length)
    })
}

fn source() -> impl Strategy<Value = Source> {
    let interfaces = prop::sample::subsequence(&LINKS[..], 0..=2);
    (prop::collection::vec(subnet(), 0..5), interfaces).prop_map(|(subnets, interfaces)| Source {
        subnets,
        interfaces: interfaces.into_iter().map(str::to_owned).collect(),
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let range =
        (port(), 0_u16..300).prop_map(|(first, more)| Ports { first, last: first.saturating_add(more) });
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Icmp]);
    (protocol, prop::collection::vec(range, 1..6), source()).prop_map(|(protocol, ports, source)| Rule {
        name: String::new(),
        ports: if protocol == Protocol::Icmp { Vec::new() } else { ports },
        protocol,
        source,
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![Policy::Deny, Policy::Accept])
}

fn any_firewall() -> impl Strategy<Value = Firewall> {
    (policy(), prop::option::of(source()), policy(), prop::collection::vec(rule(), 0..6)).prop_map(
        |(default, api, pods, mut allow)| {
            for (number, rule) in allow.iter_mut().enumerate() {
                rule.name = format!("r{number}");
            }
            Firewall { default, api, pods, allow }
        },
    )
}

fn packet() -> impl Strategy<Value = Packet> {
    let content = prop_oneof![
        port().prop_map(|to| Content::Tcp { to }),
        (prop_oneof![Just(67_u16), port()], port()).prop_map(|(from, to)| Content::Udp { from, to }),
        prop_oneof![Just(8_u8), Just(128), Just(134), any::<u8>()].prop_map(Content::Icmp),
        Just(Content::Igmp),
    ];
    let link = prop::sample::select(vec!["lo", "eth0", "enp2s0", "enp3s0", "office", "trunk", "pods0"]);
    let rarely = || prop::bool::weighted(0.1);
    (link, address(), any::<bool>(), rarely(), content).prop_map(
        |(link, from, to_group, established, content)| Packet {
            link: link.to_owned(),
            from,
            to_group,
            established,
            content,
        },
    )
}

/// Ports that a line of the text names, as nft reads them.
fn ports_of(line: &str) -> Vec<Ports> {
    let Some((_, rest)) = line.split_once(" dport ") else { return Vec::new() };
    let rest = rest.split(" counter").next().unwrap();
    let items = rest.trim_matches(['{', '}', ' ']).split(", ");
    let number = |text: &str| text.parse::<u16>().unwrap_or_else(|_| panic!("{line}"));
    items
        .map(|item| match item.split_once('-') {
            Some((first, last)) => Ports { first: number(first), last: number(last) },
            None => Ports::one(number(item)),
        })
        .collect()
}

fn check_text(firewall: &Firewall, text: &str) -> Result<(), TestCaseError> {
    let mut lines = text.lines();
    prop_assert_eq!(lines.next(), Some("add table inet cairn"));
    prop_assert_eq!(lines.next(), Some("delete table inet cairn"));
    prop_assert_eq!(lines.next(), Some("table inet cairn {"));
    prop_assert_eq!(text.matches("table").count(), 3, "one table and no other: {}", text);
    prop_assert!(
        !text.contains("flush") && !text.contains("forward") && !text.contains("include"),
        "{}",
        text
    );
    prop_assert_eq!(text.matches('{').count(), text.matches('}').count());
    prop_assert_eq!(text.matches("hook ").count(), 1);
    for rule in &firewall.allow {
        let counter = format!("\"rule-{}\"", rule.name);
        for line in text.lines().filter(|line| line.contains(&counter) && rule.protocol != Protocol::Icmp) {
            let read = ports_of(line);
            prop_assert!(read.windows(2).all(|pair| pair[0].last < pair[1].first), "they overlap: {}", line);
            let edges = rule.ports.iter().chain(&read).flat_map(|ports| {
                [ports.first, ports.last, ports.first.saturating_sub(1), ports.last.saturating_add(1)]
            });
            for port in edges {
                let meant = rule.ports.iter().any(|ports| ports.contains(port));
                prop_assert_eq!(read.iter().any(|ports| ports.contains(port)), meant, "{}: {}", port, line);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn a_table_does_what_its_firewall_says(
        firewall in any_firewall(),
        has_office in any::<bool>(),
        packets in prop::collection::vec(packet(), 20),
    ) {
        let links = links(has_office);
        let surroundings = Surroundings { pods: (POD_BRIDGE, pod_network()), links: &links };
        let table = ruleset(&firewall, &surroundings);
        for packet in &packets {
            let expected = is_let_in(&firewall, &links, packet);
            prop_assert_eq!(verdict(&table, packet), expected, "{:?}\n{}", packet, table);
        }
        let used = table.statements.iter().filter_map(|statement| statement.counter.as_ref());
        prop_assert!(used.into_iter().all(|name| table.counters.contains(name)));
        let text = table.to_string();
        prop_assert_eq!(&ruleset(&firewall.clone(), &surroundings).to_string(), &text);
        check_text(&firewall, &text)?;
    }

    #[test]
    fn the_api_is_open_wherever_nobody_narrows_it(firewall in any_firewall(), link in prop::sample::select(LINKS.to_vec()), from in address()) {
        let firewall = Firewall { api: None, ..firewall };
        let links = links(true);
        let table = ruleset(&firewall, &Surroundings { pods: (POD_BRIDGE, pod_network()), links: &links });
        let packet = Packet { link: link.to_owned(), from, to_group: false, established: false, content: Content::Tcp { to: API_PORT } };
        prop_assert!(verdict(&table, &packet));
    }
}

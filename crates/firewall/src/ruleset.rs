//! From what the configuration says to the table.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use netplan::Prefix;

use crate::essential::essential;
use crate::model::Source;
use crate::{API_PORT, Firewall, Match, Policy, Ports, Protocol, Rule, Statement, Verdict, normal};

/// Family and name of the one table that is touched.
const TABLE: &str = "inet cairn";
/// ICMP and ICMPv6 types of echo requests (RFC 792, RFC 4443).
const ECHO: (u8, u8) = (8, 128);
const LOOPBACK: &str = "lo";
/// What counters of rules, and of what is built in, are called before their own name: an identifier begins with a letter.
const OF_RULE: &str = "rule-";
const OF_CAIRN: &str = "cairn-";
/// Before the number of the text, in the name of a counter that nothing counts: the one place that every nft shows.
pub(crate) const TEXT: &str = "text-";

/// What is counted besides rules: what keeps the node alive, the API, who is kept from it, pods, and what met no rule.
pub const BUILT_IN: [&str; 5] = ["essential", "api", "api-denied", "pods", "default"];

/// What the table depends on besides the configuration of the firewall.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Bridge of the pod network, and the network.
    pub pods: (&'a str, Prefix),
    /// The kernel's names of links whose documents have another one; none where there is no such link.
    pub links: &'a BTreeMap<String, Option<String>>,
}

/// The whole table. Shows itself as a transaction that puts it in the place of the one before, and touches no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// What becomes of what no statement decides.
    pub policy: Policy,
    /// Names of all counters.
    pub counters: Vec<String>,
    /// In the order in which they are asked.
    pub statements: Vec<Statement>,
}

/// The counter of a rule.
#[must_use]
pub fn counter_of_rule(name: &str) -> String {
    format!("{OF_RULE}{name}")
}

/// The counter of what is built in, one of [`BUILT_IN`].
#[must_use]
pub fn counter_of_built_in(name: &str) -> String {
    format!("{OF_CAIRN}{name}")
}

/// The transaction that takes the table away, if it is there.
#[must_use]
pub fn removal() -> String {
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

/// The table of a firewall.
#[must_use]
pub fn ruleset(firewall: &Firewall, surroundings: &Surroundings<'_>) -> Ruleset {
    let mut draft = Draft { links: surroundings.links, statements: Vec::new() };
    let accept = Some(Verdict::Accept);
    draft.add(vec![Match::Links(vec![LOOPBACK.to_owned()])], None, accept);
    draft.add(vec![Match::Established], None, accept);
    for matches in essential() {
        draft.add(matches, Some(counter_of_built_in("essential")), accept);
    }
    draft.api(firewall.api.as_ref());
    if firewall.pods == Policy::Accept {
        let (bridge, network) = surroundings.pods;
        let matches = vec![Match::Links(vec![bridge.to_owned()]), Match::Sender(vec![network])];
        draft.add(matches, Some(counter_of_built_in("pods")), accept);
    }
    for rule in &firewall.allow {
        draft.rule(rule);
    }
    draft.add(Vec::new(), Some(counter_of_built_in("default")), None);
    let own = BUILT_IN.iter().map(|name| counter_of_built_in(name));
    let counters = own.chain(firewall.allow.iter().map(|rule| counter_of_rule(&rule.name))).collect();
    Ruleset { policy: firewall.default, counters, statements: draft.statements }
}

struct Draft<'a> {
    links: &'a BTreeMap<String, Option<String>>,
    statements: Vec<Statement>,
}

impl Draft<'_> {
    fn add(&mut self, matches: Vec<Match>, counter: Option<String>, verdict: Option<Verdict>) {
        self.statements.push(Statement { matches, counter, verdict });
    }

    /// Decided before all rules: whoever narrows it relies on that.
    fn api(&mut self, source: Option<&Source>) {
        let everywhere = Source::default();
        let to = Match::Destination { protocol: Protocol::Tcp, ports: vec![Ports::one(API_PORT)] };
        for mut matches in self.sources(source.unwrap_or(&everywhere)) {
            matches.push(to.clone());
            self.add(matches, Some(counter_of_built_in("api")), Some(Verdict::Accept));
        }
        if source.is_some() {
            self.add(vec![to], Some(counter_of_built_in("api-denied")), Some(Verdict::Drop));
        }
    }

    fn rule(&mut self, rule: &Rule) {
        let to: Vec<Match> = match rule.protocol {
            Protocol::Icmp => vec![Match::Icmp(vec![ECHO.0]), Match::Icmpv6(vec![ECHO.1])],
            protocol if rule.ports.is_empty() => {
                vec![Match::Destination { protocol, ports: vec![Ports { first: 1, last: u16::MAX }] }]
            }
            protocol => vec![Match::Destination { protocol, ports: normal::ports(&rule.ports) }],
        };
        for source in self.sources(&rule.source) {
            for to in &to {
                // One that asks for a sender of one family and a message of the other never matches.
                if is_possible(&source, to) {
                    let matches = source.iter().chain([to]).cloned().collect();
                    self.add(matches, Some(counter_of_rule(&rule.name)), Some(Verdict::Accept));
                }
            }
        }
    }

    /// What a source asks of a packet, one way for each family that it names; none when its links are not there.
    fn sources(&self, source: &Source) -> Vec<Vec<Match>> {
        let mut names: Vec<String> = source.interfaces.iter().filter_map(|name| self.link(name)).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() && !source.interfaces.is_empty() {
            return Vec::new();
        }
        let links = (!names.is_empty()).then_some(Match::Links(names));
        let (v6, v4): (Vec<Prefix>, Vec<Prefix>) =
            normal::subnets(&source.subnets).into_iter().partition(|subnet| subnet.address.is_ipv6());
        let families = [v4, v6].into_iter().filter(|subnets| !subnets.is_empty());
        let senders: Vec<Option<Match>> = match source.subnets.is_empty() {
            true => vec![None],
            false => families.map(|subnets| Some(Match::Sender(subnets))).collect(),
        };
        senders.into_iter().map(|sender| links.iter().cloned().chain(sender).collect()).collect()
    }

    /// The kernel's name.
    fn link(&self, name: &str) -> Option<String> {
        self.links.get(name).map_or_else(|| Some(name.to_owned()), Clone::clone)
    }
}

fn is_possible(source: &[Match], to: &Match) -> bool {
    source.iter().all(|part| match (part, to) {
        (Match::Sender(subnets), Match::Icmp(_)) => subnets.iter().all(|subnet| subnet.address.is_ipv4()),
        (Match::Sender(subnets), Match::Icmpv6(_)) => subnets.iter().all(|subnet| subnet.address.is_ipv6()),
        _ => true,
    })
}

impl Ruleset {
    /// A number that another table has not: what the kernel has is compared by it.
    #[must_use]
    pub fn text_id(&self) -> String {
        const CRC: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);
        format!("{:016x}", CRC.checksum(Body(self).to_string().as_bytes()))
    }
}

impl Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&removal())?;
        writeln!(f, "table {TABLE} {{")?;
        writeln!(f, "\tcounter {TEXT}{} {{ }}", self.text_id())?;
        writeln!(f, "{}}}", Body(self))
    }
}

/// What stands in the table, but for what says which text it is.
struct Body<'a>(&'a Ruleset);

impl Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ruleset { policy, counters, statements } = self.0;
        for name in counters {
            writeln!(f, "\tcounter {name} {{ }}")?;
        }
        let policy = match policy {
            Policy::Deny => "drop",
            Policy::Accept => "accept",
        };
        writeln!(f, "\tchain input {{\n\t\ttype filter hook input priority filter; policy {policy};")?;
        for statement in statements {
            writeln!(f, "\t\t{statement}")?;
        }
        writeln!(f, "\t}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(firewall: &Firewall, links: &BTreeMap<String, Option<String>>) -> String {
        let pods = ("pods0", Prefix::new([10, 244, 0, 0].into(), 24));
        ruleset(firewall, &Surroundings { pods, links }).to_string()
    }

    fn rule(name: &str, protocol: Protocol, ports: Vec<Ports>, source: Source) -> Rule {
        Rule { name: name.into(), protocol, ports, source }
    }

    fn subnet(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), length.parse().unwrap())
    }

    #[test]
    fn an_empty_firewall_lets_the_api_and_what_keeps_alive_through() {
        let text = shown(&Firewall::default(), &BTreeMap::new());
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines[..3], ["add table inet cairn", "delete table inet cairn", "table inet cairn {"]);
        let chain = lines.iter().position(|line| *line == "chain input {").unwrap();
        assert_eq!(
            lines[chain + 1..],
            [
                "type filter hook input priority filter; policy drop;",
                "iifname \"lo\" accept",
                "ct state established,related accept",
                "icmp type { 3, 11, 12 } counter name \"cairn-essential\" accept",
                "icmpv6 type { 1, 2, 3, 4, 130, 131, 132, 134, 135, 136, 143 } counter name \"cairn-essential\" accept",
                "ip protocol 2 counter name \"cairn-essential\" accept",
                "meta nfproto ipv4 udp sport 67 udp dport 68 counter name \"cairn-essential\" accept",
                "ip daddr 224.0.0.251 udp dport 5353 counter name \"cairn-essential\" accept",
                "tcp dport 50000 counter name \"cairn-api\" accept",
                "iifname \"pods0\" ip saddr 10.244.0.0/24 counter name \"cairn-pods\" accept",
                "counter name \"cairn-default\"",
                "}",
                "}",
            ]
        );
    }

    #[test]
    fn a_rule_becomes_a_statement_for_each_family_that_it_names() {
        let both = Source {
            subnets: vec![subnet("192.0.2.0/24"), subnet("2001:db8::/32"), subnet("192.0.2.128/25")],
            interfaces: vec!["office".into(), "eth0".into()],
        };
        let allow = vec![
            rule("web", Protocol::Tcp, vec![Ports::one(443), Ports::one(80)], both),
            rule("ping", Protocol::Icmp, vec![], Source::default()),
            rule(
                "ping6",
                Protocol::Icmp,
                vec![],
                Source { subnets: vec![subnet("fd00::/8")], ..Source::default() },
            ),
        ];
        let links = [("office".to_owned(), Some("enp2s0".to_owned()))].into();
        let text = shown(&Firewall { allow, ..Firewall::default() }, &links);
        for line in [
            "iifname { \"enp2s0\", \"eth0\" } ip saddr 192.0.2.0/24 tcp dport { 80, 443 } counter name \"rule-web\" accept",
            "iifname { \"enp2s0\", \"eth0\" } ip6 saddr 2001:db8::/32 tcp dport { 80, 443 } counter name \"rule-web\" accept",
            "icmp type 8 counter name \"rule-ping\" accept",
            "icmpv6 type 128 counter name \"rule-ping\" accept",
            "ip6 saddr fd00::/8 icmpv6 type 128 counter name \"rule-ping6\" accept",
        ] {
            assert!(text.lines().any(|shown| shown.trim() == line), "{line}\n{text}");
        }
        assert_eq!(text.matches("\"rule-ping6\"").count(), 1, "{text}");
    }

    #[test]
    fn who_is_kept_from_the_api_is_kept_from_it_by_all_rules() {
        let api = Some(Source { subnets: vec![subnet("192.0.2.0/24")], interfaces: vec![] });
        let all = rule("all", Protocol::Tcp, vec![], Source::default());
        let firewall = Firewall { api, allow: vec![all], default: Policy::Accept, pods: Policy::Accept };
        let text = shown(&firewall, &BTreeMap::new());
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}\n{text}"));
        let denied = at("\t\ttcp dport 50000 counter name \"cairn-api-denied\" drop\n");
        assert!(at("ip saddr 192.0.2.0/24 tcp dport 50000 counter name \"cairn-api\" accept") < denied);
        assert!(denied < at("\"cairn-pods\" accept") && denied < at("tcp dport 1-65535"));
        assert!(text.contains("policy accept;"));
    }

    #[test]
    fn a_rule_for_a_link_that_is_not_there_lets_nothing_through() {
        let by = |name: &str| Source { interfaces: vec![name.into()], ..Source::default() };
        let allow = vec![rule("web", Protocol::Tcp, vec![Ports::one(80)], by("trunk"))];
        let links = [("trunk".to_owned(), None)].into();
        let text = shown(&Firewall { api: Some(by("trunk")), allow, ..Firewall::default() }, &links);
        assert!(!text.contains("\"rule-web\"") && text.contains("counter rule-web { }"), "{text}");
        assert!(
            !text.contains("\"cairn-api\" accept") && text.contains("\"cairn-api-denied\" drop"),
            "{text}"
        );
    }

    #[test]
    fn another_table_has_another_number() {
        let one = Firewall::default();
        let other = Firewall { default: Policy::Accept, ..Firewall::default() };
        let number = |firewall: &Firewall| {
            let links = BTreeMap::new();
            let pods = ("pods0", Prefix::new([10, 244, 0, 0].into(), 24));
            ruleset(firewall, &Surroundings { pods, links: &links }).text_id()
        };
        assert_ne!(number(&one), number(&other));
        assert_eq!(number(&one), number(&one.clone()));
    }
}

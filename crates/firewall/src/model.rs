//! What a configuration says of the firewall.

use std::fmt;

use netplan::Prefix;

/// Who reaches what listens on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// What becomes of what no rule lets through.
    pub default: Policy,
    /// From where the API is reached; from anywhere when there is none.
    pub api: Option<Source>,
    /// What becomes of what the node's own pods send to it. The API follows `api` all the same.
    pub pods: Policy,
    /// What is let through.
    pub allow: Vec<Rule>,
}

/// What becomes of a packet without a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is dropped without a word.
    Deny,
    /// It is let through.
    Accept,
}

impl Default for Firewall {
    fn default() -> Self {
        Self { default: Policy::Deny, api: None, pods: Policy::Accept, allow: Vec::new() }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deny => "deny",
            Self::Accept => "accept",
        })
    }
}

/// Who is let through to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// RFC 1123 label; no two rules have one name.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Ports of the node; none for [`Protocol::Icmp`], which has none.
    pub ports: Vec<Ports>,
    /// From where.
    pub source: Source,
}

/// A protocol that a rule can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Echo requests of ICMP and ICMPv6 ("ping"); what the node needs of both it has without a rule.
    Icmp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        })
    }
}

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// 1 to 65535.
    pub first: u16,
    /// Not less than the first.
    pub last: u16,
}

impl Ports {
    /// One port.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// From where packets come; what is empty says nothing, and all that is said must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Networks of the sender.
    pub subnets: Vec<Prefix>,
    /// Links that they come in by: names of documents, or of links without one.
    pub interfaces: Vec<String>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |items: Vec<String>| items.join(", ");
        let subnets = joined(self.subnets.iter().map(ToString::to_string).collect());
        let interfaces = joined(self.interfaces.clone());
        match (subnets.as_str(), interfaces.as_str()) {
            ("", "") => f.write_str("from anywhere"),
            (subnets, "") => write!(f, "from {subnets}"),
            ("", interfaces) => write!(f, "in by {interfaces}"),
            (subnets, interfaces) => write!(f, "from {subnets} in by {interfaces}"),
        }
    }
}

impl fmt::Display for Rule {
    /// What it lets through, without its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
        let space = if ports.is_empty() { "" } else { " " };
        write!(f, "{}{space}{} {}", self.protocol, ports.join(", "), self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_what_it_lets_through() {
        let mut rule = Rule {
            name: "web".into(),
            protocol: Protocol::Tcp,
            ports: vec![Ports::one(80), Ports { first: 8000, last: 8010 }],
            source: Source::default(),
        };
        assert_eq!(rule.to_string(), "tcp 80, 8000-8010 from anywhere");
        rule.source.interfaces = vec!["office".into()];
        assert_eq!(rule.to_string(), "tcp 80, 8000-8010 in by office");
        rule.source.subnets = vec![Prefix::new([192, 0, 2, 0].into(), 24)];
        assert_eq!(rule.to_string(), "tcp 80, 8000-8010 from 192.0.2.0/24 in by office");
        let ping = Rule { protocol: Protocol::Icmp, ports: vec![], ..rule };
        assert_eq!(ping.to_string(), "icmp from 192.0.2.0/24 in by office");
    }
}

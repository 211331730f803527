//! Rules of nftables as data, of the few kinds that are needed here (nft(8)).

use std::fmt::{self, Display};
use std::net::Ipv4Addr;

use netplan::Prefix;

use crate::{Ports, Protocol};

/// One rule of the chain: what matches all is counted, and meets its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// All must hold; everything does where there are none.
    pub matches: Vec<Match>,
    /// Counter of the table.
    pub counter: Option<String>,
    /// Without one the next rule decides.
    pub verdict: Option<Verdict>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is let through, as far as this table is asked.
    Accept,
    /// It is gone.
    Drop,
}

/// What a packet must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It comes in by one of these links.
    Links(Vec<String>),
    /// It belongs to a connection that stands, or to the errors of one.
    Established,
    /// Its sender is in one of these networks, all of one family.
    Sender(Vec<Prefix>),
    /// It is sent to this multicast group.
    Group(Ipv4Addr),
    /// It is of IPv4.
    Ipv4,
    /// It is of IPv4 and of the protocol with this number.
    Ipv4Protocol(u8),
    /// It comes from this port.
    SourcePort {
        /// TCP or UDP.
        protocol: Protocol,
        /// Port of the sender.
        port: u16,
    },
    /// It is sent to one of these ports, in order and apart.
    Destination {
        /// TCP or UDP.
        protocol: Protocol,
        /// Ports of the node.
        ports: Vec<Ports>,
    },
    /// It is an ICMP message of one of these types.
    Icmp(Vec<u8>),
    /// It is an ICMPv6 message of one of these types.
    Icmpv6(Vec<u8>),
}

impl Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Links(names) => {
                write!(f, "iifname {}", Set(names.iter().map(|name| format!("\"{name}\"")).collect()))
            }
            Self::Established => f.write_str("ct state established,related"),
            Self::Sender(subnets) => {
                let is_ipv6 = subnets.first().is_some_and(|subnet| subnet.address.is_ipv6());
                write!(f, "{} saddr {}", if is_ipv6 { "ip6" } else { "ip" }, Set::of(subnets))
            }
            Self::Group(address) => write!(f, "ip daddr {address}"),
            Self::Ipv4 => f.write_str("meta nfproto ipv4"),
            Self::Ipv4Protocol(number) => write!(f, "ip protocol {number}"),
            Self::SourcePort { protocol, port } => write!(f, "{protocol} sport {port}"),
            Self::Destination { protocol, ports } => write!(f, "{protocol} dport {}", Set::of(ports)),
            Self::Icmp(types) => write!(f, "icmp type {}", Set::of(types)),
            Self::Icmpv6(types) => write!(f, "icmpv6 type {}", Set::of(types)),
        }
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counter = self.counter.iter().map(|name| format!("counter name \"{name}\""));
        let verdict = self.verdict.iter().map(|verdict| match verdict {
            Verdict::Accept => "accept".to_owned(),
            Verdict::Drop => "drop".to_owned(),
        });
        let parts: Vec<String> =
            self.matches.iter().map(ToString::to_string).chain(counter).chain(verdict).collect();
        f.write_str(&parts.join(" "))
    }
}

/// One value as it is, several in braces.
struct Set(Vec<String>);

impl Set {
    fn of<T: Display>(items: &[T]) -> Self {
        Self(items.iter().map(ToString::to_string).collect())
    }
}

impl Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => f.write_str(one),
            several => write!(f, "{{ {} }}", several.join(", ")),
        }
    }
}

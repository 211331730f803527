//! What keeps a node alive and findable: let through by every firewall, whatever it says.

use std::net::Ipv4Addr;

use crate::{Match, Ports, Protocol};

/// Destination unreachable, time exceeded, parameter problem (RFC 792): without them paths with a smaller MTU swallow
/// packets.
const ICMP_ERRORS: [u8; 3] = [3, 11, 12];
/// The same and "packet too big" (RFC 4443), of multicast listeners (RFC 2710, RFC 3810), router advertisements,
/// neighbour solicitations and advertisements (RFC 4861). RFC 4890, 4.4.1 says that none of them must be dropped.
const ICMPV6: [u8; 11] = [1, 2, 3, 4, 130, 131, 132, 134, 135, 136, 143];
/// Internet Group Management Protocol: switches ask by it who listens to multicast.
const IGMP: u8 = 2;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
/// Multicast DNS (RFC 6762, 3): how `osctl discover` finds nodes.
const MULTICAST_DNS: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);

/// Each lets through what it matches.
pub(crate) fn essential() -> [Vec<Match>; 5] {
    let (group, port) = MULTICAST_DNS;
    let to = |port| Match::Destination { protocol: Protocol::Udp, ports: vec![Ports::one(port)] };
    [
        vec![Match::Icmp(ICMP_ERRORS.to_vec())],
        vec![Match::Icmpv6(ICMPV6.to_vec())],
        vec![Match::Ipv4Protocol(IGMP)],
        vec![Match::Ipv4, Match::SourcePort { protocol: Protocol::Udp, port: DHCP_SERVER }, to(DHCP_CLIENT)],
        vec![Match::Group(group), to(port)],
    ]
}

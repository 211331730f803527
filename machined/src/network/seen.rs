//! Routes and neighbours as the kernel lists them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netplan::{Prefix, Route};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};

/// Routes of the node's own addresses (`RT_TABLE_LOCAL`, linux/rtnetlink.h).
const TABLE_LOCAL: u8 = 255;

/// A route of anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    /// The route; its link is 0 when it has none or several.
    pub route: Route,
    /// Who set it (`rtm_protocol`).
    pub protocol: u8,
}

/// Someone who was seen on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Index of the link.
    pub link: u32,
    /// IP address.
    pub address: IpAddr,
    /// Hardware address; empty while it is not known.
    pub hardware_address: Vec<u8>,
    /// "resolved", "incomplete", "failed" or "permanent".
    pub state: &'static str,
    /// Whether it is a router.
    pub router: bool,
}

/// A unicast route, but for those of local addresses, which the kernel keeps in a table of its own.
pub fn route(message: &RouteMessage) -> Option<KernelRoute> {
    let header = &message.header;
    if header.kind != RouteType::Unicast || header.table == TABLE_LOCAL {
        return None;
    }
    let everything: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut found = Route {
        link: 0,
        destination: Prefix::new(everything, header.destination_prefix_length),
        gateway: None,
        source: None,
        metric: 0,
        table: header.table.into(),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => found.link = *index,
            RouteAttribute::Destination(address) => found.destination.address = ip(address)?,
            RouteAttribute::Gateway(address) => found.gateway = ip(address),
            RouteAttribute::PrefSource(address) => found.source = ip(address),
            RouteAttribute::Priority(metric) => found.metric = *metric,
            // Above 255 the header has no room.
            RouteAttribute::Table(table) => found.table = *table,
            _ => {}
        }
    }
    Some(KernelRoute { route: found, protocol: header.protocol.into() })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// A neighbour that was asked for; multicast groups, which need not be asked, are left out.
pub fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let state = match message.header.state {
        // How fresh it is changes by the second, and says nothing to an admin.
        NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe => {
            "resolved"
        }
        NeighbourState::Incomplete => "incomplete",
        NeighbourState::Failed => "failed",
        NeighbourState::Permanent => "permanent",
        _ => return None,
    };
    let mut address = None;
    let mut hardware_address = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => address = Some((*found).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => {
                address = Some((*found).into())
            }
            NeighbourAttribute::LinkLayerAddress(found) => hardware_address.clone_from(found),
            _ => {}
        }
    }
    let router = message.header.flags.contains(NeighbourFlags::Router);
    Some(Neighbour { link: message.header.ifindex, address: address?, hardware_address, state, router })
}

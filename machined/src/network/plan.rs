//! Decides what has to be done so that the network is as it should be. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use dhcp::Lease;

use super::observation::{Address, Link, Observation, Origin, Route};

/// Metric of our routes, as systemd-networkd's: a route that someone sets by hand, with metric 0, wins.
pub const ROUTE_METRIC: u32 = 1024;

/// What should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Desired<'a> {
    /// Not known yet: what an earlier run of this process configured stays.
    Undecided,
    /// No address.
    Nothing,
    /// This lease on this link.
    Lease {
        /// Index of the link.
        link: u32,
        /// What was granted.
        lease: &'a Lease,
    },
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Set a link up.
    SetUp {
        /// Index.
        link: u32,
        /// Name.
        name: String,
    },
    /// Take router advertisements on a link.
    AcceptRouterAdvertisements {
        /// Name.
        name: String,
    },
    /// Set the largest packet.
    SetMtu {
        /// Index.
        link: u32,
        /// Size.
        bytes: u32,
    },
    /// Add an IPv4 address.
    AddAddress {
        /// Index.
        link: u32,
        /// Address.
        address: Ipv4Addr,
        /// Length of its prefix.
        prefix_length: u8,
    },
    /// Remove an IPv4 address of ours.
    DeleteAddress {
        /// Index.
        link: u32,
        /// Address.
        address: Ipv4Addr,
        /// Length of its prefix.
        prefix_length: u8,
    },
    /// Add a route.
    AddRoute {
        /// The route.
        route: Route,
        /// The next hop is outside of the link's own subnet.
        on_link: bool,
    },
    /// Remove a route of ours.
    DeleteRoute(Route),
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetUp { name, .. } => write!(out, "set {name} up"),
            Self::AcceptRouterAdvertisements { name } => {
                write!(out, "accept router advertisements on {name}")
            }
            Self::SetMtu { link, bytes } => write!(out, "set the MTU of link {link} to {bytes}"),
            Self::AddAddress { link, address, prefix_length } => {
                write!(out, "add {address}/{prefix_length} to link {link}")
            }
            Self::DeleteAddress { link, address, prefix_length } => {
                write!(out, "remove {address}/{prefix_length} from link {link}")
            }
            Self::AddRoute { route, .. } => {
                write!(out, "add the route to {}/{}", route.destination, route.prefix_length)
            }
            Self::DeleteRoute(route) => {
                write!(out, "remove the route to {}/{}", route.destination, route.prefix_length)
            }
        }
    }
}

/// The changes that lead from what is to what should be, in the order to make them.
pub fn plan(observed: &Observation, desired: Desired<'_>) -> Vec<Operation> {
    let mut operations = Vec::new();
    for link in &observed.links {
        operations.extend(bring_up(link));
    }
    match desired {
        Desired::Undecided => {}
        Desired::Nothing => {
            operations.extend(observed.routes.iter().cloned().map(Operation::DeleteRoute));
            operations.extend(our_addresses(observed).map(delete_address));
        }
        Desired::Lease { link, lease } => {
            if let Some(link) = observed.links.iter().find(|candidate| candidate.index == link) {
                operations.extend(configure(observed, link, lease));
            }
        }
    }
    operations
}

/// Loopback and physical links are up; the sysctl comes first, or the first advertisement is lost.
fn bring_up(link: &Link) -> Vec<Operation> {
    let mut operations = Vec::new();
    if link.physical && link.accept_ra.is_some_and(|value| value != 2) {
        operations.push(Operation::AcceptRouterAdvertisements { name: link.name.clone() });
    }
    if (link.physical || link.loopback) && !link.up {
        operations.push(Operation::SetUp { link: link.index, name: link.name.clone() });
    }
    operations
}

fn configure(observed: &Observation, link: &Link, lease: &Lease) -> Vec<Operation> {
    let (address, prefix_length) = (lease.address, lease.prefix_length);
    let leased = Ours { link: link.index, address, prefix_length };
    let routes = desired_routes(link.index, lease);
    let mut operations = Vec::new();
    let stale = observed.routes.iter().filter(|route| !routes.contains(route));
    operations.extend(stale.cloned().map(Operation::DeleteRoute));
    // Before the new address: in one subnet the kernel removes later addresses together with the first.
    operations.extend(our_addresses(observed).filter(|ours| *ours != leased).map(delete_address));
    operations.extend(mtu(link, lease));
    if !our_addresses(observed).any(|ours| ours == leased) {
        operations.push(Operation::AddAddress { link: link.index, address, prefix_length });
    }
    for route in routes.into_iter().filter(|route| !observed.routes.contains(route)) {
        let on_link = route.gateway.is_some_and(|gateway| !covers(lease, gateway));
        operations.push(Operation::AddRoute { route, on_link });
    }
    operations
}

/// An IPv4 address that we added.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ours {
    link: u32,
    address: Ipv4Addr,
    prefix_length: u8,
}

fn our_addresses(observed: &Observation) -> impl Iterator<Item = Ours> {
    observed.addresses.iter().filter_map(|seen| match seen {
        Address { link, address: IpAddr::V4(address), prefix_length, origin: Origin::Ours, .. } => {
            Some(Ours { link: *link, address: *address, prefix_length: *prefix_length })
        }
        _ => None,
    })
}

fn delete_address(ours: Ours) -> Operation {
    Operation::DeleteAddress { link: ours.link, address: ours.address, prefix_length: ours.prefix_length }
}

/// The server's MTU as far as the driver takes it.
fn mtu(link: &Link, lease: &Lease) -> Option<Operation> {
    let (least, most) = link.mtu_range_bytes;
    let bytes = u32::from(lease.mtu?).max(least);
    let bytes = if most == 0 { bytes } else { bytes.min(most) };
    (bytes != link.mtu_bytes).then_some(Operation::SetMtu { link: link.index, bytes })
}

/// One route for each destination; the first that the server names counts.
fn desired_routes(link: u32, lease: &Lease) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for route in &lease.routes {
        let (destination, prefix_length) = (route.destination, route.prefix_length);
        let known = routes
            .iter()
            .any(|known| (known.destination, known.prefix_length) == (destination, prefix_length));
        if !known {
            let source = Some(lease.address);
            routes.push(Route { link, destination, prefix_length, gateway: route.gateway, source });
        }
    }
    routes
}

fn covers(lease: &Lease, address: Ipv4Addr) -> bool {
    let host_bits = 32 - u32::from(lease.prefix_length);
    let differing = lease.address.to_bits() ^ address.to_bits();
    differing.checked_shr(host_bits).unwrap_or(0) == 0
}

/// The link to ask for a lease: the one at hand while it has carrier or a lease in use, else the first with carrier,
/// else one that had a lease before, else the first.
pub fn choose_uplink(
    links: &[Link],
    current: Option<Current>,
    had_lease: impl Fn(&Link) -> bool,
) -> Option<&Link> {
    let mut candidates = links.iter().filter(|link| link.physical && link.mac().is_some());
    let at_hand = current.and_then(|current| {
        let link = candidates.clone().find(|link| link.index == current.link)?;
        Some((link, link.carrier || current.holds_lease))
    });
    if let Some((link, true)) = at_hand {
        return Some(link);
    }
    candidates
        .clone()
        .find(|link| link.carrier)
        .or(at_hand.map(|(link, _)| link))
        .or_else(|| candidates.clone().find(|link| had_lease(link)))
        .or_else(|| candidates.next())
}

/// The uplink so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// Index of the link.
    pub link: u32,
    /// Whether its lease is in use.
    pub holds_lease: bool,
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

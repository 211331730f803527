//! Decides what has to be done so that the network is as it should be. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use config::{Interface, Subnet};
use dhcp::Lease;

use super::observation::{Address, Link, Observation, Origin, Route};

/// Metric of our routes, as systemd-networkd's: a route that someone sets by hand, with metric 0, wins.
pub const ROUTE_METRIC: u32 = 1024;

/// What a link should have. A link that nobody speaks of should have nothing of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desired<'a> {
    /// Index of the link.
    pub link: u32,
    /// Its addresses and routes.
    pub addressing: Addressing<'a>,
    /// The largest packet that is configured, in bytes.
    pub mtu_bytes: Option<u32>,
}

/// The addresses and routes that a link should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing<'a> {
    /// Not known yet: what was configured before stays.
    Undecided,
    /// No address.
    Nothing,
    /// What a server granted.
    Lease(&'a Lease),
    /// What is configured.
    Static(&'a Interface),
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
pub fn plan(observed: &Observation, desired: &[Desired<'_>]) -> Vec<Operation> {
    let mut operations: Vec<Operation> = observed.links.iter().flat_map(bring_up).collect();
    let addresses: Vec<Ours> = desired.iter().flat_map(addresses).collect();
    let routes = routes(desired);
    let stays = |link| find(desired, link).is_some_and(|desired| desired.addressing == Addressing::Undecided);
    let stale = observed.routes.iter().filter(|route| {
        let in_the_way = routes.iter().any(|wanted| wanted.same_destination(route));
        !routes.contains(route) && (!stays(route.link) || in_the_way)
    });
    operations.extend(stale.cloned().map(Operation::DeleteRoute));
    // Before the new addresses: in one subnet the kernel removes later addresses together with the first.
    let stale = our_addresses(observed).filter(|ours| !addresses.contains(ours) && !stays(ours.link));
    operations.extend(stale.map(delete_address));
    operations.extend(observed.links.iter().filter_map(|link| mtu(link, find(desired, link.index))));
    let missing = addresses.iter().filter(|wanted| !our_addresses(observed).any(|ours| ours == **wanted));
    operations.extend(missing.copied().map(add_address));
    for route in routes.into_iter().filter(|route| !observed.routes.contains(route)) {
        let reached =
            |gateway| addresses.iter().any(|ours| ours.link == route.link && ours.subnet.contains(gateway));
        let on_link = route.gateway.is_some_and(|gateway| !reached(gateway));
        operations.push(Operation::AddRoute { route, on_link });
    }
    operations
}

/// The node's own address: the source of its default route, or the first that there is.
pub fn primary(desired: &[Desired<'_>]) -> Option<Ipv4Addr> {
    let default = routes(desired).into_iter().find(|route| route.prefix_length == 0);
    let first = || desired.iter().flat_map(addresses).next().map(|ours| ours.subnet.address);
    default.and_then(|route| route.source).or_else(first)
}

fn find<'a, 'b>(desired: &'b [Desired<'a>], link: u32) -> Option<&'b Desired<'a>> {
    desired.iter().find(|desired| desired.link == link)
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

/// An IPv4 address that we added, or should add.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ours {
    link: u32,
    subnet: Subnet,
}

fn our_addresses(observed: &Observation) -> impl Iterator<Item = Ours> {
    observed.addresses.iter().filter_map(|seen| match seen {
        Address { link, address: IpAddr::V4(address), prefix_length, origin: Origin::Ours, .. } => {
            Some(Ours { link: *link, subnet: Subnet { address: *address, prefix_length: *prefix_length } })
        }
        _ => None,
    })
}

fn delete_address(Ours { link, subnet }: Ours) -> Operation {
    Operation::DeleteAddress { link, address: subnet.address, prefix_length: subnet.prefix_length }
}

fn add_address(Ours { link, subnet }: Ours) -> Operation {
    Operation::AddAddress { link, address: subnet.address, prefix_length: subnet.prefix_length }
}

/// What is configured, else the server's as far as the driver takes it, else what the link had before us.
fn mtu(link: &Link, desired: Option<&Desired<'_>>) -> Option<Operation> {
    let configured = desired.and_then(|desired| desired.mtu_bytes);
    let bytes = match desired.map(|desired| desired.addressing) {
        Some(Addressing::Undecided) => configured?,
        Some(Addressing::Lease(Lease { mtu: Some(bytes), .. })) => {
            let (least, most) = link.mtu_range_bytes;
            let bytes = u32::from(*bytes).max(least);
            configured.unwrap_or(if most == 0 { bytes } else { bytes.min(most) })
        }
        Some(Addressing::Lease(_) | Addressing::Static(_) | Addressing::Nothing) | None => {
            configured.or(link.former_mtu_bytes)?
        }
    };
    (bytes != link.mtu_bytes).then_some(Operation::SetMtu { link: link.index, bytes })
}

fn addresses<'a>(desired: &'a Desired<'_>) -> impl Iterator<Item = Ours> + 'a {
    let (leased, fixed) = match desired.addressing {
        Addressing::Lease(&Lease { address, prefix_length, .. }) => {
            (Some(Subnet { address, prefix_length }), None)
        }
        Addressing::Static(interface) => (None, Some(&interface.addresses)),
        Addressing::Undecided | Addressing::Nothing => (None, None),
    };
    let subnets = leased.into_iter().chain(fixed.into_iter().flatten().copied());
    subnets.map(|subnet| Ours { link: desired.link, subnet })
}

/// One route for each destination. What is configured goes before what servers say, and of that the first counts.
fn routes(desired: &[Desired<'_>]) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    let leased = desired.iter().flat_map(leased_routes);
    for route in desired.iter().filter_map(default_route).chain(leased) {
        if !routes.iter().any(|known| known.same_destination(&route)) {
            routes.push(route);
        }
    }
    routes
}

fn default_route(desired: &Desired<'_>) -> Option<Route> {
    let Addressing::Static(interface) = desired.addressing else { return None };
    let gateway = interface.gateway?;
    let source =
        addresses(desired).find(|ours| ours.subnet.contains(gateway)).map(|ours| ours.subnet.address);
    Some(Route {
        link: desired.link,
        destination: Ipv4Addr::UNSPECIFIED,
        prefix_length: 0,
        gateway: Some(gateway),
        source,
    })
}

fn leased_routes<'a>(desired: &Desired<'a>) -> impl Iterator<Item = Route> + 'a {
    let link = desired.link;
    let lease = match desired.addressing {
        Addressing::Lease(lease) => Some(lease),
        Addressing::Static(_) | Addressing::Undecided | Addressing::Nothing => None,
    };
    lease.into_iter().flat_map(move |lease| {
        lease.routes.iter().map(move |route| Route {
            link,
            destination: route.destination,
            prefix_length: route.prefix_length,
            gateway: route.gateway,
            source: Some(lease.address),
        })
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

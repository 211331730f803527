//! Links, addresses, routes and neighbours as resources.

use std::net::IpAddr;

use netplan::{Desired, Kind, Link, OUR_PROTOCOL, Observed, Origin};
use resource::spec;

use super::intent::{Intent, Wanted};
use super::seen::{KernelRoute, Neighbour};
use crate::store::Store;

/// Most routes that are published: a node with more is a router, and each costs half a KiB.
const ROUTES_MAX: usize = 4096;
/// Most neighbours: the kernel forgets the oldest when there are more (`gc_thresh3`).
const NEIGHBOURS_MAX: usize = 1024;
/// Protocols of routes (linux/rtnetlink.h).
const PROTOCOL_KERNEL: u8 = 2;
const PROTOCOL_ROUTER_ADVERTISEMENT: u8 = 9;

/// What there is and what it is for.
pub struct View<'a> {
    /// What the kernel has.
    pub observed: &'a Observed,
    /// Routes of all.
    pub routes: &'a [KernelRoute],
    /// What documents say.
    pub intent: &'a Intent<'a>,
    /// What links should be.
    pub desired: &'a [Desired],
    /// The node's own address.
    pub primary: Option<IpAddr>,
}

/// Publishes all links, addresses and routes.
pub fn publish(store: &Store, view: &View<'_>) {
    let View { observed, routes, intent, primary, .. } = *view;
    store.replace_all(observed.links.iter().map(|link| (link.name.clone(), link_spec(view, link))));
    let addresses = observed.addresses.iter().filter_map(|seen| {
        let link = observed.links.iter().find(|link| link.index == seen.link)?;
        let (ip, address) = (seen.prefix.address, seen.prefix.to_string());
        let spec = spec::Address {
            link: link.name.clone(),
            family: family(ip),
            scope: seen.scope.to_owned(),
            source: match seen.origin {
                Origin::Ours if is_configured(intent, &link.name, ip) => "static",
                Origin::Ours => "dhcp",
                Origin::Kernel => "kernel",
                Origin::Foreign => "other",
            }
            .to_owned(),
            primary: primary == Some(ip),
            address: address.clone(),
        };
        Some((format!("{}/{address}", link.name), spec))
    });
    store.replace_all(addresses);
    store.replace_all(routes.iter().take(ROUTES_MAX).map(|seen| route_spec(view, seen)));
}

/// Publishes who was seen on links.
pub fn publish_neighbours(store: &Store, observed: &Observed, neighbours: &[Neighbour]) {
    let specs = neighbours.iter().take(NEIGHBOURS_MAX).filter_map(|seen| {
        let link = observed.links.iter().find(|link| link.index == seen.link)?;
        let spec = spec::Neighbour {
            address: seen.address.to_string(),
            link: link.name.clone(),
            hardware_address: colons(&seen.hardware_address),
            state: seen.state.to_owned(),
            router: seen.router,
        };
        Some((format!("{}/{}", link.name, seen.address), spec))
    });
    store.replace_all(specs);
}

fn family(address: IpAddr) -> String {
    if address.is_ipv4() { "inet" } else { "inet6" }.to_owned()
}

fn colons(address: &[u8]) -> String {
    address.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}

fn is_configured(intent: &Intent<'_>, link: &str, address: IpAddr) -> bool {
    let interface = find(intent, link).and_then(|wanted| wanted.interface);
    interface.is_some_and(|interface| interface.addresses.iter().any(|subnet| subnet.address == address))
}

fn find<'a>(intent: &'a Intent<'_>, link: &str) -> Option<&'a Wanted<'a>> {
    intent.wanted.iter().find(|wanted| wanted.name == link)
}

fn link_spec(view: &View<'_>, link: &Link) -> spec::Link {
    let named = |index: Option<u32>| {
        let found = index.and_then(|index| view.observed.links.iter().find(|link| link.index == index));
        found.map(|link| link.name.clone()).unwrap_or_default()
    };
    let vlan_id = match link.kind {
        Some(Kind::Vlan { id }) => Some(id),
        Some(Kind::Bond(_) | Kind::Bridge(_) | Kind::Dummy) | None => None,
    };
    let interface = find(view.intent, &link.name).and_then(|wanted| wanted.interface);
    let origin = match link {
        Link { ours: true, .. } => "configuration",
        Link { physical: true, .. } | Link { loopback: true, .. } => "kernel",
        Link { .. } => "other",
    };
    spec::Link {
        index: link.index,
        kind: link.kind_name.clone(),
        origin: origin.to_owned(),
        document: interface.map(|found| format!("{}/{}", found.kind(), found.name)).unwrap_or_default(),
        master: named(link.master),
        parent: named(link.parent.filter(|_| vlan_id.is_some())),
        vlan_id,
        hardware_address: colons(&link.hardware_address),
        permanent_address: colons(&link.permanent_address),
        driver: link.driver.clone(),
        mtu_bytes: link.mtu_bytes,
        up: link.up,
        carrier: link.carrier,
    }
}

fn route_spec(view: &View<'_>, seen: &KernelRoute) -> (String, spec::Route) {
    let route = &seen.route;
    let link = view.observed.links.iter().find(|link| link.index == route.link);
    let link = link.map(|link| link.name.clone()).unwrap_or_default();
    let text = |address: Option<IpAddr>| address.map(|address| address.to_string()).unwrap_or_default();
    let spec = spec::Route {
        destination: route.destination.to_string(),
        gateway: text(route.gateway),
        source: text(route.source),
        metric: route.metric,
        table: route.table,
        family: family(route.destination.address),
        origin: match seen.protocol {
            OUR_PROTOCOL if is_learned(view, &link, seen) => "dhcp",
            OUR_PROTOCOL => "static",
            PROTOCOL_KERNEL => "kernel",
            PROTOCOL_ROUTER_ADVERTISEMENT => "ra",
            _ => "other",
        }
        .to_owned(),
        link,
    };
    let mut id = format!("{}/{}/{}/{}", spec.table, spec.destination, spec.metric, spec.link);
    if route.gateway.is_some() {
        id = format!("{id}/{}", spec.gateway);
    }
    (id, spec)
}

/// Whether a server named a route of ours; while a lease waits to be confirmed, one did.
fn is_learned(view: &View<'_>, link: &str, seen: &KernelRoute) -> bool {
    let wanted = view.desired.iter().find(|wanted| wanted.name == link);
    let routes = wanted.map(|wanted| wanted.addressing.routes()).unwrap_or_default();
    let same = |route: &&netplan::NewRoute| {
        (route.destination, route.metric, route.table)
            == (seen.route.destination, seen.route.metric, seen.route.table)
    };
    routes.iter().find(same).is_none_or(|route| route.learned)
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;

//! Addresses and routes.

use std::net::IpAddr;

use crate::Prefix;
use crate::desired::{Addressing, Desired};
use crate::draft::Draft;
use crate::observed::{Link, Origin, Route};

/// First what is missing, last what is too much.
pub(crate) fn plan(draft: &mut Draft, desired: &[&Desired]) {
    let links: Vec<(Link, &Desired)> =
        desired.iter().filter_map(|wanted| Some((draft.link(&wanted.name)?.clone(), *wanted))).collect();
    for (link, wanted) in &links {
        add_addresses(draft, link, wanted.addressing.addresses());
    }
    routes(draft, &links);
    let stale: Vec<(u32, Prefix)> = draft
        .addresses
        .iter()
        .filter(|seen| seen.origin == Origin::Ours)
        .map(|seen| (seen.link, seen.prefix))
        .filter(|(index, prefix)| !is_wanted(&links, *index, prefix))
        .collect();
    for (index, prefix) in stale {
        if let Some(link) = draft.at(index).cloned() {
            draft.delete_address(&link, prefix);
        }
    }
}

fn is_wanted(links: &[(Link, &Desired)], index: u32, prefix: &Prefix) -> bool {
    let of_link = links.iter().find(|(link, _)| link.index == index);
    of_link.is_some_and(|(_, wanted)| match &wanted.addressing {
        Addressing::Undecided => true,
        Addressing::Exactly { addresses, .. } => addresses.contains(prefix),
    })
}

fn add_addresses(draft: &mut Draft, link: &Link, wanted: &[Prefix]) {
    let ours = |draft: &Draft| -> Vec<Prefix> {
        let ours =
            draft.addresses.iter().filter(|seen| seen.link == link.index && seen.origin == Origin::Ours);
        ours.map(|seen| seen.prefix).collect()
    };
    for prefix in wanted {
        let present = ours(draft);
        if present.contains(prefix) {
            continue;
        }
        // The kernel knows an IPv6 address of a link by one length alone.
        let other = present.iter().find(|other| prefix.address.is_ipv6() && other.address == prefix.address);
        if let Some(other) = other {
            draft.delete_address(link, *other);
        }
        draft.add_address(link, *prefix);
    }
}

fn routes(draft: &mut Draft, links: &[(Link, &Desired)]) {
    let wanted = wanted_routes(links);
    let stays = |route: &Route| {
        let of_link = links.iter().find(|(link, _)| link.index == route.link);
        of_link.is_some_and(|(_, wanted)| wanted.addressing == Addressing::Undecided)
    };
    let in_the_way = |route: &Route| wanted.iter().any(|(new, _)| new.same_place(route));
    for (route, addresses) in &wanted {
        if draft.routes.contains(route) {
            continue;
        }
        // One after the other: no other route is away meanwhile.
        let stale: Vec<Route> = draft.routes.iter().filter(|old| old.same_place(route)).cloned().collect();
        stale.iter().for_each(|old| draft.delete_route(old));
        if let Some(link) = draft.at(route.link).cloned() {
            let on_link = route.gateway.is_some_and(|gateway| !is_reached(gateway, addresses));
            draft.add_route(&link, route.clone(), on_link);
        }
    }
    let is_wanted = |route: &Route| wanted.iter().any(|(new, _)| new == route);
    let stale = draft.routes.iter().filter(|old| !is_wanted(old) && (!stays(old) || in_the_way(old)));
    for route in stale.cloned().collect::<Vec<_>>() {
        draft.delete_route(&route);
    }
}

/// Whether the kernel finds a next hop by itself.
fn is_reached(gateway: IpAddr, addresses: &[Prefix]) -> bool {
    let link_local = matches!(gateway, IpAddr::V6(gateway) if gateway.is_unicast_link_local());
    link_local || addresses.iter().any(|own| own.contains(gateway))
}

/// One route for each place, with the addresses of its link. What is configured goes before what servers say, and of
/// that the first counts.
fn wanted_routes<'a>(links: &[(Link, &'a Desired)]) -> Vec<(Route, &'a [Prefix])> {
    let all = links.iter().flat_map(|(link, wanted)| {
        let addresses = wanted.addressing.addresses();
        wanted.addressing.routes().iter().map(move |route| {
            let found = Route {
                link: link.index,
                destination: route.destination,
                gateway: route.gateway,
                source: route.source,
                metric: route.metric,
                table: route.table,
            };
            (found, route.learned, addresses)
        })
    });
    let (learned, configured): (Vec<_>, Vec<_>) = all.partition(|(_, learned, _)| *learned);
    let mut routes: Vec<(Route, &[Prefix])> = Vec::new();
    for (route, _, addresses) in configured.into_iter().chain(learned) {
        if !routes.iter().any(|(known, _)| known.same_place(&route)) {
            routes.push((route, addresses));
        }
    }
    routes
}

//! A copy of what the kernel has, on which changes are made as the kernel would make them. Each becomes an operation.

use std::net::IpAddr;

use crate::observed::{Address, Link, Observed, Origin, Route};
use crate::operation::{Operation, PlannedRoute};
use crate::{Kind, Prefix};

/// An Ethernet link's largest packet, unless someone says otherwise (`ETH_DATA_LEN`).
pub(crate) const MTU_DEFAULT_BYTES: u32 = 1500;
/// What is not known until the kernel is asked again.
pub(crate) const MTU_UNKNOWN: u32 = 0;
/// IPv6 does not exist on links with a smaller one (RFC 8200, 5; addrconf_notify of the kernel).
const MTU_IPV6_MIN_BYTES: u32 = 1280;
/// Links that are planned and do not exist yet count from here; the kernel's indices are positive C ints.
const FIRST_PLANNED_INDEX: u32 = 1 << 31;

/// The draft, and how it came about.
pub(crate) struct Draft {
    pub(crate) links: Vec<Link>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) routes: Vec<Route>,
    pub(crate) operations: Vec<Operation>,
    next_index: u32,
}

impl Draft {
    /// As it is.
    pub(crate) fn new(observed: &Observed) -> Self {
        let Observed { links, addresses, routes, promotes_secondaries } = observed.clone();
        let operations = if promotes_secondaries { Vec::new() } else { vec![Operation::PromoteSecondaries] };
        Self { links, addresses, routes, operations, next_index: FIRST_PLANNED_INDEX }
    }

    pub(crate) fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    pub(crate) fn at(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Whether the link is a port of a bond, which has no say of its own.
    pub(crate) fn is_bond_port(&self, link: &Link) -> bool {
        let master = link.master.and_then(|master| self.at(master));
        master.is_some_and(|master| matches!(master.kind, Some(Kind::Bond(_))))
    }

    pub(crate) fn create(&mut self, name: &str, kind: Kind, parent: Option<&Link>) {
        let ipv6 = self.links.iter().any(|link| link.accept_ra.is_some());
        let link = Link {
            index: self.next_index,
            name: name.to_owned(),
            kind_name: kind.name().to_owned(),
            kind: Some(kind),
            ours: true,
            parent: parent.map(|parent| parent.index),
            mtu_bytes: parent.map_or(MTU_DEFAULT_BYTES, |parent| parent.mtu_bytes),
            // What it starts with; 2 is never the kernel's own choice.
            accept_ra: (ipv6 && kind != Kind::Dummy).then_some(1),
            ..Link::default()
        };
        let parent = parent.map(|parent| parent.name.clone());
        self.operations.push(Operation::CreateLink { link: name.to_owned(), kind, parent });
        self.links.push(link);
        self.next_index = self.next_index.saturating_add(1);
    }

    pub(crate) fn delete(&mut self, link: &Link) {
        self.operations.push(Operation::DeleteLink { link: link.name.clone(), index: link.index });
        self.vanish(link.index);
    }

    pub(crate) fn change(&mut self, index: u32, kind: Kind) {
        let operation = self.update(index, |link| {
            link.kind = Some(kind);
            Operation::ChangeLink { link: link.name.clone(), kind }
        });
        self.operations.extend(operation);
    }

    pub(crate) fn free(&mut self, index: u32) {
        let operation =
            self.update(index, |link| Operation::SetMaster { link: link.name.clone(), master: None });
        self.operations.extend(operation);
        self.released(index);
    }

    pub(crate) fn join(&mut self, index: u32, master: &Link) {
        let is_bond = matches!(master.kind, Some(Kind::Bond(_)));
        let operation = self.update(index, |link| {
            link.master = Some(master.index);
            // A bond sets its ports up, and gives them its own.
            link.up |= is_bond;
            if is_bond {
                link.mtu_bytes = master.mtu_bytes;
            }
            Operation::SetMaster { link: link.name.clone(), master: Some(master.name.clone()) }
        });
        self.operations.extend(operation);
        self.bridge_may_adjust(Some(master.index));
    }

    pub(crate) fn set_up(&mut self, index: u32) {
        let operation = self.update(index, |link| {
            link.up = true;
            Operation::SetUp { link: link.name.clone() }
        });
        self.operations.extend(operation);
    }

    pub(crate) fn set_down(&mut self, index: u32) {
        let operation = self.update(index, |link| Operation::SetDown { link: link.name.clone() });
        self.operations.extend(operation);
        self.closed(index);
    }

    pub(crate) fn accept_ra(&mut self, index: u32) {
        let operation = self.update(index, |link| {
            link.accept_ra = Some(2);
            Operation::AcceptRouterAdvertisements { link: link.name.clone() }
        });
        self.operations.extend(operation);
    }

    pub(crate) fn set_mtu(&mut self, index: u32, bytes: u32) {
        let operation = self.update(index, |link| Operation::SetMtu { link: link.name.clone(), bytes });
        self.operations.extend(operation);
        self.resized(index, bytes);
    }

    pub(crate) fn add_address(&mut self, link: &Link, prefix: Prefix) {
        self.operations.push(Operation::AddAddress { link: link.name.clone(), prefix });
        self.addresses.retain(|seen| (seen.link, seen.prefix) != (link.index, prefix));
        let origin = Origin::Ours;
        self.addresses.push(Address { link: link.index, prefix, scope: "global", origin });
    }

    pub(crate) fn delete_address(&mut self, link: &Link, prefix: Prefix) {
        self.operations.push(Operation::DeleteAddress { link: link.name.clone(), prefix });
        self.addresses.retain(|seen| (seen.link, seen.prefix) != (link.index, prefix));
        self.lose_routes_from(prefix.address);
    }

    pub(crate) fn add_route(&mut self, link: &Link, route: Route, on_link: bool) {
        let (link, planned) = (link.name.clone(), planned(&route));
        self.operations.push(Operation::AddRoute { link, route: planned, on_link });
        self.routes.push(route);
    }

    pub(crate) fn delete_route(&mut self, route: &Route) {
        let Some(link) = self.at(route.link).map(|link| link.name.clone()) else { return };
        self.operations.push(Operation::DeleteRoute { link, route: planned(route) });
        self.routes.retain(|seen| seen != route);
    }

    fn update<T>(&mut self, index: u32, change: impl FnOnce(&mut Link) -> T) -> Option<T> {
        self.links.iter_mut().find(|link| link.index == index).map(change)
    }

    fn vlans_of(&self, index: u32) -> Vec<u32> {
        let above = self.links.iter().filter(|link| {
            matches!(link.kind, Some(Kind::Vlan { .. })) && link.parent == Some(index) && link.index != index
        });
        above.map(|link| link.index).collect()
    }

    /// A link that goes takes its VLANs along and frees its ports.
    fn vanish(&mut self, index: u32) {
        let master = self.at(index).and_then(|link| link.master);
        let ports = self.links.iter().filter(|link| link.master == Some(index));
        for port in ports.map(|link| link.index).collect::<Vec<_>>() {
            self.released(port);
        }
        self.links.retain(|link| link.index != index);
        for vlan in self.vlans_of(index) {
            self.vanish(vlan);
        }
        let gone: Vec<IpAddr> = self
            .addresses
            .iter()
            .filter(|address| address.link == index)
            .map(|address| address.prefix.address)
            .collect();
        self.addresses.retain(|address| address.link != index);
        self.routes.retain(|route| route.link != index);
        gone.into_iter().for_each(|address| self.lose_routes_from(address));
        self.bridge_may_adjust(master);
    }

    /// A bond closes a port that leaves and gives it the MTU of before, which is seen next time.
    fn released(&mut self, index: u32) {
        let Some(link) = self.at(index) else { return };
        let (master, was_bond_port) = (link.master, self.is_bond_port(link));
        let _ = self.update(index, |link| {
            link.master = None;
            if was_bond_port {
                link.mtu_bytes = MTU_UNKNOWN;
            }
        });
        if was_bond_port {
            self.closed(index);
        }
        self.bridge_may_adjust(master);
    }

    /// Routes and IPv6 addresses do not outlive a link that goes down; VLANs go down with the link below.
    fn closed(&mut self, index: u32) {
        let _ = self.update(index, |link| link.up = false);
        self.routes.retain(|route| route.link != index);
        self.addresses.retain(|seen| seen.link != index || seen.prefix.address.is_ipv4());
        for vlan in self.vlans_of(index) {
            self.closed(vlan);
        }
    }

    fn resized(&mut self, index: u32, bytes: u32) {
        let Some(master) = self.update(index, |link| {
            link.mtu_bytes = bytes;
            link.master
        }) else {
            return;
        };
        let is_bond = self.at(index).is_some_and(|link| matches!(link.kind, Some(Kind::Bond(_))));
        for link in self.links.iter_mut().filter(|link| is_bond && link.master == Some(index)) {
            link.mtu_bytes = bytes;
        }
        if bytes < MTU_IPV6_MIN_BYTES {
            let is_lost = |link: u32, address: IpAddr| link == index && address.is_ipv6();
            self.addresses.retain(|seen| !is_lost(seen.link, seen.prefix.address));
            self.routes.retain(|route| !is_lost(route.link, route.destination.address));
        }
        for vlan in self.vlans_of(index) {
            if self.at(vlan).is_some_and(|vlan| vlan.mtu_bytes > bytes) {
                self.resized(vlan, bytes);
            }
        }
        self.bridge_may_adjust(master);
    }

    /// A bridge whose MTU nobody set takes the least of its ports'; whether anybody did, the kernel does not say.
    fn bridge_may_adjust(&mut self, master: Option<u32>) {
        let Some(master) = master else { return };
        let _ = self.update(master, |link| {
            if matches!(link.kind, Some(Kind::Bridge(_))) {
                link.mtu_bytes = MTU_UNKNOWN;
            }
        });
    }

    /// Routes do not outlive the address that they leave from.
    fn lose_routes_from(&mut self, address: IpAddr) {
        if self.addresses.iter().all(|seen| seen.prefix.address != address) {
            self.routes.retain(|route| route.source != Some(address));
        }
    }
}

fn planned(route: &Route) -> PlannedRoute {
    let Route { destination, gateway, source, metric, table, .. } = *route;
    PlannedRoute { destination, gateway, source, metric, table }
}

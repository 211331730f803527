//! Addresses and routes of the model.

use std::net::IpAddr;

use netplan::{Address, Origin, PlannedRoute, Prefix, Route};

use super::{Kernel, Refusal};

impl Kernel {
    pub(super) fn add_address(&mut self, index: u32, prefix: Prefix, origin: Origin) {
        let known = self.addresses.iter_mut().find(|seen| {
            // Of IPv6 the address alone counts.
            let same =
                seen.prefix == prefix || prefix.address.is_ipv6() && seen.prefix.address == prefix.address;
            seen.link == index && same
        });
        match known {
            Some(known) => known.origin = origin,
            None => self.addresses.push(Address { link: index, prefix, scope: "global", origin }),
        }
    }

    pub(super) fn delete_address(&mut self, index: u32, prefix: Prefix) -> Result<(), Refusal> {
        let at = self.addresses.iter().position(|seen| (seen.link, seen.prefix) == (index, prefix));
        let at = at.ok_or("EADDRNOTAVAIL")?;
        let same_subnet = |seen: &Address| {
            seen.link == index && seen.prefix.length == prefix.length && seen.prefix.contains(prefix.address)
        };
        let is_first = self.addresses.iter().position(same_subnet) == Some(at);
        let mut gone = vec![self.addresses.remove(at)];
        if is_first && !self.promotes && prefix.address.is_ipv4() {
            let (with, without) = self.addresses.drain(..).partition(|seen| same_subnet(seen));
            self.addresses = without;
            gone.extend::<Vec<_>>(with);
        }
        gone.iter().for_each(|address| self.no_longer_local(address.prefix.address));
        Ok(())
    }

    pub(super) fn no_longer_local(&mut self, address: IpAddr) {
        if self.addresses.iter().all(|seen| seen.prefix.address != address) {
            self.routes.retain(|(route, _)| route.source != Some(address));
        }
    }

    pub(super) fn add_route(
        &mut self,
        index: u32,
        route: &PlannedRoute,
        on_link: bool,
        origin: Origin,
    ) -> Result<(), Refusal> {
        let route = as_route(index, route);
        if !self.link(index).up {
            return Err("ENETDOWN");
        }
        if self.routes.iter().any(|(known, _)| known.same_place(&route)) {
            return Err("EEXIST");
        }
        let local = |address: IpAddr| self.addresses.iter().any(|seen| seen.prefix.address == address);
        if route.source.is_some_and(|source| !local(source)) || route.gateway.is_some_and(local) {
            return Err("EINVAL");
        }
        let link_local = |address: IpAddr| matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
        let connected =
            |gateway| self.addresses.iter().any(|seen| seen.link == index && seen.prefix.contains(gateway));
        if route.gateway.is_some_and(|gateway| !on_link && !link_local(gateway) && !connected(gateway)) {
            return Err("ENETUNREACH");
        }
        self.routes.push((route, origin));
        Ok(())
    }
}

pub(super) fn as_route(link: u32, route: &PlannedRoute) -> Route {
    let PlannedRoute { destination, gateway, source, metric, table } = route.clone();
    Route { link, destination, gateway, source, metric, table }
}

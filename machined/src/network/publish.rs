//! Links and addresses as resources.

use std::net::IpAddr;

use config::Interface;
use resource::spec;

use super::observation::{Link, Observation, Origin};
use crate::store::Store;

/// Publishes all links and addresses; `primary` is the node's own address.
pub fn publish(store: &Store, observed: &Observation, interfaces: &[Interface], primary: Option<IpAddr>) {
    store.replace_all(observed.links.iter().map(|link| (link.name.clone(), link_spec(link))));
    let addresses = observed.addresses.iter().filter_map(|seen| {
        let link = observed.links.iter().find(|link| link.index == seen.link)?;
        let address = format!("{}/{}", seen.address, seen.prefix_length);
        let spec = spec::Address {
            link: link.name.clone(),
            family: if seen.address.is_ipv4() { "inet" } else { "inet6" }.to_owned(),
            scope: seen.scope.to_owned(),
            source: match seen.origin {
                Origin::Ours if is_configured(interfaces, &link.name, seen.address) => "static",
                Origin::Ours => "dhcp",
                Origin::Kernel => "kernel",
                Origin::Foreign => "other",
            }
            .to_owned(),
            primary: primary == Some(seen.address),
            address: address.clone(),
        };
        Some((format!("{}/{address}", link.name), spec))
    });
    store.replace_all(addresses);
}

fn is_configured(interfaces: &[Interface], link: &str, address: IpAddr) -> bool {
    let mut of_link = interfaces.iter().filter(|interface| interface.name == link);
    of_link.any(|interface| interface.addresses.iter().any(|subnet| IpAddr::V4(subnet.address) == address))
}

fn link_spec(link: &Link) -> spec::Link {
    let octets: Vec<String> = link.hardware_address.iter().map(|octet| format!("{octet:02x}")).collect();
    spec::Link {
        index: link.index,
        kind: link.kind.clone(),
        hardware_address: octets.join(":"),
        mtu_bytes: link.mtu_bytes,
        up: link.up,
        carrier: link.carrier,
    }
}

#[cfg(test)]
mod tests {
    use super::super::observation::Address;
    use super::*;
    use resource::Spec as _;

    #[test]
    fn what_is_gone_is_removed() {
        let store = Store::default();
        let link = |index, name: &str| Link {
            index,
            name: name.into(),
            hardware_address: vec![2, 0xab],
            ..Link::default()
        };
        let address = |link, origin| Address {
            link,
            address: "192.0.2.7".parse().unwrap(),
            prefix_length: 24,
            scope: "global",
            origin,
        };
        let mut observed = Observation {
            links: vec![link(1, "eth0"), link(2, "veth9")],
            addresses: vec![address(1, Origin::Ours), address(2, Origin::Foreign), address(7, Origin::Ours)],
            routes: vec![],
        };
        let ids = |kind| store.read(|s| s.list(kind).map(|r| r.id.clone()).collect::<Vec<_>>());
        publish(&store, &observed, &[], Some("192.0.2.7".parse().unwrap()));
        assert_eq!(ids(&spec::Link::KIND), ["eth0", "veth9"]);
        assert_eq!(ids(&spec::Address::KIND), ["eth0/192.0.2.7/24", "veth9/192.0.2.7/24"]);
        let source = |id: &str| {
            store.read(|s| s.get(&spec::Address::KIND, id).map(|found| found.spec["source"].clone())).unwrap()
        };
        assert_eq!(source("eth0/192.0.2.7/24"), "dhcp");
        let configured = Interface {
            name: "eth0".into(),
            dhcp: false,
            addresses: vec![config::Subnet { address: "192.0.2.7".parse().unwrap(), prefix_length: 24 }],
            gateway: None,
            mtu_bytes: None,
        };
        publish(&store, &observed, &[configured], None);
        assert_eq!(source("eth0/192.0.2.7/24"), "static");
        assert_eq!(source("veth9/192.0.2.7/24"), "other");
        observed.links.pop();
        publish(&store, &observed, &[], None);
        assert_eq!(ids(&spec::Link::KIND), ["eth0"]);
        assert_eq!(ids(&spec::Address::KIND), ["eth0/192.0.2.7/24"]);
        assert_eq!(link_spec(&observed.links[0]).hardware_address, "02:ab");
    }
}

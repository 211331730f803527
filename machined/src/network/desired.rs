//! From documents and leases to the addresses, routes and MTU that a link should have. Pure.

use std::net::{IpAddr, Ipv4Addr};

use config::Interface;
use dhcp::Lease;
use netplan::{Addressing, Desired, Mtu, NewRoute, Prefix, TABLE_MAIN, default_metric};

/// Where an IPv4 default route leads.
const EVERYWHERE: Prefix = Prefix::everything(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

/// What a document says.
pub fn configured(interface: &Interface) -> Addressing {
    let addresses: Vec<Prefix> = interface.addresses.iter().map(config::Subnet::prefix).collect();
    // Our address as the next hop sees it.
    let source = |gateway: Option<IpAddr>| {
        let gateway = gateway.filter(IpAddr::is_ipv4)?;
        addresses.iter().find(|own| own.contains(gateway)).map(|own| own.address)
    };
    let gateway = interface.gateway.map(IpAddr::V4);
    let default = gateway.map(|gateway| NewRoute {
        destination: EVERYWHERE,
        gateway: Some(gateway),
        source: source(Some(gateway)),
        metric: default_metric(gateway),
        table: TABLE_MAIN,
        learned: false,
    });
    let further = interface.routes.iter().map(|route| NewRoute {
        destination: route.destination,
        gateway: route.gateway,
        source: source(route.gateway),
        metric: route.metric,
        table: route.table,
        learned: false,
    });
    let routes = default.into_iter().chain(further).collect();
    Addressing::Exactly { addresses, routes }
}

/// What a server granted, and besides what the document of a link that asks one says.
pub fn leased(lease: &Lease, interface: Option<&Interface>) -> Addressing {
    let address = IpAddr::V4(lease.address);
    let routes = lease.routes.iter().map(|route| NewRoute {
        destination: Prefix::new(route.destination.into(), route.prefix_length),
        gateway: route.gateway.map(IpAddr::V4),
        source: Some(address),
        metric: default_metric(address),
        table: TABLE_MAIN,
        learned: true,
    });
    let further = interface.map(configured);
    let further = further.iter().flat_map(Addressing::routes).cloned();
    Addressing::Exactly {
        addresses: vec![Prefix::new(address, lease.prefix_length)],
        routes: further.chain(routes).collect(),
    }
}

/// The MTU of a link: what is configured, else what its server says, else the link's own.
pub fn mtu(configured_bytes: Option<u32>, undecided: bool, lease: Option<&Lease>) -> Mtu {
    match (configured_bytes, lease.and_then(|lease| lease.mtu)) {
        (Some(bytes), _) => Mtu::Configured(bytes),
        (None, _) if undecided => Mtu::Kept,
        (None, Some(bytes)) => Mtu::Offered(bytes.into()),
        (None, None) => Mtu::Default,
    }
}

/// The node's own address: one in these networks, in their order, or else the source of its default route, or the first
/// that there is, IPv4 before IPv6.
pub fn primary(desired: &[Desired], networks: &[Prefix]) -> Option<IpAddr> {
    let routes = || desired.iter().flat_map(|link| link.addressing.routes());
    let default = routes()
        .filter(|route| route.destination == EVERYWHERE && route.table == TABLE_MAIN)
        .min_by_key(|route| (route.metric, route.learned));
    let addresses =
        || desired.iter().flat_map(|link| link.addressing.addresses()).map(|prefix| prefix.address);
    networks
        .iter()
        .find_map(|network| addresses().find(|address| network.contains(*address)))
        .or_else(|| default.and_then(|route| route.source))
        .or_else(|| addresses().find(IpAddr::is_ipv4))
        .or_else(|| addresses().next())
}

#[cfg(test)]
mod tests {
    use config::{StaticRoute, Subnet};
    use netplan::Device;

    use super::*;

    fn subnet(text: &str) -> Subnet {
        let (address, prefix_length) = text.split_once('/').unwrap();
        Subnet { address: address.parse().unwrap(), prefix_length: prefix_length.parse().unwrap() }
    }

    fn fixed(addresses: &[&str], gateway: Option<&str>) -> Interface {
        Interface {
            name: "eth0".into(),
            addresses: addresses.iter().map(|text| subnet(text)).collect(),
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            ..Interface::default()
        }
    }

    fn lease(mtu: Option<u16>) -> Lease {
        let gateway = Some(Ipv4Addr::new(192, 0, 2, 1));
        Lease {
            address: Ipv4Addr::new(192, 0, 2, 100),
            prefix_length: 24,
            server: Ipv4Addr::new(192, 0, 2, 1),
            duration_s: Some(3600),
            renew_s: 1800,
            rebind_s: 3150,
            routes: vec![dhcp::Route { destination: Ipv4Addr::UNSPECIFIED, prefix_length: 0, gateway }],
            dns: vec![],
            ntp: vec![],
            domain: None,
            hostname: None,
            mtu,
        }
    }

    fn link(addressing: Addressing) -> Desired {
        Desired { name: "eth0".into(), device: Device::Hardware, mtu: Mtu::Default, addressing }
    }

    fn shown(addressing: &Addressing) -> Vec<String> {
        let route = |route: &NewRoute| {
            let source = route.source.map(|source| format!(" src {source}")).unwrap_or_default();
            format!("{} metric {}{source}", route.destination, route.metric)
        };
        let addresses = addressing.addresses().iter().map(ToString::to_string);
        addresses.chain(addressing.routes().iter().map(route)).collect()
    }

    #[test]
    fn a_gateway_is_a_default_route_from_the_address_that_it_sees() {
        let mut interface =
            fixed(&["198.51.100.5/25", "203.0.113.5/24", "2001:db8::5/64"], Some("203.0.113.1"));
        let to = |destination: &str, gateway: &str, metric| StaticRoute {
            destination: subnet(destination).prefix(),
            gateway: Some(gateway.parse().unwrap()),
            metric,
            table: TABLE_MAIN,
        };
        interface.routes = vec![to("::/0", "fe80::1", 512), to("10.0.0.0/8", "198.51.100.1", 7)];
        let expected = [
            "198.51.100.5/25",
            "203.0.113.5/24",
            "2001:db8::5/64",
            "0.0.0.0/0 metric 1024 src 203.0.113.5",
            "::/0 metric 512",
            "10.0.0.0/8 metric 7 src 198.51.100.5",
        ];
        assert_eq!(shown(&configured(&interface)), expected);
    }

    #[test]
    fn a_lease_brings_its_routes_after_those_that_are_configured() {
        let mut interface = fixed(&[], None);
        interface.routes = vec![StaticRoute {
            destination: subnet("198.51.100.0/24").prefix(),
            gateway: None,
            metric: 9,
            table: TABLE_MAIN,
        }];
        let expected =
            ["192.0.2.100/24", "198.51.100.0/24 metric 9", "0.0.0.0/0 metric 1024 src 192.0.2.100"];
        assert_eq!(shown(&leased(&lease(None), Some(&interface))), expected);
    }

    #[test]
    fn the_nodes_address_is_the_source_of_its_default_route() {
        let (by_dhcp, by_hand) = (leased(&lease(None), None), fixed(&["10.9.0.5/24"], Some("10.9.0.1")));
        let both = [link(by_dhcp.clone()), link(configured(&by_hand))];
        assert_eq!(primary(&both, &[]), Some([10, 9, 0, 5].into()), "what is configured goes first");
        let without = fixed(&["10.9.0.5/24"], None);
        assert_eq!(primary(&[link(configured(&without)), link(by_dhcp)], &[]), Some([192, 0, 2, 100].into()));
        let mixed = fixed(&["2001:db8::5/64", "10.9.0.5/24"], None);
        assert_eq!(primary(&[link(configured(&mixed))], &[]), Some([10, 9, 0, 5].into()));
        let ipv6 = fixed(&["2001:db8::5/64"], None);
        assert_eq!(primary(&[link(configured(&ipv6))], &[]), Some("2001:db8::5".parse().unwrap()));
        assert_eq!(primary(&[link(Addressing::Undecided)], &[]), None);
        let preferred = ["203.0.113.0/24", "10.9.0.0/16"].map(|text| subnet(text).prefix());
        let without = [link(configured(&fixed(&["10.9.0.5/24"], None))), link(leased(&lease(None), None))];
        assert_eq!(
            primary(&without, &preferred),
            Some([10, 9, 0, 5].into()),
            "where the configuration wants it"
        );
    }

    #[test]
    fn a_configured_mtu_wins() {
        let (plain, offering) = (lease(None), lease(Some(1400)));
        assert_eq!(mtu(Some(9000), true, Some(&offering)), Mtu::Configured(9000));
        assert_eq!(mtu(None, false, Some(&offering)), Mtu::Offered(1400));
        assert_eq!(mtu(None, false, Some(&plain)), Mtu::Default);
        assert_eq!(mtu(None, true, None), Mtu::Kept);
        assert_eq!(mtu(None, false, None), Mtu::Default);
    }
}

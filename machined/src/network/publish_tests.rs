use config::{Interface, Subnet};
use netplan::{Address, Addressing, Device, Mtu, NewRoute, Prefix, Route, TABLE_MAIN};
use resource::Spec as _;

use super::super::intent::Source;
use super::*;

fn link(index: u32, name: &str) -> Link {
    Link { index, name: name.into(), hardware_address: vec![2, 0xab], ..Link::default() }
}

fn prefix(address: &str, length: u8) -> Prefix {
    Prefix::new(address.parse().unwrap(), length)
}

fn address(link: u32, origin: Origin) -> Address {
    Address { link, prefix: prefix("192.0.2.7", 24), scope: "global", origin }
}

fn ids(store: &Store, kind: &'static resource::Kind) -> Vec<String> {
    store.read(|store| store.list(kind).map(|found| found.id.clone()).collect())
}

fn spec<S: resource::Spec>(store: &Store, id: &str) -> S {
    let kind = const { &S::KIND };
    let found = store.read(|store| store.get(kind, id).map(|found| found.spec.clone()));
    serde_json::from_value(found.unwrap_or_else(|| panic!("no {id}"))).unwrap()
}

fn wanted<'a>(name: &str, interface: &'a Interface) -> Wanted<'a> {
    Wanted {
        name: name.to_owned(),
        device: interface.device.clone(),
        link: None,
        interface: Some(interface),
        source: Source::Static(interface),
        mtu_bytes: None,
    }
}

#[test]
fn what_is_gone_is_removed() {
    let store = Store::default();
    let mut observed = Observed {
        links: vec![link(1, "eth0"), link(2, "veth9")],
        addresses: vec![address(1, Origin::Ours), address(2, Origin::Foreign), address(7, Origin::Ours)],
        ..Observed::default()
    };
    let publish = |observed: &Observed, intent: &Intent<'_>, primary| {
        publish(&store, &View { observed, routes: &[], intent, desired: &[], primary });
    };
    publish(&observed, &Intent::default(), Some("192.0.2.7".parse().unwrap()));
    assert_eq!(ids(&store, &spec::Link::KIND), ["eth0", "veth9"]);
    assert_eq!(ids(&store, &spec::Address::KIND), ["eth0/192.0.2.7/24", "veth9/192.0.2.7/24"]);
    let source = |id: &str| spec::<spec::Address>(&store, id).source;
    assert_eq!(source("eth0/192.0.2.7/24"), "dhcp");
    let configured = Interface {
        name: "uplink".into(),
        addresses: vec![Subnet { address: "192.0.2.7".parse().unwrap(), prefix_length: 24 }],
        ..Interface::default()
    };
    let intent = Intent { wanted: vec![wanted("eth0", &configured)], faults: vec![] };
    publish(&observed, &intent, None);
    assert_eq!(source("eth0/192.0.2.7/24"), "static");
    assert_eq!(source("veth9/192.0.2.7/24"), "other");
    assert_eq!(spec::<spec::Link>(&store, "eth0").document, "Interface/uplink");
    observed.links.pop();
    publish(&observed, &Intent::default(), None);
    assert_eq!(ids(&store, &spec::Link::KIND), ["eth0"]);
    assert_eq!(ids(&store, &spec::Address::KIND), ["eth0/192.0.2.7/24"]);
}

#[test]
fn links_say_what_they_stand_on_and_whose_they_are() {
    let store = Store::default();
    let bridge = Interface {
        name: "br0".into(),
        device: Device::Bridge { settings: netplan::Bridge { spanning_tree: None }, ports: vec![] },
        ..Interface::default()
    };
    let made =
        |index, name: &str, kind: &str| Link { ours: true, kind_name: kind.into(), ..link(index, name) };
    let hardware =
        Link { physical: true, driver: "igc".into(), permanent_address: vec![2, 1], ..link(1, "eth0") };
    let vlan =
        Link { kind: Some(Kind::Vlan { id: 7 }), parent: Some(1), master: Some(3), ..made(2, "v", "vlan") };
    // What a veth stands on is its other end.
    let veth = Link { kind_name: "veth".into(), parent: Some(1), ..link(4, "veth9") };
    let links = vec![hardware, vlan, made(3, "br0", "bridge"), veth];
    let observed = Observed { links, ..Observed::default() };
    let intent = Intent { wanted: vec![wanted("br0", &bridge)], faults: vec![] };
    publish(&store, &View { observed: &observed, routes: &[], intent: &intent, desired: &[], primary: None });
    let shown = |name: &str| {
        let spec::Link { kind, origin, document, master, parent, vlan_id, .. } = spec(&store, name);
        format!("{kind}|{origin}|{document}|{master}|{parent}|{vlan_id:?}")
    };
    assert_eq!(shown("eth0"), "|kernel||||None");
    assert_eq!(shown("v"), "vlan|configuration||br0|eth0|Some(7)");
    assert_eq!(shown("br0"), "bridge|configuration|Bridge/br0|||None");
    assert_eq!(shown("veth9"), "veth|other||||None");
    let eth0: spec::Link = spec(&store, "eth0");
    assert_eq!((eth0.driver.as_str(), eth0.permanent_address.as_str()), ("igc", "02:01"));
}

#[test]
fn routes_say_who_set_them() {
    let store = Store::default();
    let route = |destination, gateway: Option<&str>, metric, protocol| KernelRoute {
        route: Route {
            link: 1,
            destination,
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            source: None,
            metric,
            table: TABLE_MAIN,
        },
        protocol,
    };
    let default = prefix("0.0.0.0", 0);
    let routes = [
        route(default, Some("192.0.2.1"), 1024, OUR_PROTOCOL),
        route(prefix("198.51.100.0", 24), Some("192.0.2.1"), 7, OUR_PROTOCOL),
        route(prefix("192.0.2.0", 24), None, 0, 2),
        route(prefix("::", 0), Some("fe80::1"), 1024, 9),
        route(prefix("10.244.1.0", 24), None, 0, 4),
    ];
    let new = |destination, metric, learned| NewRoute {
        destination,
        gateway: Some("192.0.2.1".parse().unwrap()),
        source: None,
        metric,
        table: TABLE_MAIN,
        learned,
    };
    let desired = [Desired {
        name: "eth0".into(),
        device: Device::Hardware,
        mtu: Mtu::Default,
        addressing: Addressing::Exactly {
            addresses: vec![],
            routes: vec![new(prefix("198.51.100.0", 24), 7, false), new(default, 1024, true)],
        },
    }];
    let observed = Observed { links: vec![link(1, "eth0")], ..Observed::default() };
    let intent = Intent::default();
    let view =
        View { observed: &observed, routes: &routes, intent: &intent, desired: &desired, primary: None };
    publish(&store, &view);
    let origin = |id: &str| spec::<spec::Route>(&store, id).origin;
    assert_eq!(origin("254/0.0.0.0/0/1024/eth0/192.0.2.1"), "dhcp");
    assert_eq!(origin("254/198.51.100.0/24/7/eth0/192.0.2.1"), "static");
    assert_eq!(origin("254/192.0.2.0/24/0/eth0"), "kernel");
    assert_eq!(origin("254/::/0/1024/eth0/fe80::1"), "ra");
    assert_eq!(origin("254/10.244.1.0/24/0/eth0"), "other");
    assert_eq!(spec::<spec::Route>(&store, "254/::/0/1024/eth0/fe80::1").family, "inet6");
}

#[test]
fn neighbours_are_published_with_their_link() {
    let store = Store::default();
    let neighbour = |link, state| Neighbour {
        link,
        address: "192.0.2.1".parse().unwrap(),
        hardware_address: vec![2, 0, 0, 0, 0, 9],
        state,
        router: false,
    };
    let observed = Observed { links: vec![link(1, "eth0")], ..Observed::default() };
    publish_neighbours(&store, &observed, &[neighbour(1, "resolved"), neighbour(9, "failed")]);
    assert_eq!(ids(&store, &spec::Neighbour::KIND), ["eth0/192.0.2.1"]);
    let found: spec::Neighbour = spec(&store, "eth0/192.0.2.1");
    assert_eq!((found.hardware_address.as_str(), found.state.as_str()), ("02:00:00:00:00:09", "resolved"));
    publish_neighbours(&store, &observed, &[]);
    assert_eq!(ids(&store, &spec::Neighbour::KIND), [""; 0]);
}

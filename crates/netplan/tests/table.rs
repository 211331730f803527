//! Plans of situations that nodes are in.

mod kernel;

use std::net::IpAddr;

use kernel::Kernel;
use netplan::{
    Addressing, Bond, BondMode, Bridge, Desired, Device, Link, Mtu, NewRoute, Observed, Operation, Origin,
    Prefix, TABLE_MAIN, default_metric, plan,
};

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap())
}

fn link(name: &str, addresses: &[&str], gateway: Option<&str>) -> Desired {
    let addresses: Vec<Prefix> = addresses.iter().map(|text| prefix(text)).collect();
    let route = |gateway: &str| {
        let gateway: IpAddr = gateway.parse().unwrap();
        NewRoute {
            destination: Prefix::everything(gateway),
            gateway: Some(gateway),
            source: addresses.iter().find(|own| own.contains(gateway)).map(|own| own.address),
            metric: default_metric(gateway),
            table: TABLE_MAIN,
            learned: false,
        }
    };
    let routes = gateway.map(route).into_iter().collect();
    Desired {
        name: name.to_owned(),
        device: Device::Hardware,
        mtu: Mtu::Default,
        addressing: Addressing::Exactly { addresses, routes },
    }
}

fn made(name: &str, device: Device) -> Desired {
    Desired { device, ..link(name, &[], None) }
}

fn learned(mut link: Desired) -> Desired {
    if let Addressing::Exactly { routes, .. } = &mut link.addressing {
        routes.iter_mut().for_each(|route| route.learned = true);
    }
    link
}

/// Up, with nothing to be said about it.
fn running(names: &[&str]) -> Kernel {
    let mut kernel = Kernel::with_hardware(names);
    settle(&mut kernel, &[]);
    kernel
}

fn settle(kernel: &mut Kernel, desired: &[Desired]) {
    for _ in 0..2 {
        for operation in plan(&kernel.observe(), desired).operations {
            kernel.apply(&operation, Origin::Ours).unwrap();
        }
    }
    assert_eq!(plan(&kernel.observe(), desired).operations, []);
}

fn shown(observed: &Observed, desired: &[Desired]) -> Vec<String> {
    plan(observed, desired).operations.iter().map(ToString::to_string).collect()
}

#[test]
fn a_fresh_node_gets_its_hardware_up_and_nothing_else() {
    let mut kernel = Kernel::with_hardware(&["eth0"]);
    kernel.insert(Link { name: "veth0".into(), ..Link::default() });
    let expected = [
        "keep addresses when the first of their subnet goes",
        "accept router advertisements on eth0",
        "set lo up",
        "set eth0 up",
    ];
    let undecided = Desired { addressing: Addressing::Undecided, ..link("eth0", &[], None) };
    for desired in [undecided, link("eth0", &[], None)] {
        assert_eq!(shown(&kernel.observe(), &[desired]), expected);
    }
}

#[test]
fn what_an_earlier_run_configured_stays_until_there_is_a_decision() {
    let mut kernel = running(&["eth0"]);
    settle(&mut kernel, &[link("eth0", &["192.0.2.100/24"], Some("192.0.2.1"))]);
    let undecided = Desired { addressing: Addressing::Undecided, ..link("eth0", &[], None) };
    assert_eq!(shown(&kernel.observe(), &[undecided]), [""; 0]);
    let expected = ["remove the route to 0.0.0.0/0 from eth0", "remove 192.0.2.100/24 from eth0"];
    assert_eq!(shown(&kernel.observe(), &[link("eth0", &[], None)]), expected);
    assert_eq!(shown(&kernel.observe(), &[]), expected);
}

#[test]
fn another_address_comes_before_the_old_one_goes() {
    let mut kernel = running(&["eth0"]);
    settle(&mut kernel, &[link("eth0", &["192.0.2.100/24"], Some("192.0.2.1"))]);
    let desired = [link("eth0", &["198.51.100.5/25", "192.0.2.7/24"], Some("192.0.2.1"))];
    let expected = [
        "add 198.51.100.5/25 to eth0",
        "add 192.0.2.7/24 to eth0",
        "remove the route to 0.0.0.0/0 from eth0",
        "add the route to 0.0.0.0/0 on eth0",
        "remove 192.0.2.100/24 from eth0",
    ];
    assert_eq!(shown(&kernel.observe(), &desired), expected);
    settle(&mut kernel, &desired);
}

#[test]
fn an_ipv6_address_has_one_prefix_at_a_time() {
    let mut kernel = running(&["eth0"]);
    settle(&mut kernel, &[link("eth0", &["2001:db8::5/64"], None)]);
    let desired = [link("eth0", &["2001:db8::5/96"], None)];
    let expected = ["remove 2001:db8::5/64 from eth0", "add 2001:db8::5/96 to eth0"];
    assert_eq!(shown(&kernel.observe(), &desired), expected);
    settle(&mut kernel, &desired);
}

#[test]
fn a_configured_gateway_goes_before_that_of_a_server() {
    let mut kernel = running(&["eth0", "eth1"]);
    let server = learned(link("eth0", &["192.0.2.100/24"], Some("192.0.2.1")));
    settle(&mut kernel, std::slice::from_ref(&server));
    let fixed = link("eth1", &["10.9.0.5/24"], Some("10.9.0.1"));
    let expected = [
        "add 10.9.0.5/24 to eth1",
        "remove the route to 0.0.0.0/0 from eth0",
        "add the route to 0.0.0.0/0 on eth1",
    ];
    assert_eq!(shown(&kernel.observe(), &[server.clone(), fixed.clone()]), expected);
    let undecided = Desired { addressing: Addressing::Undecided, ..server.clone() };
    assert_eq!(shown(&kernel.observe(), &[undecided, fixed]), expected, "one destination has one route");
    let without = link("eth1", &["10.9.0.5/24"], None);
    assert_eq!(shown(&kernel.observe(), &[without, server]), ["add 10.9.0.5/24 to eth1"]);
}

#[test]
fn a_gateway_outside_of_the_subnet_is_reached_on_the_link() {
    let kernel = running(&["eth0"]);
    let on_link = |address: &str, gateway: &str| {
        let desired = [link("eth0", &[address], Some(gateway))];
        let planned = plan(&kernel.observe(), &desired).operations;
        planned.into_iter().any(|operation| matches!(operation, Operation::AddRoute { on_link: true, .. }))
    };
    assert!(on_link("192.0.2.100/32", "192.0.2.1") && on_link("192.0.2.100/28", "192.0.2.1"));
    assert!(!on_link("192.0.2.100/24", "192.0.2.1") && !on_link("192.0.2.100/1", "192.0.2.1"));
    assert!(on_link("2001:db8::5/64", "2001:db8:1::1") && !on_link("2001:db8::5/64", "fe80::1"));
}

#[test]
fn the_mtu_of_a_server_stays_within_what_the_driver_takes() {
    let set = |mtu, range, former| {
        let mut observed = running(&["eth0"]).observe();
        let eth0 = observed.links.iter_mut().find(|link| link.name == "eth0").unwrap();
        (eth0.mtu_range_bytes, eth0.former_mtu_bytes) = (range, former);
        let desired = [Desired { mtu, ..link("eth0", &[], None) }];
        plan(&observed, &desired).operations.into_iter().find_map(|operation| match operation {
            Operation::SetMtu { bytes, .. } => Some(bytes),
            _ => None,
        })
    };
    assert_eq!(set(Mtu::Default, (68, 9000), None), None, "set by someone else");
    assert_eq!(set(Mtu::Default, (68, 9000), Some(1450)), Some(1450), "what was before comes back");
    assert_eq!(set(Mtu::Kept, (68, 9000), Some(1450)), None);
    assert_eq!(set(Mtu::Offered(1500), (68, 9000), None), None);
    assert_eq!(set(Mtu::Offered(1400), (68, 9000), None), Some(1400));
    assert_eq!(set(Mtu::Offered(9000), (68, 1500), None), None);
    assert_eq!(set(Mtu::Offered(9000), (0, 0), None), Some(9000));
    assert_eq!(set(Mtu::Offered(576), (1280, 9000), None), Some(1280));
    assert_eq!(
        set(Mtu::Configured(9999), (68, 9000), None),
        Some(9999),
        "the kernel judges what is configured"
    );
}

#[test]
fn an_address_moves_to_the_bridge_that_its_link_joins() {
    let mut kernel = running(&["eth0"]);
    settle(&mut kernel, &[link("eth0", &["192.0.2.5/24"], Some("192.0.2.1"))]);
    let bridge = Device::Bridge { settings: Bridge { spanning_tree: None }, ports: vec!["eth0".into()] };
    let desired = [Desired { device: bridge, ..link("br0", &["192.0.2.5/24"], Some("192.0.2.1")) }];
    let expected = [
        "make the bridge br0",
        "make eth0 a port of br0",
        "set the MTU of br0 to 1500",
        "accept router advertisements on br0",
        "set br0 up",
        "add 192.0.2.5/24 to br0",
        "remove the route to 0.0.0.0/0 from eth0",
        "add the route to 0.0.0.0/0 on br0",
        "remove 192.0.2.5/24 from eth0",
    ];
    assert_eq!(shown(&kernel.observe(), &desired), expected);
    settle(&mut kernel, &desired);
}

#[test]
fn another_mode_makes_a_bond_anew_with_all_that_stands_on_it() {
    let mut kernel = running(&["eth0", "eth1"]);
    let bond = |mode| Device::Bond {
        settings: Bond { mode, monitor_interval_ms: 100 },
        ports: vec!["eth0".into(), "eth1".into()],
    };
    let lacp = BondMode::Lacp { rate: netplan::LacpRate::Slow, hash: netplan::HashPolicy::Layer23 };
    let vlan = Device::Vlan { parent: "bond0".into(), id: 7 };
    let vlan = Desired { device: vlan, ..link("vlan7", &["192.0.2.5/24"], None) };
    settle(&mut kernel, &[made("bond0", bond(BondMode::ActiveBackup)), vlan.clone()]);
    let desired = [made("bond0", bond(lacp)), vlan];
    let expected = [
        "remove bond0",
        "make the 802.3ad bond bond0",
        "make eth0 a port of bond0",
        "make eth1 a port of bond0",
        "make the VLAN 7 vlan7 above bond0",
        "accept router advertisements on bond0",
        "accept router advertisements on vlan7",
        "set bond0 up",
        "set vlan7 up",
        "add 192.0.2.5/24 to vlan7",
    ];
    assert_eq!(shown(&kernel.observe(), &desired), expected, "the ports are down already");
    settle(&mut kernel, &desired);
}

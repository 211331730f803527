use proptest::prelude::*;

use super::*;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn lease() -> Lease {
    let default = dhcp::Route { destination: Ipv4Addr::UNSPECIFIED, prefix_length: 0, gateway: Some(ROUTER) };
    Lease {
        address: ADDRESS,
        prefix_length: 24,
        server: ROUTER,
        duration_s: Some(3600),
        renew_s: 1800,
        rebind_s: 3150,
        routes: vec![default],
        dns: vec![],
        domain: None,
        hostname: None,
        mtu: None,
    }
}

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.into(),
        hardware_address: vec![2, 0, 0, 0, 0, 1],
        mtu_bytes: 1500,
        mtu_range_bytes: (68, 9000),
        up: true,
        carrier: true,
        physical: true,
        accept_ra: Some(2),
        ..Link::default()
    }
}

fn ours(address: Ipv4Addr, prefix_length: u8, origin: Origin) -> Address {
    Address { link: 2, address: IpAddr::V4(address), prefix_length, scope: "global", origin }
}

fn settled() -> Observation {
    Observation {
        links: vec![link(2, "eth0")],
        addresses: vec![ours(ADDRESS, 24, Origin::Ours)],
        routes: routes(&leased(&lease())),
    }
}

fn on_eth0(addressing: Addressing<'_>) -> [Desired<'_>; 1] {
    [Desired { link: 2, addressing, mtu_bytes: None }]
}

fn leased(lease: &Lease) -> [Desired<'_>; 1] {
    on_eth0(Addressing::Lease(lease))
}

fn fixed(name: &str, addresses: &[&str], gateway: Option<&str>) -> Interface {
    let subnet = |text: &&str| {
        let (address, prefix_length) = text.split_once('/').unwrap();
        Subnet { address: address.parse().unwrap(), prefix_length: prefix_length.parse().unwrap() }
    };
    Interface {
        name: name.into(),
        dhcp: false,
        addresses: addresses.iter().map(subnet).collect(),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        mtu_bytes: None,
    }
}

fn shown(observed: &Observation, desired: &[Desired<'_>]) -> Vec<String> {
    plan(observed, desired).iter().map(ToString::to_string).collect()
}

/// What the kernel makes of an operation.
fn apply(observed: &mut Observation, operation: &Operation) {
    match operation {
        Operation::SetUp { link, .. } => {
            observed.links.iter_mut().filter(|l| l.index == *link).for_each(|l| l.up = true);
        }
        Operation::AcceptRouterAdvertisements { name } => {
            observed.links.iter_mut().filter(|l| l.name == *name).for_each(|l| l.accept_ra = Some(2));
        }
        Operation::SetMtu { link, bytes } => {
            observed.links.iter_mut().filter(|l| l.index == *link).for_each(|l| l.mtu_bytes = *bytes);
        }
        Operation::AddAddress { address, prefix_length, .. } => {
            observed.addresses.push(ours(*address, *prefix_length, Origin::Ours));
        }
        Operation::DeleteAddress { link, address, prefix_length } => {
            let before = observed.addresses.len();
            observed.addresses.retain(|seen| {
                (seen.link, seen.address, seen.prefix_length) != (*link, IpAddr::V4(*address), *prefix_length)
            });
            assert_eq!(before, observed.addresses.len() + 1, "removes what is there");
            observed.routes.retain(|route| route.source != Some(*address));
        }
        Operation::AddRoute { route, .. } => {
            let taken = observed
                .routes
                .iter()
                .any(|r| (r.destination, r.prefix_length) == (route.destination, route.prefix_length));
            assert!(!taken, "EEXIST: {route:?}");
            observed.routes.push(route.clone());
        }
        Operation::DeleteRoute(route) => observed.routes.retain(|seen| seen != route),
    }
}

#[test]
fn a_fresh_node_gets_its_links_up_and_nothing_else() {
    let lo = Link { index: 1, name: "lo".into(), loopback: true, ..Link::default() };
    let eth0 = Link { up: false, carrier: false, accept_ra: Some(1), ..link(2, "eth0") };
    let veth = Link { up: false, physical: false, accept_ra: None, ..link(3, "veth0") };
    let observed = Observation { links: vec![lo, eth0, veth], ..Observation::default() };
    for desired in [Addressing::Undecided, Addressing::Nothing] {
        assert_eq!(
            shown(&observed, &on_eth0(desired)),
            ["set lo up", "accept router advertisements on eth0", "set eth0 up"]
        );
    }
}

#[test]
fn a_lease_becomes_an_address_and_routes() {
    let observed = Observation { links: vec![link(2, "eth0")], ..Observation::default() };
    let lease = lease();
    let expected = ["add 192.0.2.100/24 to link 2", "add the route to 0.0.0.0/0"];
    assert_eq!(shown(&observed, &leased(&lease)), expected);
    assert_eq!(plan(&settled(), &leased(&lease)), []);
    assert_eq!(primary(&leased(&lease)), Some(ADDRESS));
}

#[test]
fn what_an_earlier_run_configured_stays_until_there_is_a_decision() {
    assert_eq!(plan(&settled(), &on_eth0(Addressing::Undecided)), []);
    let expected = ["remove the route to 0.0.0.0/0", "remove 192.0.2.100/24 from link 2"];
    assert_eq!(shown(&settled(), &on_eth0(Addressing::Nothing)), expected);
    assert_eq!(shown(&settled(), &[]), expected);
}

#[test]
fn a_static_address_takes_the_place_of_a_lease_and_back() {
    let interface = fixed("eth0", &["198.51.100.5/25", "203.0.113.5/24"], Some("203.0.113.1"));
    let desired = on_eth0(Addressing::Static(&interface));
    assert_eq!(
        shown(&settled(), &desired),
        [
            "remove the route to 0.0.0.0/0",
            "remove 192.0.2.100/24 from link 2",
            "add 198.51.100.5/25 to link 2",
            "add 203.0.113.5/24 to link 2",
            "add the route to 0.0.0.0/0",
        ]
    );
    assert_eq!(primary(&desired), Some(Ipv4Addr::new(203, 0, 113, 5)), "what the default route leaves from");
    let mut observed = settled();
    plan(&observed, &desired).iter().for_each(|operation| apply(&mut observed, operation));
    assert_eq!(plan(&observed, &desired), []);
    assert_eq!(plan(&observed, &on_eth0(Addressing::Undecided)), [], "until a lease is known");
    let lease = lease();
    plan(&observed, &leased(&lease)).iter().for_each(|operation| apply(&mut observed, operation));
    assert_eq!(observed, settled());
}

#[test]
fn a_configured_gateway_goes_before_that_of_a_server() {
    let (interface, lease) = (fixed("eth1", &["10.9.0.5/24"], Some("10.9.0.1")), lease());
    let mut observed = settled();
    observed.links.push(link(3, "eth1"));
    let [first] = leased(&lease);
    let second = Desired { link: 3, addressing: Addressing::Static(&interface), mtu_bytes: None };
    let expected =
        ["remove the route to 0.0.0.0/0", "add 10.9.0.5/24 to link 3", "add the route to 0.0.0.0/0"];
    assert_eq!(shown(&observed, &[first, second]), expected);
    let undecided = Desired { addressing: Addressing::Undecided, ..first };
    assert_eq!(shown(&observed, &[undecided, second]), expected, "one destination has one route");
    let without = Interface { gateway: None, ..interface.clone() };
    let second = Desired { addressing: Addressing::Static(&without), ..second };
    assert_eq!(shown(&observed, &[second, first]), ["add 10.9.0.5/24 to link 3"]);
    assert_eq!(primary(&[second, first]), Some(ADDRESS));
}

#[test]
fn a_gateway_outside_of_the_subnet_is_reached_on_the_link() {
    let on_link = |prefix_length| {
        let lease = Lease { prefix_length, ..lease() };
        let observed = Observation { links: vec![link(2, "eth0")], ..Observation::default() };
        plan(&observed, &leased(&lease))
            .into_iter()
            .any(|op| matches!(op, Operation::AddRoute { on_link: true, .. }))
    };
    assert!(on_link(32) && on_link(28));
    assert!(!on_link(24) && !on_link(1));
}

#[test]
fn the_mtu_of_a_server_stays_within_what_the_driver_takes() {
    let set = |given, range| {
        let lease = Lease { mtu: given, ..lease() };
        let link = Link { mtu_range_bytes: range, ..link(2, "eth0") };
        mtu(&link, leased(&lease).first())
    };
    let to = |bytes| Some(Operation::SetMtu { link: 2, bytes });
    assert_eq!(set(None, (68, 9000)), None);
    assert_eq!(set(Some(1500), (68, 9000)), None);
    assert_eq!(set(Some(1400), (68, 9000)), to(1400));
    assert_eq!(set(Some(9000), (68, 1500)), None);
    assert_eq!(set(Some(9000), (0, 0)), to(9000));
    assert_eq!(set(Some(576), (1280, 9000)), to(1280));
}

#[test]
fn a_configured_mtu_wins_and_what_was_before_comes_back() {
    let lease = Lease { mtu: Some(1400), ..lease() };
    let set = |now, former_mtu_bytes, desired: &Desired<'_>| {
        let link = Link { mtu_bytes: now, former_mtu_bytes, ..link(2, "eth0") };
        mtu(&link, Some(desired))
    };
    let to = |bytes| Some(Operation::SetMtu { link: 2, bytes });
    let with = |addressing, mtu_bytes| Desired { link: 2, addressing, mtu_bytes };
    let given = with(Addressing::Lease(&lease), Some(9999));
    assert_eq!(set(1500, None, &given), to(9999), "the kernel judges what is configured");
    assert_eq!(set(9999, Some(1500), &given), None);
    assert_eq!(set(9999, Some(1500), &with(Addressing::Lease(&lease), None)), to(1400));
    assert_eq!(set(1400, Some(1500), &with(Addressing::Undecided, None)), None);
    assert_eq!(set(1400, Some(1500), &with(Addressing::Nothing, None)), to(1500));
    assert_eq!(set(1400, None, &with(Addressing::Nothing, None)), None, "set by someone else");
    assert_eq!(mtu(&Link { former_mtu_bytes: Some(1450), ..link(2, "eth0") }, None), to(1450));
}

fn any_address() -> impl Strategy<Value = Address> {
    let origin = prop_oneof![Just(Origin::Ours), Just(Origin::Kernel), Just(Origin::Foreign)];
    (98u8..103, prop_oneof![Just(24u8), Just(25)], origin)
        .prop_map(|(last, prefix_length, origin)| ours(Ipv4Addr::new(192, 0, 2, last), prefix_length, origin))
}

fn any_route() -> impl Strategy<Value = Route> {
    (0u8..3, prop_oneof![Just(0u8), Just(24)], prop::option::of(Just(ROUTER)), 98u8..103).prop_map(
        |(net, prefix_length, gateway, source)| Route {
            link: 2,
            destination: Ipv4Addr::new(
                if prefix_length == 0 { 0 } else { 10 },
                0,
                if prefix_length == 0 { 0 } else { net },
                0,
            ),
            prefix_length,
            gateway,
            source: Some(Ipv4Addr::new(192, 0, 2, source)),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// From anywhere, two rounds lead to what is wanted, and what is not ours stays untouched.
    #[test]
    fn plans_converge(
        addresses in prop::collection::vec(any_address(), 0..4),
        routes in prop::collection::vec(any_route(), 0..4),
        mtu in prop::option::of(600u16..2000),
        up: bool,
    ) {
        let mut unique = Observation { links: vec![Link { up, ..link(2, "eth0") }], ..Observation::default() };
        for address in addresses {
            if unique.addresses.iter().all(|seen| (seen.address, seen.prefix_length) != (address.address, address.prefix_length)) {
                unique.addresses.push(address);
            }
        }
        for route in routes {
            if unique.routes.iter().all(|seen| (seen.destination, seen.prefix_length) != (route.destination, route.prefix_length)) {
                unique.routes.push(route);
            }
        }
        let foreign = |observed: &Observation| -> Vec<Address> {
            observed.addresses.iter().filter(|a| a.origin != Origin::Ours).cloned().collect()
        };
        // An address of ours that someone else added first cannot be added again.
        prop_assume!(foreign(&unique).iter().all(|a| a.address != IpAddr::V4(ADDRESS)));
        let before = foreign(&unique);
        let lease = Lease { mtu, ..lease() };
        for _ in 0..2 {
            for operation in plan(&unique, &leased(&lease)) {
                apply(&mut unique, &operation);
            }
        }
        prop_assert_eq!(plan(&unique, &leased(&lease)), []);
        prop_assert_eq!(&foreign(&unique), &before);
        for operation in plan(&unique, &[]) {
            if !matches!(&operation, Operation::DeleteRoute(route) if !unique.routes.contains(route)) {
                apply(&mut unique, &operation);
            }
        }
        prop_assert_eq!(plan(&unique, &[]), []);
        prop_assert_eq!(&foreign(&unique), &before);
    }
}

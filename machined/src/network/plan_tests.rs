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
        routes: desired_routes(2, &lease()),
    }
}

fn leased(lease: &Lease) -> Desired<'_> {
    Desired::Lease { link: 2, lease }
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
    for desired in [Desired::Undecided, Desired::Nothing] {
        let shown: Vec<String> = plan(&observed, desired).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["set lo up", "accept router advertisements on eth0", "set eth0 up"]);
    }
}

#[test]
fn a_lease_becomes_an_address_and_routes() {
    let observed = Observation { links: vec![link(2, "eth0")], ..Observation::default() };
    let lease = lease();
    let shown: Vec<String> = plan(&observed, leased(&lease)).iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["add 192.0.2.100/24 to link 2", "add the route to 0.0.0.0/0"]);
    assert_eq!(plan(&settled(), leased(&lease)), []);
}

#[test]
fn what_an_earlier_run_configured_stays_until_there_is_a_decision() {
    assert_eq!(plan(&settled(), Desired::Undecided), []);
    let shown: Vec<String> = plan(&settled(), Desired::Nothing).iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["remove the route to 0.0.0.0/0", "remove 192.0.2.100/24 from link 2"]);
}

#[test]
fn a_gateway_outside_of_the_subnet_is_reached_on_the_link() {
    let on_link = |prefix_length| {
        let lease = Lease { prefix_length, ..lease() };
        let observed = Observation { links: vec![link(2, "eth0")], ..Observation::default() };
        plan(&observed, leased(&lease))
            .into_iter()
            .any(|op| matches!(op, Operation::AddRoute { on_link: true, .. }))
    };
    assert!(on_link(32) && on_link(28));
    assert!(!on_link(24) && !on_link(1));
}

#[test]
fn the_mtu_stays_within_what_the_driver_takes() {
    let set = |given, range| {
        let lease = Lease { mtu: given, ..lease() };
        let link = Link { mtu_range_bytes: range, ..link(2, "eth0") };
        mtu(&link, &lease)
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
fn the_uplink_is_the_first_with_carrier_and_sticks_to_its_lease() {
    let dead = |index, name| Link { carrier: false, ..link(index, name) };
    let name = |links: &[Link], current, had: &str| {
        choose_uplink(links, current, |link| link.name == had).map(|link| link.name.clone())
    };
    let on = |link, holds_lease| Some(Current { link, holds_lease });
    let both = [link(2, "eth0"), link(3, "eth1")];
    let second = [dead(2, "eth0"), link(3, "eth1")];
    let none = [dead(2, "eth0"), dead(3, "eth1")];
    for (links, current, had, expected) in [
        (&both, None, "", "eth0"),
        (&both, on(3, false), "", "eth1"),
        (&second, None, "eth0", "eth1"),
        (&second, on(2, false), "", "eth1"),
        (&second, on(2, true), "", "eth0"),
        (&second, on(9, true), "", "eth1"),
        (&none, None, "", "eth0"),
        (&none, None, "eth1", "eth1"),
        (&none, on(3, false), "", "eth1"),
    ] {
        assert_eq!(name(links, current, had).as_deref(), Some(expected), "{current:?} {had}");
    }
    let configured = Observation { links: both.into(), ..settled() };
    assert_eq!(configured.configured_link(), Some(2));
    let software = [Link { physical: false, ..link(2, "veth0") }];
    assert_eq!(name(&software, None, ""), None);
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
            for operation in plan(&unique, leased(&lease)) {
                apply(&mut unique, &operation);
            }
        }
        prop_assert_eq!(plan(&unique, leased(&lease)), []);
        prop_assert_eq!(&foreign(&unique), &before);
        for operation in plan(&unique, Desired::Nothing) {
            if !matches!(&operation, Operation::DeleteRoute(route) if !unique.routes.contains(route)) {
                apply(&mut unique, &operation);
            }
        }
        prop_assert_eq!(plan(&unique, Desired::Nothing), []);
        prop_assert_eq!(&foreign(&unique), &before);
    }
}

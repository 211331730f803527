//! From whatever the kernel has to whatever a node should have, over tens of thousands of random pairs.
//!
//! `CAIRN_SEED` gives the first seed; a failure names its own.

mod kernel;

use std::net::Ipv4Addr;

use kernel::Kernel;
use netplan::random::{self, ALL, Random};
use netplan::{
    Addressing, Desired, Device, Kind, Link, Operation, Origin, PlannedRoute, Prefix, Problem, plan,
};

/// Pairs a run, a few seconds' worth.
const PAIRS: u64 = 20_000;
const HARDWARE: [&str; 4] = ["eth0", "eth1", "eth2", "eth3"];
const MADE: [&str; 9] = ["bond0", "bond1", "br0", "br1", "dummy0", "vlan0", "vlan1", "vlan2", "vlan3"];

#[test]
fn every_network_leads_to_every_other() {
    let first = std::env::var("CAIRN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0u64);
    let (mut second_rounds, mut kept) = (0, 0);
    for seed in (0..PAIRS).map(|number| first.wrapping_add(number)) {
        match check(seed) {
            Ok(went) => {
                second_rounds += u64::from(went.rounds > 1);
                kept += went.kept;
            }
            Err(failure) => panic!("CAIRN_SEED={seed}: {failure}"),
        }
    }
    // What a port of a bond gets back and whether a bridge keeps its MTU the kernel does not tell before.
    assert!(second_rounds * 5 < PAIRS, "{second_rounds} of {PAIRS} took a second round");
    assert!(kept as u64 > PAIRS / 10, "of {kept} addresses alone it was seen that they stay");
}

/// How a pair went.
struct Went {
    rounds: u32,
    /// Addresses that were looked for after each operation.
    kept: usize,
}

fn check(seed: u64) -> Result<Went, String> {
    let mut random = Random::new(seed);
    let mut kernel = anything(&mut random);
    let former = random::desired(&mut random, &HARDWARE, ALL);
    if random.percent(50) {
        for operation in plan(&kernel.observe(), &former).operations {
            kernel.apply(&operation, Origin::Ours)?;
        }
        // Someone interferes.
        for _ in 0..random.below(4) {
            let _ = step(&mut random, &mut kernel, Origin::Foreign);
        }
    }
    let desired = random::next(&mut random, &former, &HARDWARE, ALL);
    let before = kernel.clone();
    let mut operations = Vec::new();
    let (mut rounds, mut looked_for) = (0, 0);
    loop {
        let observed = kernel.observe();
        let planned = plan(&observed, &desired);
        if !planned.problems.is_empty() {
            return Err(format!("{:?}", planned.problems));
        }
        if planned.operations.is_empty() {
            break;
        }
        rounds += 1;
        if rounds > 2 {
            return Err(format!("round 3:\n{}\nfor {desired:?}", listed(&planned.operations)));
        }
        let kept = random::kept(&observed, &desired, &planned.operations);
        looked_for += kept.len();
        for operation in &planned.operations {
            let shown = || {
                format!("{operation:?} of\n{}\nfor {desired:?}\non {observed:?}", listed(&planned.operations))
            };
            kernel.apply(operation, Origin::Ours).map_err(|refusal| format!("{refusal}: {}", shown()))?;
            for (link, prefix) in &kept {
                let has = kernel.index(link).is_ok_and(|index| {
                    kernel.addresses.iter().any(|seen| (seen.link, seen.prefix) == (index, *prefix))
                });
                if !has {
                    return Err(format!("{prefix} is away from {link} after {}", shown()));
                }
            }
        }
        operations.extend(planned.operations);
    }
    random::difference(&kernel.observe(), &desired).map_or(Ok(()), Err)?;
    untouched(&before, &kernel, &desired, &operations)?;
    Ok(Went { rounds, kept: looked_for })
}

fn listed(operations: &[Operation]) -> String {
    operations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A kernel after a random walk, with things of ours and of others in it.
fn anything(random: &mut Random) -> Kernel {
    let mut kernel = Kernel::with_hardware(&HARDWARE);
    kernel.promotes = random.percent(50);
    let cni = Link {
        kind_name: "bridge".into(),
        kind: Some(Kind::Bridge(random::bridge(random))),
        ..foreign("cni0")
    };
    let bridge = kernel.insert(cni);
    kernel.insert(Link { kind_name: "veth".into(), master: Some(bridge), ..foreign("veth1") });
    kernel.insert(Link { kind_name: "vxlan".into(), ..foreign("flannel.1") });
    let pods = Prefix::new(Ipv4Addr::new(10, 244, 0, 1).into(), 24);
    let address = Operation::AddAddress { link: "cni0".into(), prefix: pods };
    kernel.apply(&address, Origin::Foreign).unwrap();
    let route = PlannedRoute {
        destination: Prefix::new(Ipv4Addr::new(10, 244, 1, 0).into(), 24),
        gateway: None,
        source: None,
        metric: 0,
        table: netplan::TABLE_MAIN,
    };
    let route = Operation::AddRoute { link: "flannel.1".into(), route, on_link: false };
    kernel.apply(&route, Origin::Foreign).unwrap();
    for _ in 0..random.below(40) {
        let origin = if random.percent(70) { Origin::Ours } else { Origin::Foreign };
        // What the kernel refuses does not happen.
        let _ = step(random, &mut kernel, origin);
    }
    kernel
}

fn foreign(name: &str) -> Link {
    Link { name: name.to_owned(), up: true, mtu_bytes: 1450, ..Link::default() }
}

fn step(random: &mut Random, kernel: &mut Kernel, origin: Origin) -> Result<(), kernel::Refusal> {
    let link = if random.percent(50) { random.pick(&HARDWARE) } else { random.pick(&MADE) }.to_owned();
    let other = if random.percent(50) { random.pick(&HARDWARE) } else { random.pick(&MADE) }.to_owned();
    let operation = match random.below(9) {
        // Names of ours are left to us: a link that has one of them is a problem, not a network.
        0 | 1 => {
            let link = random.pick(&MADE).to_owned();
            let kind = match random.below(4) {
                0 => Kind::Vlan { id: random.pick(&[10, 20, 4094]) },
                1 => Kind::Bond(random::bond(random)),
                2 => Kind::Bridge(random::bridge(random)),
                _ => Kind::Dummy,
            };
            let parent = matches!(kind, Kind::Vlan { .. }).then_some(other);
            return kernel.apply(&Operation::CreateLink { link, kind, parent }, Origin::Ours);
        }
        2 => Operation::SetMaster {
            link,
            master: Some(if random.percent(10) { "cni0".to_owned() } else { other }),
        },
        3 => Operation::SetUp { link },
        4 => Operation::SetDown { link },
        5 => Operation::SetMtu { link, bytes: random.pick(&[1280, 1400, 1500, 9000]) },
        6 | 7 => Operation::AddAddress { link, prefix: random::prefix(random) },
        _ => {
            let route = random::route(random, &[]);
            let netplan::NewRoute { destination, gateway, source, table, metric, .. } = route;
            // Nobody else uses our metric, or ours could not be set beside it.
            let metric = if origin == Origin::Ours { metric } else { 7 };
            let route = PlannedRoute { destination, gateway, source, metric, table };
            Operation::AddRoute { link, route, on_link: true }
        }
    };
    kernel.apply(&operation, origin)
}

/// What others made is as it was, but for what the kernel takes away with a link.
fn untouched(
    before: &Kernel,
    after: &Kernel,
    desired: &[Desired],
    operations: &[Operation],
) -> Result<(), String> {
    let ports: Vec<&String> = desired.iter().flat_map(|wanted| wanted.device.ports()).collect();
    for found in before.links.values().filter(|found| !found.link.is_usable() && !found.link.loopback) {
        let now = after.links.get(&found.link.index).map(|now| &now.link);
        if now != Some(&found.link) && found.link.name != "cni0" {
            return Err(format!("{:?} became {now:?}", found.link));
        }
    }
    for found in before.links.values().filter(|found| found.link.physical) {
        let foreign = found.link.master.filter(|master| !before.links[master].link.ours);
        if foreign.is_some()
            && !ports.contains(&&found.link.name)
            && after.links[&found.link.index].link.master != foreign
        {
            return Err(format!("{} was taken from its bridge", found.link.name));
        }
    }
    let is_named = |name: &str| {
        operations.iter().any(|operation| match operation {
            Operation::SetDown { link }
            | Operation::SetMaster { link, .. }
            | Operation::DeleteLink { link, .. } => link == name,
            _ => false,
        })
    };
    for (route, _) in before.routes.iter().filter(|(_, origin)| *origin == Origin::Foreign) {
        let name = &before.links[&route.link].link.name;
        let stands = before.links[&route.link].link.master.is_some() || MADE.contains(&name.as_str());
        if !stands && !is_named(name) && !after.routes.iter().any(|(now, _)| now == route) {
            return Err(format!("{route:?} is gone from {name}"));
        }
    }
    for address in before.addresses.iter().filter(|address| address.origin == Origin::Foreign) {
        let found = &before.links[&address.link].link;
        let safe = found.physical || !found.ours;
        let is_there =
            after.addresses.iter().any(|now| (now.link, now.prefix) == (address.link, address.prefix));
        if safe && address.prefix.address.is_ipv4() && !is_there && !is_wanted(desired, found, address.prefix)
        {
            return Err(format!("{} is gone from {}", address.prefix, found.name));
        }
    }
    Ok(())
}

/// An address of others that a link is to have becomes ours.
fn is_wanted(desired: &[Desired], link: &Link, prefix: Prefix) -> bool {
    let wanted = desired.iter().find(|wanted| wanted.name == link.name);
    wanted.is_some_and(|wanted| wanted.addressing.addresses().contains(&prefix))
}

#[test]
fn what_cannot_be_had_is_said_and_the_rest_is_done() {
    let mut kernel = Kernel::with_hardware(&["eth0"]);
    kernel.insert(Link { kind_name: "veth".into(), ..foreign("br1") });
    let made = |name: &str, device| Desired {
        name: name.to_owned(),
        device,
        mtu: netplan::Mtu::Default,
        addressing: Addressing::nothing(),
    };
    let bridge = |name: &str, ports: &[&str]| {
        let ports = ports.iter().map(|port| (*port).to_owned()).collect();
        made(name, Device::Bridge { settings: netplan::Bridge { spanning_tree: None }, ports })
    };
    let vlan = |name: &str, parent: &str| made(name, Device::Vlan { parent: parent.to_owned(), id: 7 });
    let desired = [
        made("eth9", Device::Hardware),
        bridge("br1", &[]),
        vlan("vlan1", "br1"),
        vlan("vlan2", "eth9"),
        bridge("br0", &["eth0", "eth8"]),
        bridge("br2", &["vlan3"]),
        vlan("vlan3", "br2"),
    ];
    let planned = plan(&kernel.observe(), &desired);
    let link = |name: &str| name.to_owned();
    assert_eq!(
        planned.problems,
        [
            Problem::Missing { link: link("eth9") },
            Problem::NameTaken { link: link("br1"), kind: link("veth") },
            Problem::ParentMissing { link: link("vlan1"), parent: link("br1") },
            Problem::ParentMissing { link: link("vlan2"), parent: link("eth9") },
            Problem::Loop { link: link("br2") },
            Problem::Loop { link: link("vlan3") },
            Problem::PortMissing { link: link("br0"), port: link("eth8") },
        ]
    );
    for operation in &planned.operations {
        kernel.apply(operation, Origin::Ours).unwrap();
    }
    let observed = kernel.observe();
    let master = observed.link("eth0").and_then(|link| link.master);
    assert_eq!(master, observed.link("br0").map(|link| link.index));
    assert!(plan(&observed, &desired).operations.is_empty());
}

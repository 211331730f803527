//! Random networks, for tests. The same seed gives the same network.

mod promise;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    Address, Addressing, Bond, BondMode, Bridge, Desired, Device, HashPolicy, LacpRate, Link, Mtu, NewRoute,
    Observed, Origin, Prefix, TABLE_MAIN, default_metric,
};

pub use promise::kept;

/// Random numbers (SplitMix64: Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// True so often in a hundred.
    pub fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// One of several; there must be one.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.below(items.len() as u64)).unwrap_or_default()]
    }

    /// Takes one out, if there is one.
    pub fn take<T>(&mut self, items: &mut Vec<T>) -> Option<T> {
        if items.is_empty() {
            return None;
        }
        let at = self.below(items.len() as u64);
        Some(items.swap_remove(usize::try_from(at).unwrap_or_default()))
    }
}

/// Kinds that the kernel at hand can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Makes {
    /// VLANs.
    pub vlans: bool,
    /// Bonds.
    pub bonds: bool,
    /// Dummies.
    pub dummies: bool,
}

/// All of them.
pub const ALL: Makes = Makes { vlans: true, bonds: true, dummies: true };

/// Some settings of a bond.
pub fn bond(random: &mut Random) -> Bond {
    let lacp = BondMode::Lacp {
        rate: random.pick(&[LacpRate::Slow, LacpRate::Fast]),
        hash: random.pick(&[HashPolicy::Layer2, HashPolicy::Layer23, HashPolicy::Layer34]),
    };
    let mode = if random.percent(50) { lacp } else { BondMode::ActiveBackup };
    Bond { mode, monitor_interval_ms: random.pick(&[50, 100, 200]) }
}

/// Some settings of a bridge.
pub fn bridge(random: &mut Random) -> Bridge {
    Bridge { spanning_tree: random.pick(&[None, Some(200), Some(1500)]) }
}

/// Some address, of few: networks should collide.
pub fn prefix(random: &mut Random) -> Prefix {
    let host = u8::try_from(random.below(6)).unwrap_or_default() + 1;
    match random.below(4) {
        0 | 1 => Prefix::new(Ipv4Addr::new(192, 0, 2, host).into(), random.pick(&[24, 25])),
        2 => Prefix::new(Ipv4Addr::new(10, 1, host, 1).into(), random.pick(&[16, 24])),
        _ => {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into());
            Prefix::new(address.into(), random.pick(&[64, 96]))
        }
    }
}

/// Some route for a link with these addresses.
pub fn route(random: &mut Random, addresses: &[Prefix]) -> NewRoute {
    let destination = match random.below(4) {
        0 => Prefix::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        1 => Prefix::new(Ipv4Addr::new(198, 51, 100, 0).into(), 24),
        2 => Prefix::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        _ => Prefix::new(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 0).into(), 48),
    };
    // Of IPv6 the kernel refuses a next hop that another link has in its subnet.
    let inside: IpAddr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe).into();
    let inside = Some(inside).filter(|gateway| addresses.iter().any(|own| own.contains(*gateway)));
    let gateways: [IpAddr; 2] = match destination.address {
        IpAddr::V4(_) => [Ipv4Addr::new(192, 0, 2, 100).into(), Ipv4Addr::new(203, 0, 113, 1).into()],
        IpAddr::V6(_) => [
            inside.unwrap_or(Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1).into()),
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
        ],
    };
    let own: Vec<IpAddr> =
        addresses.iter().map(|prefix| prefix.address).filter(|address| address.is_ipv4()).collect();
    let from = destination.address.is_ipv4() && !own.is_empty() && random.percent(50);
    NewRoute {
        destination,
        gateway: random.percent(80).then(|| random.pick(&gateways)),
        source: from.then(|| random.pick(&own)),
        metric: if random.percent(80) { default_metric(destination.address) } else { 50 },
        table: if random.percent(80) { TABLE_MAIN } else { 100 },
        learned: random.percent(20),
    }
}

/// A network that a configuration could ask for, above this hardware.
pub fn desired(random: &mut Random, hardware: &[&str], makes: Makes) -> Vec<Desired> {
    let mut network: Vec<(&str, Device)> = Vec::new();
    let mut free: Vec<String> = hardware.iter().map(|name| (*name).to_owned()).collect();
    let mut ports: Vec<String> = Vec::new();
    let mut lower: Vec<String> = Vec::new();
    for name in ["bond0", "bond1"] {
        if makes.bonds && random.percent(40) {
            let count = random.below(3);
            let own: Vec<String> = (0..count).filter_map(|_| random.take(&mut free)).collect();
            ports.extend(own.iter().cloned());
            network.push((name, Device::Bond { settings: bond(random), ports: own }));
            lower.push(name.to_owned());
        }
    }
    if makes.dummies && random.percent(30) {
        network.push(("dummy0", Device::Dummy));
        lower.push("dummy0".to_owned());
    }
    lower.extend(free);
    let mut taken = Vec::new();
    let mut upper = Vec::new();
    for name in ["vlan0", "vlan1", "vlan2"] {
        if makes.vlans && random.percent(40) {
            vlan(random, name, &lower, &mut taken, &mut network);
            upper.extend(network.iter().any(|(known, _)| *known == name).then(|| name.to_owned()));
        }
    }
    let is_parent = |name: &String| taken.iter().any(|(parent, _)| parent == name);
    let mut candidates: Vec<String> =
        lower.iter().filter(|name| !is_parent(name)).chain(&upper).cloned().collect();
    let mut bridges = Vec::new();
    for name in ["br0", "br1"] {
        if random.percent(40) {
            let count = random.below(3);
            let own: Vec<String> = (0..count).filter_map(|_| random.take(&mut candidates)).collect();
            ports.extend(own.iter().cloned());
            network.push((name, Device::Bridge { settings: bridge(random), ports: own }));
            bridges.push(name.to_owned());
        }
    }
    if makes.vlans && !bridges.is_empty() && random.percent(50) {
        vlan(random, "vlan3", &bridges, &mut taken, &mut network);
    }
    let named = hardware.iter().map(|name| (*name, Device::Hardware));
    let named: Vec<_> = named.filter(|_| random.percent(80)).collect();
    network.extend(named);
    let mut used = Vec::new();
    let mut network: Vec<Desired> = network
        .into_iter()
        .map(|(name, device)| {
            let is_port = ports.iter().any(|port| port == name);
            let addressing = if is_port { Addressing::nothing() } else { addressing(random, &mut used) };
            Desired { name: name.to_owned(), mtu: mtu(random, &device, is_port), device, addressing }
        })
        .collect();
    let mut shuffled = Vec::new();
    while let Some(link) = random.take(&mut network) {
        shuffled.push(link);
    }
    shuffled
}

/// Another network, in which many links keep their addresses and routes.
pub fn next(random: &mut Random, before: &[Desired], hardware: &[&str], makes: Makes) -> Vec<Desired> {
    let mut network = desired(random, hardware, makes);
    let ports: Vec<String> = network.iter().flat_map(|link| link.device.ports()).cloned().collect();
    for link in &mut network {
        let known = before.iter().find(|known| known.name == link.name);
        if let Some(known) = known.filter(|_| !ports.contains(&link.name) && random.percent(60)) {
            link.addressing.clone_from(&known.addressing);
        }
    }
    network
}

fn vlan<'a>(
    random: &mut Random,
    name: &'a str,
    below: &[String],
    taken: &mut Vec<(String, u16)>,
    network: &mut Vec<(&'a str, Device)>,
) {
    if below.is_empty() {
        return;
    }
    let at = usize::try_from(random.below(below.len() as u64)).unwrap_or_default();
    let (parent, id) = (below[at].clone(), random.pick(&[10, 20, 4094]));
    if !taken.contains(&(parent.clone(), id)) {
        taken.push((parent.clone(), id));
        network.push((name, Device::Vlan { parent, id }));
    }
}

/// A VLAN's must not exceed its parent's, whatever that is.
fn mtu(random: &mut Random, device: &Device, is_port: bool) -> Mtu {
    let least = Mtu::Configured(1280);
    match device {
        Device::Vlan { .. } => random.pick(&[Mtu::Default, Mtu::Default, Mtu::Offered(1400), least]),
        Device::Hardware if is_port => Mtu::Default,
        Device::Hardware | Device::Bond { .. } | Device::Bridge { .. } | Device::Dummy => random.pick(&[
            Mtu::Default,
            Mtu::Default,
            Mtu::Kept,
            Mtu::Offered(1400),
            Mtu::Configured(9000),
            Mtu::Configured(1500),
            least,
        ]),
    }
}

fn addressing(random: &mut Random, used: &mut Vec<IpAddr>) -> Addressing {
    if random.percent(10) {
        return Addressing::Undecided;
    }
    let mut addresses: Vec<Prefix> = Vec::new();
    for _ in 0..random.below(4) {
        let prefix = prefix(random);
        if !used.contains(&prefix.address) {
            used.push(prefix.address);
            addresses.push(prefix);
        }
    }
    let routes = (0..random.below(3)).map(|_| route(random, &addresses)).collect();
    Addressing::Exactly { addresses, routes }
}

/// Where what is differs from what should be, if it does. Judged without the planner.
#[must_use]
pub fn difference(observed: &Observed, desired: &[Desired]) -> Option<String> {
    let stray =
        observed.links.iter().find(|link| link.ours && desired.iter().all(|wanted| wanted.name != link.name));
    if let Some(stray) = stray {
        return Some(format!("{} is left over", stray.name));
    }
    desired.iter().find_map(|wanted| {
        let Some(link) = observed.link(&wanted.name) else {
            return Some(format!("{} is missing", wanted.name));
        };
        link_difference(observed, desired, wanted, link)
            .or_else(|| traffic_difference(observed, wanted, link))
    })
}

fn link_difference(
    observed: &Observed,
    desired: &[Desired],
    wanted: &Desired,
    link: &Link,
) -> Option<String> {
    let named = |index: u32| {
        observed
            .links
            .iter()
            .find(|link| link.index == index)
            .map(|link| link.name.as_str())
            .unwrap_or_default()
    };
    let master = desired.iter().find(|other| other.device.ports().contains(&wanted.name));
    let is_master = |master: &Desired| link.master.is_some_and(|index| named(index) == master.name);
    let mtu_fits = match wanted.mtu {
        Mtu::Configured(bytes) => link.mtu_bytes == bytes,
        Mtu::Offered(_) | Mtu::Kept | Mtu::Default => true,
    };
    let fits = link.up
        && wanted.device.kind().is_none_or(|kind| link.kind == Some(kind) && link.ours)
        && wanted
            .device
            .parent()
            .is_none_or(|parent| link.parent.is_some_and(|index| named(index) == parent))
        && master.is_none_or(is_master)
        && mtu_fits;
    (!fits).then(|| format!("{wanted:?} became {link:?}"))
}

fn traffic_difference(observed: &Observed, wanted: &Desired, link: &Link) -> Option<String> {
    let Addressing::Exactly { addresses, routes } = &wanted.addressing else { return None };
    let ours = |seen: &&Address| seen.link == link.index && seen.origin == Origin::Ours;
    let mut seen: Vec<Prefix> = observed.addresses.iter().filter(ours).map(|seen| seen.prefix).collect();
    let mut wanted_addresses = addresses.clone();
    seen.sort_unstable();
    wanted_addresses.sort_unstable();
    if seen != wanted_addresses {
        return Some(format!("{} has {seen:?} instead of {addresses:?}", wanted.name));
    }
    routes.iter().find_map(|route| {
        let place = |seen: &&crate::Route| {
            (seen.destination, seen.metric, seen.table) == (route.destination, route.metric, route.table)
        };
        let count = observed.routes.iter().filter(place).count();
        (count != 1).then(|| format!("{route:?} is there {count} times: {:?}", observed.routes))
    })
}

//! A model of the kernel's links, addresses and routes, with its rules: what it refuses, and what one change does to the
//! rest. Written from net/8021q, drivers/net/bonding, net/bridge, net/core/rtnetlink.c, net/ipv4 and net/ipv6 of Linux 6.18.

mod traffic;

use std::collections::BTreeMap;

use netplan::{Address, BondMode, Kind, Link, Observed, Operation, Origin, Prefix, Route, sort_links};
use traffic::as_route;

/// What the kernel says no with.
pub type Refusal = &'static str;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kernel {
    pub links: BTreeMap<u32, KernelLink>,
    pub addresses: Vec<Address>,
    pub routes: Vec<(Route, Origin)>,
    pub promotes: bool,
    next_index: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct KernelLink {
    pub link: Link,
    /// The hardware address that it was made with.
    own_address: Vec<u8>,
    /// A bridge whose MTU was set by someone keeps it.
    mtu_was_set: bool,
    /// What a port of a bond gets back.
    mtu_before_bond_bytes: u32,
}

impl Kernel {
    /// Loopback and these Ethernet devices, down.
    pub fn with_hardware(names: &[&str]) -> Self {
        let mut kernel = Self::default();
        let lo = Link { name: "lo".into(), loopback: true, mtu_bytes: 65536, ..Link::default() };
        kernel.insert(lo);
        for name in names {
            kernel.insert(Link {
                name: (*name).to_owned(),
                physical: true,
                mtu_bytes: 1500,
                mtu_range_bytes: (68, 9216),
                accept_ra: Some(1),
                ..Link::default()
            });
        }
        kernel
    }

    pub fn insert(&mut self, link: Link) -> u32 {
        self.next_index += 1;
        let mut link = Link { index: self.next_index, ..link };
        let own_address = vec![2, 0, 0, 0, 0, u8::try_from(self.next_index % 255).unwrap() + 1];
        if link.hardware_address.is_empty() {
            link.hardware_address.clone_from(&own_address);
        }
        let mtu_before_bond_bytes = link.mtu_bytes;
        let found = KernelLink { link, own_address, mtu_was_set: false, mtu_before_bond_bytes };
        self.links.insert(self.next_index, found);
        self.next_index
    }

    pub fn observe(&self) -> Observed {
        let mut links: Vec<Link> = self.links.values().map(|found| found.link.clone()).collect();
        sort_links(&mut links);
        let ours = self.routes.iter().filter(|(_, origin)| *origin == Origin::Ours);
        Observed {
            links,
            addresses: self.addresses.clone(),
            routes: ours.map(|(route, _)| route.clone()).collect(),
            promotes_secondaries: self.promotes,
        }
    }

    pub fn index(&self, name: &str) -> Result<u32, Refusal> {
        let found = self.links.values().find(|found| found.link.name == name);
        found.map(|found| found.link.index).ok_or("ENODEV")
    }

    pub fn link(&self, index: u32) -> &Link {
        &self.links[&index].link
    }

    fn change(&mut self, index: u32, change: impl FnOnce(&mut Link)) {
        if let Some(found) = self.links.get_mut(&index) {
            change(&mut found.link);
        }
    }

    pub fn apply(&mut self, operation: &Operation, origin: Origin) -> Result<(), Refusal> {
        match operation {
            Operation::PromoteSecondaries => self.promotes = true,
            Operation::AcceptRouterAdvertisements { link } => {
                let index = self.index(link)?;
                self.change(index, |link| link.accept_ra = Some(2));
            }
            Operation::CreateLink { link, kind, parent } => {
                self.create(link, *kind, parent.as_deref(), origin)?;
            }
            Operation::DeleteLink { link, index } => {
                if self.index(link)? != *index {
                    return Err("another link");
                }
                if self.link(*index).physical {
                    return Err("EOPNOTSUPP");
                }
                self.unregister(*index);
            }
            Operation::ChangeLink { link, kind } => self.change_kind(link, *kind)?,
            Operation::SetMaster { link, master: None } => {
                let index = self.index(link)?;
                self.release(index);
            }
            Operation::SetMaster { link, master: Some(master) } => self.enslave(link, master)?,
            Operation::SetUp { link } => self.up(self.index(link)?)?,
            Operation::SetDown { link } => self.down(self.index(link)?),
            Operation::SetMtu { link, bytes } => {
                let index = self.index(link)?;
                self.set_mtu(index, *bytes)?;
                self.links.get_mut(&index).unwrap().mtu_was_set = true;
            }
            Operation::AddAddress { link, prefix } => self.add_address(self.index(link)?, *prefix, origin),
            Operation::DeleteAddress { link, prefix } => self.delete_address(self.index(link)?, *prefix)?,
            Operation::AddRoute { link, route, on_link } => {
                self.add_route(self.index(link)?, route, *on_link, origin)?;
            }
            Operation::DeleteRoute { link, route } => {
                let wanted = as_route(self.index(link)?, route);
                let before = self.routes.len();
                self.routes.retain(|known| *known != (wanted.clone(), origin));
                if before == self.routes.len() {
                    return Err("ESRCH");
                }
            }
        }
        Ok(())
    }

    fn create(
        &mut self,
        name: &str,
        kind: Kind,
        parent: Option<&str>,
        origin: Origin,
    ) -> Result<(), Refusal> {
        if self.index(name).is_ok() {
            return Err("EEXIST");
        }
        let parent = parent.map(|parent| self.index(parent)).transpose()?;
        let mut mtu_bytes = 1500;
        let mut hardware_address = Vec::new();
        if let Kind::Vlan { .. } = kind {
            let below = parent.ok_or("EINVAL")?;
            if self.link(below).loopback {
                return Err("EOPNOTSUPP");
            }
            if self.vlans_of(below).iter().any(|vlan| self.link(*vlan).kind == Some(kind)) {
                return Err("EEXIST");
            }
            mtu_bytes = self.link(below).mtu_bytes;
            hardware_address.clone_from(&self.link(below).hardware_address);
        }
        let link = Link {
            hardware_address,
            name: name.to_owned(),
            kind_name: kind.name().to_owned(),
            kind: Some(kind),
            ours: origin == Origin::Ours,
            parent,
            mtu_bytes,
            accept_ra: (origin == Origin::Ours && kind != Kind::Dummy).then_some(1),
            ..Link::default()
        };
        self.insert(link);
        Ok(())
    }

    fn change_kind(&mut self, name: &str, kind: Kind) -> Result<(), Refusal> {
        let index = self.index(name)?;
        let has_ports = !self.ports_of(index).is_empty();
        let is = self.link(index).kind.ok_or("EOPNOTSUPP")?;
        match (is, kind) {
            (Kind::Bond(old), Kind::Bond(new)) => match (old.mode, new.mode) {
                (BondMode::ActiveBackup, BondMode::ActiveBackup) => {}
                (BondMode::Lacp { rate: old, .. }, BondMode::Lacp { rate: new, .. })
                    if old == new || !self.link(index).up => {}
                _ if has_ports || self.link(index).up => return Err("the bond is up or has ports"),
                _ => {}
            },
            (Kind::Bridge(_), Kind::Bridge(_)) => {}
            _ => return Err("EOPNOTSUPP"),
        }
        self.change(index, |link| link.kind = Some(kind));
        Ok(())
    }

    fn enslave(&mut self, name: &str, master: &str) -> Result<(), Refusal> {
        let (port, master) = (self.index(name)?, self.index(master)?);
        if port == master || self.stands_on(master, port) || self.stands_on(port, master) {
            return Err("ELOOP");
        }
        if self.link(port).loopback {
            return Err("EINVAL");
        }
        self.release(port);
        match self.link(master).kind {
            Some(Kind::Bond(_)) => {
                if self.link(port).up {
                    return Err("EPERM: up");
                }
                if matches!(self.link(port).kind, Some(Kind::Bond(_) | Kind::Bridge(_))) {
                    return Err("EPERM: a bond of bonds");
                }
                let before_bytes = self.link(port).mtu_bytes;
                self.links.get_mut(&port).unwrap().mtu_before_bond_bytes = before_bytes;
                self.set_mtu(port, self.link(master).mtu_bytes)?;
                if self.ports_of(master).is_empty() {
                    let address = self.link(port).hardware_address.clone();
                    self.set_address(master, address);
                }
                self.set_address(port, self.link(master).hardware_address.clone());
                self.change(port, |link| link.master = Some(master));
                self.up(port)?;
            }
            Some(Kind::Bridge(_)) => {
                if matches!(self.link(port).kind, Some(Kind::Bridge(_))) {
                    return Err("ELOOP");
                }
                self.change(port, |link| link.master = Some(master));
                self.adjust_bridge(master);
                self.address_bridge(master);
            }
            _ => return Err("EOPNOTSUPP"),
        }
        Ok(())
    }

    /// Whether `upper` is above `lower`, as a master or a VLAN.
    fn stands_on(&self, upper: u32, lower: u32) -> bool {
        let below = |index: u32| -> Vec<u32> {
            let ports = self.ports_of(index);
            let parent =
                self.link(index).parent.filter(|_| matches!(self.link(index).kind, Some(Kind::Vlan { .. })));
            ports.into_iter().chain(parent).collect()
        };
        let mut open = below(upper);
        while let Some(index) = open.pop() {
            if index == lower {
                return true;
            }
            open.extend(below(index));
        }
        false
    }

    fn ports_of(&self, index: u32) -> Vec<u32> {
        let ports = self.links.values().filter(|found| found.link.master == Some(index));
        ports.map(|found| found.link.index).collect()
    }

    fn vlans_of(&self, index: u32) -> Vec<u32> {
        let vlans = self.links.values().filter(|found| {
            found.link.parent == Some(index) && matches!(found.link.kind, Some(Kind::Vlan { .. }))
        });
        vlans.map(|found| found.link.index).collect()
    }

    fn release(&mut self, port: u32) {
        let Some(master) = self.link(port).master else { return };
        self.change(port, |link| link.master = None);
        match self.links.get(&master).map(|found| found.link.kind) {
            Some(Some(Kind::Bond(_))) => {
                self.down(port);
                let bytes = self.links[&port].mtu_before_bond_bytes;
                let _ = self.set_mtu(port, bytes);
                self.set_address(port, self.links[&port].own_address.clone());
                if self.ports_of(master).is_empty() {
                    self.set_address(master, self.links[&master].own_address.clone());
                }
            }
            Some(Some(Kind::Bridge(_))) => {
                self.adjust_bridge(master);
                self.address_bridge(master);
            }
            _ => {}
        }
    }

    fn unregister(&mut self, index: u32) {
        for vlan in self.vlans_of(index) {
            self.unregister(vlan);
        }
        for port in self.ports_of(index) {
            self.release(port);
        }
        self.release(index);
        self.down(index);
        let own: Vec<Prefix> =
            self.addresses.iter().filter(|seen| seen.link == index).map(|seen| seen.prefix).collect();
        self.links.remove(&index);
        self.addresses.retain(|seen| seen.link != index);
        self.routes.retain(|(route, _)| route.link != index);
        own.iter().for_each(|prefix| self.no_longer_local(prefix.address));
    }

    fn up(&mut self, index: u32) -> Result<(), Refusal> {
        if self.link(index).up {
            return Ok(());
        }
        let is_vlan = matches!(self.link(index).kind, Some(Kind::Vlan { .. }));
        if let Some(parent) = self.link(index).parent.filter(|_| is_vlan)
            && !self.link(parent).up
        {
            return Err("ENETDOWN");
        }
        if is_vlan && self.link(index).hardware_address == [0; 6] {
            return Err("EADDRNOTAVAIL");
        }
        self.change(index, |link| (link.up, link.carrier) = (true, true));
        if let Some(parent) = self.link(index).parent.filter(|_| is_vlan) {
            self.set_address(index, self.link(parent).hardware_address.clone());
        }
        for vlan in self.vlans_of(index) {
            let _ = self.up(vlan);
        }
        Ok(())
    }

    fn down(&mut self, index: u32) {
        if !self.link(index).up {
            return;
        }
        for vlan in self.vlans_of(index) {
            self.down(vlan);
        }
        self.change(index, |link| (link.up, link.carrier) = (false, false));
        self.routes.retain(|(route, _)| route.link != index);
        self.addresses.retain(|seen| seen.link != index || seen.prefix.address.is_ipv4());
    }

    fn set_mtu(&mut self, index: u32, bytes: u32) -> Result<(), Refusal> {
        let (least, most) = self.link(index).mtu_range_bytes;
        if bytes < least || most != 0 && bytes > most {
            return Err("EINVAL");
        }
        let is_vlan = matches!(self.link(index).kind, Some(Kind::Vlan { .. }));
        if let Some(parent) = self.link(index).parent.filter(|_| is_vlan)
            && bytes > self.link(parent).mtu_bytes
        {
            return Err("ERANGE");
        }
        if matches!(self.link(index).kind, Some(Kind::Bond(_))) {
            for port in self.ports_of(index) {
                self.set_mtu(port, bytes)?;
            }
        }
        self.change(index, |link| link.mtu_bytes = bytes);
        for vlan in self.vlans_of(index) {
            if self.link(vlan).mtu_bytes > bytes {
                self.set_mtu(vlan, bytes)?;
            }
        }
        if let Some(master) = self.link(index).master {
            self.adjust_bridge(master);
        }
        Ok(())
    }

    fn adjust_bridge(&mut self, master: u32) {
        let is_bridge = matches!(self.link(master).kind, Some(Kind::Bridge(_)));
        if is_bridge && !self.links[&master].mtu_was_set {
            let least = self.ports_of(master).iter().map(|port| self.link(*port).mtu_bytes).min();
            let _ = self.set_mtu(master, least.unwrap_or(1500));
        }
    }

    /// A bridge has the least address of its ports'; after the last of them, none.
    fn address_bridge(&mut self, master: u32) {
        if matches!(self.link(master).kind, Some(Kind::Bridge(_))) {
            let ports = self.ports_of(master);
            let least = ports.iter().map(|port| self.link(*port).hardware_address.clone()).min();
            self.set_address(master, least.unwrap_or(vec![0; 6]));
        }
    }

    /// VLANs that are up follow, and so does a bridge.
    fn set_address(&mut self, index: u32, address: Vec<u8>) {
        self.change(index, |link| link.hardware_address.clone_from(&address));
        for vlan in self.vlans_of(index).into_iter().filter(|vlan| self.link(*vlan).up).collect::<Vec<_>>() {
            self.set_address(vlan, address.clone());
        }
        if let Some(master) = self.link(index).master {
            self.address_bridge(master);
        }
    }
}

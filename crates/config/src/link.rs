//! What the documents say of links.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use netplan::{Device, Prefix, Selector};

/// A link, and how it gets its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Name of the document. The link has it too, unless there is a selector.
    pub name: String,
    /// What it is. Links below it and its ports go by the names of their documents, or where there is none, by their own.
    pub device: Device,
    /// Which hardware is meant, where it is not the name that says it.
    pub selector: Option<Selector>,
    /// Whether it asks DHCPv4. Not together with static addresses.
    pub dhcp: bool,
    /// Static addresses.
    pub addresses: Vec<Subnet>,
    /// Next hop of the IPv4 default route; lies within one of the addresses' subnets.
    pub gateway: Option<Ipv4Addr>,
    /// Further routes.
    pub routes: Vec<StaticRoute>,
    /// Largest packet, 576 to 9216 bytes.
    pub mtu_bytes: Option<u32>,
}

impl Interface {
    /// The kind of its document.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.device {
            Device::Hardware => "Interface",
            Device::Vlan { .. } => "Vlan",
            Device::Bond { .. } => "Bond",
            Device::Bridge { .. } => "Bridge",
            Device::Dummy => "Dummy",
        }
    }
}

/// A static route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticRoute {
    /// Where it leads.
    pub destination: Prefix,
    /// Next hop; none when the destination is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The least is preferred.
    pub metric: u32,
    /// Routing table.
    pub table: u32,
}

impl fmt::Display for StaticRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " metric {}", self.metric)?;
        match self.table {
            netplan::TABLE_MAIN => Ok(()),
            table => write!(f, " table {table}"),
        }
    }
}

/// An IP address with the length of its prefix, as in "10.0.0.5/24".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    /// Address.
    pub address: IpAddr,
    /// 1 to 32, or 128.
    pub prefix_length: u8,
}

impl Subnet {
    /// As links have it.
    #[must_use]
    pub const fn prefix(&self) -> Prefix {
        Prefix::new(self.address, self.prefix_length)
    }

    /// Whether an address lies in the subnet.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.prefix().contains(address)
    }

    /// Whether the subnets share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.prefix().fmt(f)
    }
}

//! What the kernel says about links, addresses and our routes.

use std::net::IpAddr;

use crate::{Kind, Prefix};

/// Marks addresses (`IFA_PROTO`) and routes (`rtm_protocol`) that are ours. Neither the kernel's headers nor iproute2's
/// tables nor the routing daemons listed there use it.
pub const OUR_PROTOCOL: u8 = 0xca;

/// Marks links that we made: their group (`IFLA_GROUP`), which alone of all marks the kernel takes with the link's
/// creation, so that no power cut leaves one without. Everybody else's links are of group 0.
pub const OUR_GROUP: u32 = 0xca;

/// Everything seen at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// In the order in which links are preferred.
    pub links: Vec<Link>,
    /// Of all links.
    pub addresses: Vec<Address>,
    /// Routes that we added.
    pub routes: Vec<Route>,
    /// Whether an IPv4 address that goes hands its place to the next one in its subnet instead of taking it along
    /// (sysctl `net.ipv4.conf.all.promote_secondaries`).
    pub promotes_secondaries: bool,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name, such as "eth0".
    pub name: String,
    /// "ether", "loopback", "bridge" and so on.
    pub kind_name: String,
    /// What it is, if it is of a kind that Cairn can make.
    pub kind: Option<Kind>,
    /// Whether we made it.
    pub ours: bool,
    /// Index of the bond, bridge or other link that it is a port of.
    pub master: Option<u32>,
    /// Index of the link below it (`IFLA_LINK`), for a VLAN.
    pub parent: Option<u32>,
    /// Hardware address.
    pub hardware_address: Vec<u8>,
    /// Hardware address that the device was made with; empty when the driver does not say.
    pub permanent_address: Vec<u8>,
    /// Driver; empty for links that are software.
    pub driver: String,
    /// Where the device is: the components of its path below /sys/devices.
    pub path: Vec<String>,
    /// Largest packet.
    pub mtu_bytes: u32,
    /// Smallest and largest packet size that the driver takes; 0 when it does not say.
    pub mtu_range_bytes: (u32, u32),
    /// Largest packet before we set another; `None` while we have not.
    pub former_mtu_bytes: Option<u32>,
    /// Administratively up.
    pub up: bool,
    /// Up with carrier.
    pub carrier: bool,
    /// The loopback link.
    pub loopback: bool,
    /// An Ethernet device that is more than software.
    pub physical: bool,
    /// The sysctl `accept_ra`; `None` without IPv6 or for links that are not ours to set up.
    pub accept_ra: Option<u8>,
}

impl Observed {
    /// The link that carries an IPv4 address of ours.
    #[must_use]
    pub fn configured_link(&self) -> Option<u32> {
        let ours =
            self.addresses.iter().find(|seen| seen.origin == Origin::Ours && seen.prefix.address.is_ipv4());
        ours.map(|seen| seen.link)
    }

    /// The link of this name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }
}

impl Link {
    /// The hardware address when it is an Ethernet one.
    #[must_use]
    pub fn mac(&self) -> Option<[u8; 6]> {
        self.hardware_address.as_slice().try_into().ok()
    }

    /// Whether we may set it up: hardware, or made by us.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.physical || self.ours
    }
}

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the link.
    pub link: u32,
    /// The address with its prefix.
    pub prefix: Prefix,
    /// "global", "site", "link" or "host".
    pub scope: &'static str,
    /// Who added it.
    pub origin: Origin,
}

/// Who added an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This system's controller.
    Ours,
    /// The kernel: loopback, link-local, router advertisements.
    Kernel,
    /// Someone else.
    Foreign,
}

/// A route of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Index of the link.
    pub link: u32,
    /// Where it leads.
    pub destination: Prefix,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Our address as the other side sees it.
    pub source: Option<IpAddr>,
    /// The least is preferred.
    pub metric: u32,
    /// Routing table.
    pub table: u32,
}

impl Route {
    /// Whether the kernel holds only one of the two (IPv4), or would share traffic between them (IPv6).
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        (self.destination, self.metric, self.table) == (other.destination, other.metric, other.table)
    }
}

/// Sorts links by name; shorter names first, so that eth2 comes before eth10.
pub fn sort_links(links: &mut [Link]) {
    links.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_by_value() {
        let mut links: Vec<Link> =
            ["eth10", "lo", "eth2", "eth0"].map(|name| Link { name: name.into(), ..Link::default() }).into();
        sort_links(&mut links);
        let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["lo", "eth0", "eth2", "eth10"]);
    }
}

//! What the kernel says about links, addresses and our routes.

use std::net::{IpAddr, Ipv4Addr};

/// Marks what is ours: `IFA_PROTO` of addresses and `rtm_protocol` of routes. Neither the kernel's headers nor
/// iproute2's tables nor the routing daemons listed there use it.
pub const OUR_PROTOCOL: u8 = 0xca;

/// Everything seen at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// In the order in which links are preferred.
    pub links: Vec<Link>,
    /// Of all links.
    pub addresses: Vec<Address>,
    /// IPv4 routes that we added.
    pub routes: Vec<Route>,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name, such as "eth0".
    pub name: String,
    /// "ether", "loopback", "bridge" and so on.
    pub kind: String,
    /// Hardware address.
    pub hardware_address: Vec<u8>,
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

impl Observation {
    /// The link that carries an IPv4 address of ours.
    pub fn configured_link(&self) -> Option<u32> {
        let ours = self.addresses.iter().find(|seen| seen.origin == Origin::Ours && seen.address.is_ipv4());
        ours.map(|seen| seen.link)
    }
}

impl Link {
    /// The hardware address when it is an Ethernet one.
    pub fn mac(&self) -> Option<[u8; 6]> {
        self.hardware_address.as_slice().try_into().ok()
    }
}

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the link.
    pub link: u32,
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix.
    pub prefix_length: u8,
    /// "global", "site", "link" or "host".
    pub scope: &'static str,
    /// Who added it.
    pub origin: Origin,
}

/// Who added an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This controller.
    Ours,
    /// The kernel: loopback, link-local, router advertisements.
    Kernel,
    /// Someone else.
    Foreign,
}

/// An IPv4 route of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Index of the link.
    pub link: u32,
    /// First address of the destination.
    pub destination: Ipv4Addr,
    /// Length of the destination's prefix.
    pub prefix_length: u8,
    /// Next hop.
    pub gateway: Option<Ipv4Addr>,
    /// Our address as the other side sees it.
    pub source: Option<Ipv4Addr>,
}

impl Route {
    /// Whether the kernel holds only one of the two.
    pub fn same_destination(&self, other: &Self) -> bool {
        (self.destination, self.prefix_length) == (other.destination, other.prefix_length)
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

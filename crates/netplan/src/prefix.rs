//! Addresses with the length of their prefix, for both families.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Number of the main routing table (`RT_TABLE_MAIN`, linux/rtnetlink.h).
pub const TABLE_MAIN: u32 = 254;

/// Metric of a route that names none. IPv4: as systemd-networkd's, so that one set by hand, with metric 0, wins. IPv6:
/// before those of router advertisements, which the kernel gives 1024 (`IP6_RT_PRIO_USER`).
#[must_use]
pub const fn default_metric(destination: IpAddr) -> u32 {
    match destination {
        IpAddr::V4(_) => 1024,
        IpAddr::V6(_) => 512,
    }
}

/// An address with the length of its prefix, such as "192.0.2.5/24".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// Address.
    pub address: IpAddr,
    /// Bits, at most 32 or 128.
    pub length: u8,
}

impl Prefix {
    /// A prefix.
    #[must_use]
    pub const fn new(address: IpAddr, length: u8) -> Self {
        Self { address, length }
    }

    /// The default route's destination in the family of `like`.
    #[must_use]
    pub const fn everything(like: IpAddr) -> Self {
        let address = match like {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { address, length: 0 }
    }

    /// Whether an address lies in the network of this prefix.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let host_bits = 32 - u32::from(self.length.min(32));
                let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let host_bits = 128 - u32::from(self.length.min(128));
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_its_network_and_no_other_family() {
        let holds = |prefix: &str, address: &str| {
            let (own, length) = prefix.split_once('/').unwrap();
            Prefix::new(own.parse().unwrap(), length.parse().unwrap()).contains(address.parse().unwrap())
        };
        assert!(holds("192.0.2.5/24", "192.0.2.255") && !holds("192.0.2.5/24", "192.0.3.1"));
        assert!(holds("0.0.0.0/0", "203.0.113.9") && !holds("0.0.0.0/0", "::"));
        assert!(holds("192.0.2.5/32", "192.0.2.5") && !holds("192.0.2.5/32", "192.0.2.4"));
        assert!(holds("2001:db8::5/64", "2001:db8::9:1") && !holds("2001:db8::5/64", "2001:db8:0:1::9"));
        assert!(holds("::/0", "2001:db8::1") && !holds("2001:db8::5/128", "2001:db8::6"));
    }
}

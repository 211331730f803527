//! Addresses that a node can have or reach.

use std::net::{IpAddr, Ipv4Addr};

use crate::kinds::Subnet;

/// An IPv4 address that a host can have.
pub(crate) fn usable(text: &str) -> Result<Ipv4Addr, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| match text.contains('/') {
        true => "must be an address without a prefix, such as 192.0.2.1".to_owned(),
        false => "must be an IPv4 address, such as 192.0.2.1".to_owned(),
    })?;
    unusable(address).map_or(Ok(address), |why| Err(format!("{why}; no host can have it")))
}

/// An address of a server.
pub(crate) fn server(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr =
        text.parse().map_err(|_| "must be an IP address, such as 192.0.2.53 or 2001:db8::53".to_owned())?;
    let why = match address {
        IpAddr::V4(address) => unusable(address),
        IpAddr::V6(address) if address.is_unspecified() => Some("is the unspecified address"),
        IpAddr::V6(address) if address.is_loopback() => Some("is a loopback address"),
        IpAddr::V6(address) if address.is_multicast() => Some("is a multicast address"),
        IpAddr::V6(_) => None,
    };
    why.map_or(Ok(address), |why| Err(format!("{why}; no server can be reached there")))
}

/// An address of the node itself, to serve something at.
pub(crate) fn own(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr =
        text.parse().map_err(|_| "must be an IP address, such as 192.0.2.17 or 2001:db8::17".to_owned())?;
    let why = match address {
        IpAddr::V4(address) if address.is_unspecified() => {
            Some("stands for all addresses; leave the field out")
        }
        IpAddr::V4(address) => unusable(address),
        IpAddr::V6(address) if address.is_unspecified() => {
            Some("stands for all addresses; leave the field out")
        }
        IpAddr::V6(address) if address.is_loopback() => Some("is a loopback address"),
        IpAddr::V6(address) if address.is_multicast() => Some("is a multicast address"),
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            Some("is a link-local address, which means nothing without its link")
        }
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
            Some("is an IPv4 address in disguise; write it as one")
        }
        IpAddr::V6(_) => None,
    };
    why.map_or(Ok(address), |why| Err(why.to_owned()))
}

/// An address with the length of its prefix.
pub(crate) fn subnet(text: &str) -> Result<Subnet, String> {
    let (address, prefix_length) =
        text.split_once('/').ok_or("must end with the length of its prefix, as in 192.0.2.17/24")?;
    let address: Ipv4Addr = address
        .parse()
        .map_err(|_| "must be an IPv4 address with a prefix, as in 192.0.2.17/24".to_owned())?;
    let plain = !prefix_length.is_empty() && prefix_length.bytes().all(|byte| byte.is_ascii_digit());
    let prefix_length = prefix_length.parse::<u8>().ok().filter(|length| plain && (1..=32).contains(length));
    let prefix_length = prefix_length.ok_or("must have a prefix of 1 to 32 bits, as in 192.0.2.17/24")?;
    if let Some(why) = unusable(address) {
        return Err(format!("{why}; no host can have it"));
    }
    let subnet = Subnet { address, prefix_length };
    // RFC 3021: with 31 and 32 bits every address is a host's.
    if prefix_length < 31 {
        let host = address.to_bits() & !subnet.mask();
        if host == 0 {
            return Err("is the subnet's own address; give a host's".into());
        }
        if host == !subnet.mask() {
            return Err("is the subnet's broadcast address; give a host's".into());
        }
    }
    Ok(subnet)
}

fn unusable(address: Ipv4Addr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("is the unspecified address"),
        _ if address.octets()[0] == 0 => Some("is in 0.0.0.0/8, which means \"this network\""),
        _ if address.is_loopback() => Some("is a loopback address"),
        _ if address.is_multicast() => Some("is a multicast address"),
        _ if address.is_broadcast() => Some("is the broadcast address"),
        _ if address.octets()[0] >= 240 => Some("is in 240.0.0.0/4, which is reserved"),
        _ => None,
    }
}

impl Subnet {
    /// Bits of the network.
    #[must_use]
    pub fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix_length.min(32))).unwrap_or(0)
    }

    /// Whether an address lies in the subnet.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.address.to_bits() ^ address.to_bits()) & self.mask() == 0
    }

    /// Whether the subnets share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_hosts_are_taken() {
        for good in ["192.0.2.17/24", "10.0.0.0/31", "10.0.0.255/32", "10.0.0.255/16", "128.0.0.1/1"] {
            assert_eq!(subnet(good).unwrap().to_string(), good);
        }
        for (bad, why) in [
            ("192.0.2.17", "length of its prefix"),
            ("192.0.2.17/", "1 to 32"),
            ("192.0.2.17/+4", "1 to 32"),
            ("192.0.2.17/0", "1 to 32"),
            ("192.0.2.17/33", "1 to 32"),
            ("192.0.2/24", "IPv4"),
            ("192.0.2.0/24", "subnet's own"),
            ("192.0.2.255/24", "subnet's broadcast"),
            ("0.0.0.0/8", "unspecified"),
            ("0.1.2.3/8", "this network"),
            ("127.0.0.1/8", "loopback"),
            ("224.0.0.1/24", "multicast"),
            ("255.255.255.255/32", "broadcast"),
            ("250.0.0.1/24", "reserved"),
        ] {
            let message = subnet(bad).unwrap_err();
            assert!(message.contains(why), "{bad}: {message}");
        }
        assert!(server("2001:db8::53").is_ok());
        assert!(["::", "::1", "ff02::1", "0.0.0.0", "dns"].iter().all(|bad| server(bad).is_err()));
    }

    #[test]
    fn a_node_serves_at_addresses_that_it_can_have() {
        assert!(["192.0.2.17", "10.0.0.1", "2001:db8::17", "fd00::1"].iter().all(|good| own(good).is_ok()));
        for (bad, why) in [
            ("shop", "must be an IP address"),
            ("192.0.2.17/24", "must be an IP address"),
            ("0.0.0.0", "leave the field out"),
            ("::", "leave the field out"),
            ("127.0.0.1", "loopback"),
            ("::1", "loopback"),
            ("224.0.0.1", "multicast"),
            ("fe80::1", "link-local"),
            ("::ffff:192.0.2.17", "in disguise"),
        ] {
            let message = own(bad).unwrap_err();
            assert!(message.contains(why), "{bad}: {message}");
        }
    }

    #[test]
    fn subnets_that_share_an_address_overlap() {
        let [a, b, c] = ["10.0.0.5/24", "10.0.9.9/16", "10.0.1.5/24"].map(|text| subnet(text).unwrap());
        assert!(a.overlaps(&b) && b.overlaps(&a) && b.overlaps(&c) && !a.overlaps(&c));
    }
}

//! Addresses that a node can have or reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netplan::Prefix;

use crate::link::Subnet;

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
    let prefix = prefix(text, "192.0.2.17/24")?;
    if prefix.length == 0 {
        return Err("must have a prefix of at least 1 bit, as in 192.0.2.17/24".into());
    }
    let why = match prefix.address {
        IpAddr::V4(address) => unusable(address),
        IpAddr::V6(address) => unusable_ipv6(address),
    };
    if let Some(why) = why {
        return Err(format!("{why}; no host can have it"));
    }
    if is_network(prefix) && has_own_address(prefix) {
        return Err("is the subnet's own address; give a host's".into());
    }
    if is_broadcast(prefix) {
        return Err("is the subnet's broadcast address; give a host's".into());
    }
    Ok(Subnet { address: prefix.address, prefix_length: prefix.length })
}

/// Where a route leads.
pub(crate) fn destination(text: &str) -> Result<Prefix, String> {
    let prefix = prefix(text, "198.51.100.0/24 or ::/0")?;
    let multicast = prefix.address.is_multicast();
    if multicast || prefix.address.is_loopback() {
        let what = if multicast { "multicast" } else { "loopback" };
        return Err(format!("is a {what} address, to which no route leads"));
    }
    if !is_network(prefix) {
        return Err(format!("has bits beyond its prefix of {}; they must be 0", prefix.length));
    }
    Ok(prefix)
}

/// A network that packets come from.
pub(crate) fn source(text: &str) -> Result<Prefix, String> {
    let prefix = prefix(text, "192.0.2.0/24 or 2001:db8::/32")?;
    let why = match prefix.address {
        address if address.is_multicast() => Some("is a multicast address, from which nothing comes"),
        address if address.is_loopback() => {
            Some("is a loopback address; what the node sends to itself is let through without a rule")
        }
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
            Some("is an IPv4 network in disguise; write it as one")
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    };
    if let Some(why) = why {
        return Err(why.into());
    }
    if !is_network(prefix) {
        return Err(format!("has bits beyond its prefix of {}; they must be 0", prefix.length));
    }
    Ok(prefix)
}

/// The next hop of a route.
pub(crate) fn next_hop(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr =
        text.parse().map_err(|_| "must be an IP address, such as 192.0.2.1 or fe80::1".to_owned())?;
    let why = match address {
        IpAddr::V4(address) => unusable(address),
        IpAddr::V6(address) if address.is_unicast_link_local() => None,
        IpAddr::V6(address) => unusable_ipv6(address),
    };
    why.map_or(Ok(address), |why| Err(format!("{why}; no router can have it")))
}

/// A unicast hardware address.
pub(crate) fn mac(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts
            .next()
            .filter(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    let [first, ..] = octets;
    (parts.next().is_none() && first & 1 == 0 && octets != [0; 6]).then_some(octets)
}

fn prefix(text: &str, example: &str) -> Result<Prefix, String> {
    let (address, length) = text
        .split_once('/')
        .ok_or_else(|| format!("must end with the length of its prefix, as in {example}"))?;
    let address: IpAddr =
        address.parse().map_err(|_| format!("must be an IP address with a prefix, as in {example}"))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse::<u8>().ok().filter(|length| plain && *length <= most);
    let length =
        length.ok_or_else(|| format!("must have a prefix of at most {most} bits, as in {example}"))?;
    Ok(Prefix::new(address, length))
}

/// RFC 3021 and RFC 6164: with one bit less than all, and with all, every address is a host's.
fn has_own_address(prefix: Prefix) -> bool {
    prefix.length < if prefix.address.is_ipv4() { 31 } else { 127 }
}

/// Whether all bits beyond the prefix are 0. Of IPv6 that is every router's (RFC 4291, 2.6.1).
fn is_network(prefix: Prefix) -> bool {
    match prefix.address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
            address.to_bits() & mask == 0
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
            address.to_bits() & mask == 0
        }
    }
}

fn is_broadcast(prefix: Prefix) -> bool {
    match prefix.address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
            has_own_address(prefix) && address.to_bits() & mask == mask
        }
        IpAddr::V6(_) => false,
    }
}

fn unusable_ipv6(address: Ipv6Addr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("is the unspecified address"),
        _ if address.is_loopback() => Some("is a loopback address"),
        _ if address.is_multicast() => Some("is a multicast address"),
        _ if address.is_unicast_link_local() => Some("is a link-local address, which links make themselves"),
        _ if address.to_ipv4_mapped().is_some() => Some("is an IPv4 address in disguise"),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_hosts_are_taken() {
        for good in [
            "192.0.2.17/24",
            "10.0.0.0/31",
            "10.0.0.255/32",
            "10.0.0.255/16",
            "128.0.0.1/1",
            "2001:db8::17/64",
            "fd00::/127",
        ] {
            assert_eq!(subnet(good).unwrap().to_string(), good);
        }
        for (bad, why) in [
            ("192.0.2.17", "length of its prefix"),
            ("192.0.2.17/", "at most 32"),
            ("192.0.2.17/+4", "at most 32"),
            ("192.0.2.17/0", "at least 1"),
            ("192.0.2.17/33", "at most 32"),
            ("192.0.2/24", "IP address"),
            ("2001:db8::17/129", "at most 128"),
            ("2001:db8::/64", "subnet's own"),
            ("fe80::1/64", "link-local"),
            ("ff02::1/64", "multicast"),
            ("::ffff:192.0.2.1/96", "in disguise"),
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
    fn a_route_leads_to_a_network_by_a_router() {
        for good in ["0.0.0.0/0", "::/0", "198.51.100.0/24", "198.51.100.7/32", "2001:db8:9::/48"] {
            assert_eq!(destination(good).unwrap().to_string(), good);
        }
        for (bad, why) in [
            ("198.51.100.0", "length of its prefix"),
            ("198.51.100.7/24", "beyond its prefix of 24"),
            ("2001:db8::1/64", "beyond its prefix of 64"),
            ("224.0.0.0/4", "multicast"),
            ("127.0.0.0/8", "loopback"),
        ] {
            let message = destination(bad).unwrap_err();
            assert!(message.contains(why), "{bad}: {message}");
        }
        assert!(["192.0.2.1", "2001:db8::1", "fe80::1"].iter().all(|good| next_hop(good).is_ok()));
        assert!(["0.0.0.0", "::", "ff02::1", "127.0.0.1", "router"].iter().all(|bad| next_hop(bad).is_err()));
    }

    #[test]
    fn packets_come_from_a_network() {
        for good in ["0.0.0.0/0", "::/0", "192.0.2.0/24", "192.0.2.7/32", "2001:db8::/32", "fe80::/10"] {
            assert_eq!(source(good).unwrap().to_string(), good);
        }
        for (bad, why) in [
            ("192.0.2.7", "length of its prefix"),
            ("192.0.2.7/24", "beyond its prefix of 24"),
            ("ff02::/16", "multicast"),
            ("127.0.0.0/8", "without a rule"),
            ("::ffff:192.0.2.0/120", "in disguise"),
        ] {
            let message = source(bad).unwrap_err();
            assert!(message.contains(why), "{bad}: {message}");
        }
    }

    #[test]
    fn a_hardware_address_is_one_device_s() {
        assert_eq!(mac("52:54:00:12:34:aB"), Some([0x52, 0x54, 0, 0x12, 0x34, 0xab]));
        for bad in [
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "53:54:00:12:34:56",
            "00:00:00:00:00:00",
            "5:4:0:1:2:3",
        ] {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }

    #[test]
    fn subnets_that_share_an_address_overlap() {
        let [a, b, c] = ["10.0.0.5/24", "10.0.9.9/16", "10.0.1.5/24"].map(|text| subnet(text).unwrap());
        assert!(a.overlaps(&b) && b.overlaps(&a) && b.overlaps(&c) && !a.overlaps(&c));
    }
}

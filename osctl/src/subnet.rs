//! Subnets of a cluster, as they are written on the command line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netplan::Prefix;

/// Reads "ADDRESS/LENGTH"; the address must be the subnet's first, so that nobody takes it for a host's.
pub fn parse(text: &str) -> Result<Prefix, String> {
    let wrong = || format!("{text:?} is no subnet; write it like 10.244.0.0/16");
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let length: u8 = length.parse().map_err(|_| wrong())?;
    if length > bits(address) {
        return Err(wrong());
    }
    let first = Prefix::new(first(address, length), length);
    if first.address == address { Ok(first) } else { Err(format!("{text} begins at {}", first.address)) }
}

/// Bits of an address of this family.
pub fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address that stands `count` after the first one; `None` when the subnet is too small.
pub fn nth(subnet: Prefix, count: u8) -> Option<IpAddr> {
    let address = match subnet.address {
        IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().checked_add(count.into())?).into(),
        IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits().checked_add(count.into())?).into(),
    };
    subnet.contains(address).then_some(address)
}

fn first(address: IpAddr, length: u8) -> IpAddr {
    let host_bits = u32::from(bits(address) - length);
    match address {
        IpAddr::V4(own) => {
            Ipv4Addr::from_bits(own.to_bits() & u32::MAX.checked_shl(host_bits).unwrap_or(0)).into()
        }
        IpAddr::V6(own) => {
            Ipv6Addr::from_bits(own.to_bits() & u128::MAX.checked_shl(host_bits).unwrap_or(0)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_named_by_its_first_address() {
        for good in ["10.244.0.0/16", "0.0.0.0/0", "10.0.0.1/32", "fd00:10::/64", "::/0"] {
            assert_eq!(parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "10.0.0.0/-1", "10.0.0.0/8/8"] {
            assert!(parse(bad).unwrap_err().contains("is no subnet"), "{bad}");
        }
        assert_eq!(parse("10.244.3.7/16").unwrap_err(), "10.244.3.7/16 begins at 10.244.0.0");
    }

    #[test]
    fn addresses_are_counted_within_the_subnet() {
        let tenth = |text| nth(parse(text).unwrap(), 10).map(|address| address.to_string());
        assert_eq!(tenth("10.96.0.0/12").as_deref(), Some("10.96.0.10"));
        assert_eq!(tenth("fd00:10:96::/112").as_deref(), Some("fd00:10:96::a"));
        assert_eq!(tenth("10.96.0.0/29"), None);
        assert_eq!(tenth("255.255.255.252/30"), None);
    }
}

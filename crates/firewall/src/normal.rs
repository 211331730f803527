//! Lists as nftables takes them: sets of intervals that share nothing, in order.

use netplan::Prefix;

use crate::Ports;

/// The same ports, in order, in as few ranges as they take.
pub(crate) fn ports(given: &[Ports]) -> Vec<Ports> {
    let mut sorted = given.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<Ports> = Vec::new();
    for next in sorted {
        match merged.last_mut() {
            Some(last) if next.first <= last.last.saturating_add(1) => last.last = last.last.max(next.last),
            Some(_) | None => merged.push(next),
        }
    }
    merged
}

/// The same networks, in order, without those that lie in others. Networks never overlap otherwise.
pub(crate) fn subnets(given: &[Prefix]) -> Vec<Prefix> {
    let mut sorted = given.to_vec();
    sorted.sort_unstable_by_key(|subnet| (subnet.length, subnet.address));
    let mut kept: Vec<Prefix> = Vec::new();
    for next in sorted {
        if !kept.iter().any(|wider| wider.contains(next.address)) {
            kept.push(next);
        }
    }
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_touch_become_one_range() {
        let range = |first, last| Ports { first, last };
        let given = [range(90, 95), Ports::one(80), range(70, 79), range(92, 99), range(65_000, 65_535)];
        assert_eq!(ports(&given), [range(70, 80), range(90, 99), range(65_000, 65_535)]);
        assert_eq!(ports(&[range(1, 65_535), Ports::one(65_535)]), [range(1, 65_535)]);
    }

    #[test]
    fn networks_within_others_are_left_out() {
        let subnet = |text: &str| {
            let (address, length) = text.split_once('/').unwrap();
            Prefix::new(address.parse().unwrap(), length.parse().unwrap())
        };
        let given = ["10.1.0.0/16", "2001:db8::/32", "10.0.0.0/8", "192.0.2.0/24", "2001:db8:1::/48"];
        let expected = ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"];
        assert_eq!(subnets(&given.map(subnet)), expected.map(subnet));
        assert_eq!(subnets(&["0.0.0.0/0", "::/0"].map(subnet)), ["0.0.0.0/0", "::/0"].map(subnet));
    }
}

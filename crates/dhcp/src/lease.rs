//! What a server granted.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// An address with everything that came with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Our address.
    pub address: Ipv4Addr,
    /// Length of the subnet's prefix, 1 to 32.
    pub prefix_length: u8,
    /// Identifier of the server that granted it.
    pub server: Ipv4Addr,
    /// Seconds that the address may be used; `None` for ever.
    pub duration_s: Option<u32>,
    /// T1: seconds after which the server is asked to extend the lease.
    pub renew_s: u32,
    /// T2: seconds after which any server is asked.
    pub rebind_s: u32,
    /// Routes: the classless ones (RFC 3442) when there are any, else a default route by the first router.
    pub routes: Vec<Route>,
    /// Name servers in order of preference.
    pub dns: Vec<Ipv4Addr>,
    /// Time servers in order of preference.
    #[serde(default)]
    pub ntp: Vec<Ipv4Addr>,
    /// Domain to complete names with.
    pub domain: Option<String>,
    /// Host name that the server proposes.
    pub hostname: Option<String>,
    /// Largest packet in bytes that the link carries.
    pub mtu: Option<u16>,
}

/// A route of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// First address of the destination.
    pub destination: Ipv4Addr,
    /// Length of the destination's prefix; 0 is the default route.
    pub prefix_length: u8,
    /// Next hop; `None` when the destination is on the link itself.
    pub gateway: Option<Ipv4Addr>,
}

/// A lease with the wall clock's time of its grant, as it is kept across reboots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLease {
    /// What was granted.
    pub lease: Lease,
    /// When, in seconds since 1970.
    pub granted_unix_s: u64,
}

/// How much longer a stored lease may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remaining {
    Forever,
    Seconds(u32),
    Expired,
}

impl StoredLease {
    /// Time left at `now_unix_s`. A clock that stands before the grant is known to be wrong (no battery); how long
    /// the node was off is then unknown, and a lease that may be spent serves an offline node better than none.
    pub(crate) fn remaining(&self, now_unix_s: u64) -> Remaining {
        let Some(duration_s) = self.lease.duration_s else { return Remaining::Forever };
        let elapsed_s = now_unix_s.saturating_sub(self.granted_unix_s);
        match u64::from(duration_s).checked_sub(elapsed_s).and_then(|left| u32::try_from(left).ok()) {
            None | Some(0) => Remaining::Expired,
            Some(left_s) => Remaining::Seconds(left_s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(duration_s: Option<u32>) -> StoredLease {
        let lease = Lease {
            address: Ipv4Addr::new(192, 0, 2, 7),
            prefix_length: 24,
            server: Ipv4Addr::new(192, 0, 2, 1),
            duration_s,
            renew_s: 0,
            rebind_s: 0,
            routes: Vec::new(),
            dns: Vec::new(),
            ntp: Vec::new(),
            domain: None,
            hostname: None,
            mtu: None,
        };
        StoredLease { lease, granted_unix_s: 1_000_000 }
    }

    #[test]
    fn time_left_follows_the_clock_unless_it_is_known_to_be_wrong() {
        let table = [
            (Some(3600), 1_000_000, Remaining::Seconds(3600)),
            (Some(3600), 1_003_599, Remaining::Seconds(1)),
            (Some(3600), 1_003_600, Remaining::Expired),
            (Some(3600), u64::MAX, Remaining::Expired),
            (Some(3600), 0, Remaining::Seconds(3600)),
            (None, u64::MAX, Remaining::Forever),
        ];
        for (duration_s, now, expected) in table {
            assert_eq!(stored(duration_s).remaining(now), expected, "{duration_s:?} at {now}");
        }
    }

    #[test]
    fn survives_storage() {
        let lease = stored(None);
        let text = serde_json::to_string(&lease).unwrap();
        assert_eq!(serde_json::from_str::<StoredLease>(&text).unwrap(), lease);
    }
}

//! Which replies count, and what they grant.
//!
//! Parsing is lenient where a server's mistake is harmless (an odd option is left out) and strict where it is not.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use dhcproto::v4::borrowed::{DhcpOptionIterator, Message};
use dhcproto::v4::{HType, MessageType, Opcode, OptionCode};

use crate::lease::{Lease, Route};

/// Longer messages are refused: more than we announce, room for a jumbo frame's worth.
const REPLY_MAX_BYTES: usize = 9_000;
/// Shortest lease that is taken. Servers do not go below two minutes; less would be a flood of requests.
const LEASE_MIN_S: u32 = 10;
/// Shortest T1 that is believed.
const RENEW_MIN_S: u32 = 5;
/// Lease time that means "for ever" (RFC 2131 section 3.3).
const LEASE_FOREVER: u32 = u32::MAX;
/// Most routes that are taken from a reply; sites have a handful.
const ROUTES_MAX: usize = 64;
/// Most name servers that are taken from a reply; resolvers use three.
const DNS_MAX: usize = 8;
/// Longest list of time servers that is taken.
const NTP_MAX: usize = 8;
/// Smallest MTU that every IPv4 host must accept (RFC 1122 section 3.3.3).
const MTU_MIN: u16 = 576;
/// Longest host or domain name (RFC 1035 section 2.3.4).
const NAME_MAX_BYTES: usize = 253;
/// Where `sname` and `file` lie; option overload puts options there.
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;

/// A reply to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Offer(Lease),
    Ack(Lease),
    Nak { server: Ipv4Addr },
}

/// Why a message does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Too short or too long for a DHCP message.
    #[error("message of {bytes} bytes")]
    Length {
        /// As received.
        bytes: usize,
    },
    /// Not a reply to an Ethernet client, or not to us.
    #[error("not a reply to this client")]
    NotOurs,
    /// Not an offer, an acknowledgement or a refusal.
    #[error("not a DHCPOFFER, DHCPACK or DHCPNAK")]
    Kind,
    /// Without the identifier that names the server.
    #[error("no server identifier")]
    Server,
    /// Grants what is no host's address.
    #[error("{address}/{prefix_length} is no address for a host")]
    Address {
        /// As granted.
        address: Ipv4Addr,
        /// Of its mask.
        prefix_length: u8,
    },
    /// The subnet mask has holes, or is 0.
    #[error("subnet mask {mask} is none")]
    Mask {
        /// As received.
        mask: Ipv4Addr,
    },
    /// Without a lease time, or one under 10 s.
    #[error("lease time is missing or shorter than {LEASE_MIN_S} s")]
    LeaseTime,
}

impl Reply {
    /// Decodes a message that answers transaction `xid` of the client with address `mac`.
    pub(crate) fn parse(bytes: &[u8], xid: u32, mac: [u8; 6]) -> Result<Self, ReplyError> {
        let length = ReplyError::Length { bytes: bytes.len() };
        if bytes.len() > REPLY_MAX_BYTES {
            return Err(length);
        }
        let message = Message::new(bytes).map_err(|_| length)?;
        // The length must be ours before chaddr() slices by it.
        let ours = message.opcode() == Opcode::BootReply
            && message.htype() == HType::Eth
            && message.xid() == xid
            && usize::from(message.hlen()) == mac.len()
            && message.chaddr() == mac;
        if !ours {
            return Err(ReplyError::NotOurs);
        }
        let options = Options::collect(&message, bytes);
        let server = options.address(OptionCode::ServerIdentifier).filter(|server| is_host(*server));
        let server = server.ok_or(ReplyError::Server);
        match options.byte(OptionCode::MessageType).map(MessageType::from) {
            Some(MessageType::Offer) => Ok(Self::Offer(options.lease(message.yiaddr(), server?)?)),
            Some(MessageType::Ack) => Ok(Self::Ack(options.lease(message.yiaddr(), server?)?)),
            Some(MessageType::Nak) => Ok(Self::Nak { server: server? }),
            _ => Err(ReplyError::Kind),
        }
    }
}

/// Options by code; an option in several parts is joined (RFC 3396).
struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    fn collect(message: &Message<'_>, bytes: &[u8]) -> Self {
        let mut options = Self(BTreeMap::new());
        options.extend(message.opts());
        let overload = options.byte(OptionCode::OptionOverload).unwrap_or(0);
        for (bit, field) in [(1, FILE), (2, SNAME)] {
            if overload & bit != 0 {
                options.extend(DhcpOptionIterator::new(bytes.get(field).unwrap_or_default()));
            }
        }
        options
    }

    fn extend(&mut self, found: DhcpOptionIterator<'_>) {
        for option in found {
            self.0.entry(option.code().into()).or_default().extend_from_slice(option.data());
        }
    }

    fn bytes(&self, code: OptionCode) -> Option<&[u8]> {
        self.0.get(&u8::from(code)).map(Vec::as_slice)
    }

    fn array<const N: usize>(&self, code: OptionCode) -> Option<[u8; N]> {
        self.bytes(code)?.try_into().ok()
    }

    fn byte(&self, code: OptionCode) -> Option<u8> {
        self.array::<1>(code).map(|[byte]| byte)
    }

    fn address(&self, code: OptionCode) -> Option<Ipv4Addr> {
        self.array::<4>(code).map(Ipv4Addr::from)
    }

    fn seconds(&self, code: OptionCode) -> Option<u32> {
        self.array(code).map(u32::from_be_bytes)
    }

    fn addresses(&self, code: OptionCode) -> impl Iterator<Item = Ipv4Addr> {
        let (quads, _) = self.bytes(code).unwrap_or_default().as_chunks::<4>();
        quads.iter().copied().map(Ipv4Addr::from).filter(|address| is_host(*address))
    }

    /// A host or domain name. It ends up in files such as resolv.conf, so nothing but names gets through.
    fn name(&self, code: OptionCode) -> Option<String> {
        let text = std::str::from_utf8(self.bytes(code)?).ok()?.trim_end_matches('\0').trim_end_matches('.');
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        (text.len() <= NAME_MAX_BYTES && text.split('.').all(label)).then(|| text.to_ascii_lowercase())
    }

    fn lease(&self, address: Ipv4Addr, server: Ipv4Addr) -> Result<Lease, ReplyError> {
        let prefix_length = self.prefix_length(address)?;
        if !is_host(address) || is_subnet_end(address, prefix_length) {
            return Err(ReplyError::Address { address, prefix_length });
        }
        let lease_s = self.seconds(OptionCode::AddressLeaseTime).filter(|s| *s >= LEASE_MIN_S);
        let lease_s = lease_s.ok_or(ReplyError::LeaseTime)?;
        let (renew_s, rebind_s) = self.renewal(lease_s);
        Ok(Lease {
            address,
            prefix_length,
            server,
            duration_s: (lease_s != LEASE_FOREVER).then_some(lease_s),
            renew_s,
            rebind_s,
            routes: self.routes(),
            dns: self.addresses(OptionCode::DomainNameServer).take(DNS_MAX).collect(),
            ntp: self.addresses(OptionCode::NtpServers).take(NTP_MAX).collect(),
            domain: self.name(OptionCode::DomainName),
            hostname: self.name(OptionCode::Hostname),
            mtu: self.array(OptionCode::InterfaceMtu).map(u16::from_be_bytes).filter(|mtu| *mtu >= MTU_MIN),
        })
    }

    fn prefix_length(&self, address: Ipv4Addr) -> Result<u8, ReplyError> {
        let Some(mask) = self.address(OptionCode::SubnetMask) else {
            return Ok(class_prefix_length(address));
        };
        let length = mask.to_bits().leading_ones();
        let whole = mask.to_bits().count_ones() == length && length > 0;
        u8::try_from(length).ok().filter(|_| whole).ok_or(ReplyError::Mask { mask })
    }

    /// T1 and T2 of the server when they make sense, else a half and seven eighths (RFC 2131 section 4.4.5).
    fn renewal(&self, lease_s: u32) -> (u32, u32) {
        let half = lease_s / 2;
        let seven_eighths = lease_s - lease_s / 8;
        let renew_s = self.seconds(OptionCode::Renewal).unwrap_or(half);
        let rebind_s = self.seconds(OptionCode::Rebinding).unwrap_or(seven_eighths);
        let sound = renew_s >= RENEW_MIN_S && renew_s < rebind_s && rebind_s < lease_s;
        if sound { (renew_s, rebind_s) } else { (half, seven_eighths) }
    }

    fn routes(&self) -> Vec<Route> {
        if let Some(routes) = self.bytes(OptionCode::ClasslessStaticRoute).and_then(classless_routes) {
            return routes;
        }
        let default =
            |gateway| Route { destination: Ipv4Addr::UNSPECIFIED, prefix_length: 0, gateway: Some(gateway) };
        self.addresses(OptionCode::Router).take(1).map(default).collect()
    }
}

/// RFC 3442: prefix length, as many octets of the destination as it covers, gateway; 0.0.0.0 means on-link.
fn classless_routes(mut bytes: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let Some((prefix_length, rest)) = bytes.split_first() {
        if *prefix_length > 32 || routes.len() == ROUTES_MAX {
            return None;
        }
        let (significant, rest) = rest.split_at_checked(usize::from(prefix_length.div_ceil(8)))?;
        let (gateway, rest) = rest.split_first_chunk::<4>()?;
        let mut destination = [0; 4];
        for (octet, given) in destination.iter_mut().zip(significant) {
            *octet = *given;
        }
        let destination = Ipv4Addr::from_bits(u32::from_be_bytes(destination) & mask_bits(*prefix_length));
        let gateway = Ipv4Addr::from(*gateway);
        routes.push(Route {
            destination,
            prefix_length: *prefix_length,
            gateway: (!gateway.is_unspecified()).then_some(gateway),
        });
        bytes = rest;
    }
    (!routes.is_empty()).then_some(routes)
}

fn mask_bits(prefix_length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_length)).unwrap_or(0)
}

/// Prefix by address class, for servers that send no mask.
fn class_prefix_length(address: Ipv4Addr) -> u8 {
    match address.octets() {
        [0..=127, ..] => 8,
        [128..=191, ..] => 16,
        _ => 24,
    }
}

fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && !address.is_loopback() && first < 224
}

/// The subnet's own address or its broadcast address.
fn is_subnet_end(address: Ipv4Addr, prefix_length: u8) -> bool {
    let host_bits = !mask_bits(prefix_length);
    let host = address.to_bits() & host_bits;
    prefix_length < 31 && (host == 0 || host == host_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(OptionCode, &[u8])]) -> Options {
        Options(pairs.iter().map(|(code, data)| (u8::from(*code), data.to_vec())).collect())
    }

    #[test]
    fn renewal_times_must_make_sense() {
        let table = [
            (None, None, 3600, (1800, 3150)),
            (Some(600u32), Some(1200u32), 3600, (600, 1200)),
            (Some(1200), Some(600), 3600, (1800, 3150)),
            (Some(0), Some(600), 3600, (1800, 3150)),
            (Some(600), Some(3600), 3600, (1800, 3150)),
            (Some(4000), None, 3600, (1800, 3150)),
            (None, None, 10, (5, 9)),
        ];
        for (renew, rebind, lease, expected) in table {
            let mut given = Options(BTreeMap::new());
            for (code, value) in [(OptionCode::Renewal, renew), (OptionCode::Rebinding, rebind)] {
                if let Some(value) = value {
                    given.0.insert(code.into(), value.to_be_bytes().to_vec());
                }
            }
            assert_eq!(given.renewal(lease), expected, "{renew:?} {rebind:?} of {lease}");
        }
    }

    #[test]
    fn classless_routes_win_over_the_router() {
        let router = (OptionCode::Router, &[192, 0, 2, 1][..]);
        let classless = [0, 192, 0, 2, 254, 25, 10, 1, 2, 255, 192, 0, 2, 9, 16, 172, 16, 0, 0, 0, 0];
        let only_router = options(&[router]).routes();
        assert_eq!(only_router.len(), 1);
        assert_eq!(only_router[0].gateway, Some(Ipv4Addr::new(192, 0, 2, 1)));
        let routes = options(&[router, (OptionCode::ClasslessStaticRoute, &classless)]).routes();
        let shown: Vec<_> =
            routes.iter().map(|r| (r.destination.to_string(), r.prefix_length, r.gateway)).collect();
        assert_eq!(
            shown,
            [
                ("0.0.0.0".into(), 0, Some(Ipv4Addr::new(192, 0, 2, 254))),
                ("10.1.2.128".into(), 25, Some(Ipv4Addr::new(192, 0, 2, 9))),
                ("172.16.0.0".into(), 16, None),
            ]
        );
        for broken in [&[33, 1, 2, 3, 4, 5, 192, 0, 2, 1][..], &[24, 10, 0], &[8, 10, 192, 0], &[]] {
            let routes = options(&[router, (OptionCode::ClasslessStaticRoute, broken)]).routes();
            assert_eq!(routes, only_router, "{broken:?}");
        }
    }

    #[test]
    fn names_cannot_smuggle_lines() {
        let name = |bytes: &[u8]| options(&[(OptionCode::DomainName, bytes)]).name(OptionCode::DomainName);
        assert_eq!(name(b"Example.COM.\0").as_deref(), Some("example.com"));
        assert_eq!(name(b"lan").as_deref(), Some("lan"));
        for bad in
            [&b"a b"[..], b"a\nnameserver 6.6.6.6", b"", b"..", b"-a", b"a-", &[b'a'; 64], &[0xff], b"\0"]
        {
            assert_eq!(name(bad), None, "{bad:?}");
        }
        assert_eq!(name("a.".repeat(127).as_bytes()).map(|name| name.len()), Some(253));
        assert_eq!(name("a.".repeat(128).as_bytes()), None);
    }

    #[test]
    fn masks_and_addresses() {
        let address = Ipv4Addr::new(10, 0, 0, 7);
        let masked = |mask: [u8; 4]| options(&[(OptionCode::SubnetMask, &mask)]).prefix_length(address);
        assert_eq!(masked([255, 255, 255, 0]), Ok(24));
        assert_eq!(masked([255, 255, 255, 255]), Ok(32));
        assert!(masked([0, 0, 0, 0]).is_err() && masked([255, 0, 255, 0]).is_err());
        assert_eq!(options(&[]).prefix_length(address), Ok(8));
        let refused = [
            ([0, 0, 0, 0], 24),
            ([127, 0, 0, 1], 8),
            ([224, 0, 0, 1], 24),
            ([255, 255, 255, 255], 32),
            ([10, 0, 0, 0], 24),
            ([10, 0, 0, 255], 24),
        ];
        for (octets, prefix_length) in refused {
            let address = Ipv4Addr::from(octets);
            assert!(!is_host(address) || is_subnet_end(address, prefix_length), "{address}/{prefix_length}");
        }
        assert!(is_host(address) && !is_subnet_end(address, 24));
        assert!(
            !is_subnet_end(Ipv4Addr::new(10, 0, 0, 0), 31)
                && !is_subnet_end(Ipv4Addr::new(10, 0, 0, 255), 32)
        );
    }
}

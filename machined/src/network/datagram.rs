//! IPv4 and UDP headers around a DHCP message (RFC 791, RFC 768). Pure.

use std::net::Ipv4Addr;

/// Where clients listen.
pub const CLIENT_PORT: u16 = 68;
/// Where servers listen.
pub const SERVER_PORT: u16 = 67;

const IP_HEADER_BYTES: usize = 20;
const UDP_HEADER_BYTES: usize = 8;
const UDP: u8 = 17;
/// Fragment offset and the flag for more fragments.
const FRAGMENT: u16 = 0x3fff;

/// A datagram from 0.0.0.0 port 68 to 255.255.255.255 port 67. DHCP messages are far below the 64 KiB that a
/// datagram holds; what is longer is cut.
pub fn build(payload: &[u8]) -> Vec<u8> {
    let room = usize::from(u16::MAX) - IP_HEADER_BYTES - UDP_HEADER_BYTES;
    let payload = payload.get(..room).unwrap_or(payload);
    let udp_length = length(UDP_HEADER_BYTES + payload.len());
    let mut udp = Vec::with_capacity(UDP_HEADER_BYTES + payload.len());
    udp.extend_from_slice(&CLIENT_PORT.to_be_bytes());
    udp.extend_from_slice(&SERVER_PORT.to_be_bytes());
    udp.extend_from_slice(&udp_length.to_be_bytes());
    udp.extend_from_slice(&[0, 0]);
    udp.extend_from_slice(payload);
    let (source, destination) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let [length_high, length_low] = udp_length.to_be_bytes();
    let pseudo =
        [&source.octets()[..], &destination.octets(), &[0, UDP, length_high, length_low], &udp].concat();
    // 0 would mean "no checksum".
    let udp_checksum = Some(checksum(&pseudo)).filter(|sum| *sum != 0).unwrap_or(u16::MAX);

    let mut ip = vec![0x45, 0];
    ip.extend_from_slice(&length(IP_HEADER_BYTES + udp.len()).to_be_bytes());
    ip.extend_from_slice(&[0, 0, 0, 0, 64, UDP, 0, 0]);
    ip.extend_from_slice(&source.octets());
    ip.extend_from_slice(&destination.octets());
    let ip_checksum = checksum(&ip);
    put(&mut ip, 10, ip_checksum);
    put(&mut udp, 6, udp_checksum);
    ip.extend_from_slice(&udp);
    ip
}

/// The payload of a datagram for the client's port.
///
/// The UDP checksum is not looked at: between virtual machines and containers the sender leaves it to hardware that
/// does not exist. The Ethernet frame has its own, and the message must name our transaction and address.
pub fn parse(frame: &[u8]) -> Option<&[u8]> {
    let [version_and_length, _] = *frame.first_chunk::<2>()?;
    let header_bytes = usize::from(version_and_length & 0x0f) * 4;
    let plausible = version_and_length >> 4 == 4 && header_bytes >= IP_HEADER_BYTES;
    let total = usize::from(number(frame, 2)?);
    if !plausible || number(frame, 6)? & FRAGMENT != 0 || *frame.get(9)? != UDP {
        return None;
    }
    // Short frames are padded: the header tells where the datagram ends.
    let udp = frame.get(header_bytes..total)?;
    if number(udp, 2)? != CLIENT_PORT {
        return None;
    }
    udp.get(UDP_HEADER_BYTES..usize::from(number(udp, 4)?))
}

fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
    let sum = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>() + last;
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded & 0xffff).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of RFC 1071 section 3 sums to ddf2.
    #[test]
    fn checksum_is_the_internets() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff]), 0x00ff);
    }

    #[test]
    fn headers_are_what_a_receiver_checks() {
        let frame = build(b"abc");
        assert_eq!(frame.len(), 31);
        assert_eq!(checksum(&frame[..20]), 0);
        assert_eq!(frame[16..20], [255; 4]);
        assert_eq!(frame[20..24], [0, 68, 0, 67]);
        let pseudo = [&frame[12..20], &[0, 17, 0, 11], &frame[20..]].concat();
        assert_eq!(checksum(&pseudo), 0);
    }

    fn reply(payload: &[u8]) -> Vec<u8> {
        let mut frame = build(payload);
        frame[20..24].copy_from_slice(&[0, 67, 0, 68]);
        frame
    }

    #[test]
    fn only_whole_datagrams_for_the_client_count() {
        let good = reply(b"hello");
        assert_eq!(parse(&good), Some(&b"hello"[..]));
        assert_eq!(parse(&[&good[..], &[0; 13]].concat()), Some(&b"hello"[..]), "padding is cut");
        let altered = |at: usize, value: u8| {
            let mut frame = good.clone();
            frame[at] = value;
            parse(&frame).is_none()
        };
        assert!(altered(0, 0x65) && altered(0, 0x44), "version, header length");
        assert!(altered(3, 200), "total length");
        assert!(altered(6, 0x20) && altered(7, 1), "fragments");
        assert!(altered(9, 6), "protocol");
        assert!(altered(23, 67), "port");
        assert!(altered(25, 200) && altered(25, 7), "UDP length");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_built_parses(payload in prop::collection::vec(any::<u8>(), 0..1400)) {
            let frame = reply(&payload);
            prop_assert_eq!(parse(&frame), Some(&payload[..]));
        }

        #[test]
        fn noise_is_survived(frame in prop::collection::vec(any::<u8>(), 0..100), header: bool) {
            let mut frame = frame;
            if header && frame.len() > 10 {
                frame[0] = 0x45 + (frame[0] & 3);
                frame[9] = 17;
            }
            if let Some(payload) = parse(&frame) {
                prop_assert!(payload.len() <= frame.len());
            }
        }
    }
}

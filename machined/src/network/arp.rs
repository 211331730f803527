//! Asks on a link who has an address (RFC 826), past the kernel's table of neighbours: what that knows may be old.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::time::interval;

use super::raw_socket::{EtherType, RawSocket, bind_packet};

/// Between questions; the kernel's own pace (`retrans_time_ms`).
const AGAIN: Duration = Duration::from_secs(1);
const EVERYONE: [u8; 6] = [0xff; 6];
const PACKET_BYTES: usize = 28;
/// Ethernet, IPv4, and the lengths of their addresses.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// Asks for an address, from one that the link has, until it is answered.
pub async fn resolve(link: &str, source: Ipv4Addr, target: Ipv4Addr) -> io::Result<()> {
    let index = if_nametoindex(link)?;
    let question = request(hardware_address(link)?, source, target);
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Packet, SockType::Datagram, flags, None)?;
    bind_packet(&fd, index, EtherType::Arp)?;
    let socket = RawSocket::new(fd)?;
    let mut again = interval(AGAIN);
    let mut packet = [0; PACKET_BYTES];
    loop {
        tokio::select! {
            _ = again.tick() => socket.send_packet(index, EtherType::Arp, EVERYONE, &question)?,
            received = socket.receive(&mut packet) => {
                received?;
                if is_reply(&packet, target) {
                    return Ok(());
                }
            }
        }
    }
}

fn hardware_address(link: &str) -> io::Result<[u8; 6]> {
    let text = fs::read_to_string(Path::new("/sys/class/net").join(link).join("address"))?;
    let octets = hex::decode(text.trim().replace(':', "")).unwrap_or_default();
    octets.try_into().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not an Ethernet link"))
}

fn request(mac: [u8; 6], source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    [&ETHERNET_IPV4[..], &REQUEST, &mac, &source.octets(), &[0; 6], &target.octets()].concat()
}

fn is_reply(packet: &[u8; PACKET_BYTES], target: Ipv4Addr) -> bool {
    packet.starts_with(&ETHERNET_IPV4)
        && packet.get(6..8) == Some(&REPLY)
        && packet.get(14..18) == Some(&target.octets())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
    const TARGET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    #[test]
    fn a_question_is_as_the_rfc_has_it() {
        let expected = "0001080006040001020000000001c000020500000000 0000c0000201".replace(' ', "");
        assert_eq!(hex::encode(request([2, 0, 0, 0, 0, 1], SOURCE, TARGET)), expected);
    }

    #[test]
    fn only_the_one_who_was_asked_answers() {
        let reply = |octets: [u8; 4], operation: u8| {
            let mut packet: [u8; PACKET_BYTES] =
                request([2, 0, 0, 0, 0, 9], octets.into(), SOURCE).try_into().unwrap();
            packet[7] = operation;
            packet
        };
        assert!(is_reply(&reply([192, 0, 2, 1], 2), TARGET));
        assert!(!is_reply(&reply([192, 0, 2, 1], 1), TARGET), "a question");
        assert!(!is_reply(&reply([192, 0, 2, 7], 2), TARGET), "someone else");
        assert!(!is_reply(&[0; PACKET_BYTES], TARGET));
    }
}

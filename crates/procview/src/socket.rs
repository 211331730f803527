//! TCP and UDP sockets: /proc/net/tcp and its like, see the kernel's Documentation/networking/proc_net_tcp.rst.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::text::text;

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP over IPv4.
    Tcp,
    /// TCP over IPv6, and IPv4 where the program does not tell them apart.
    Tcp6,
    /// UDP over IPv4.
    Udp,
    /// UDP over IPv6.
    Udp6,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Tcp6, Self::Udp, Self::Udp6];

    /// Name of the table, and of the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcp6 => "tcp6",
            Self::Udp => "udp",
            Self::Udp6 => "udp6",
        }
    }

    /// The state of a number of net/tcp_states.h.
    fn state(self, number: u8) -> &'static str {
        let is_udp = matches!(self, Self::Udp | Self::Udp6);
        match number {
            1 => "ESTABLISHED",
            2 => "SYN-SENT",
            3 | 12 => "SYN-RECEIVED",
            4 => "FIN-WAIT-1",
            5 => "FIN-WAIT-2",
            6 => "TIME-WAIT",
            7 if is_udp => "UNCONNECTED",
            7 => "CLOSED",
            8 => "CLOSE-WAIT",
            9 => "LAST-ACK",
            10 => "LISTEN",
            11 => "CLOSING",
            _ => "UNKNOWN",
        }
    }
}

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketEntry {
    /// Its end.
    pub local: SocketAddr,
    /// The other end; all zeros without one.
    pub peer: SocketAddr,
    /// As RFC 9293 calls it; for UDP also "UNCONNECTED".
    pub state: &'static str,
    /// Bytes that wait to be read; of a listening socket, connections.
    pub receive_queue: u64,
    /// Bytes that wait to be sent or acknowledged.
    pub send_queue: u64,
    /// Owner.
    pub user_id: u32,
    /// By which a process that has it open is found; 0 once nobody has.
    pub inode: u64,
}

impl SocketEntry {
    /// All sockets of a table, whose heading is no socket.
    #[must_use]
    pub fn parse_all(protocol: Protocol, bytes: &[u8]) -> Vec<Self> {
        text(bytes).lines().filter_map(|line| Self::parse(protocol, line)).collect()
    }

    fn parse(protocol: Protocol, line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let field = |at: usize| fields.get(at).copied();
        let (send, receive) = field(4)?.split_once(':')?;
        Some(Self {
            local: address(field(1)?)?,
            peer: address(field(2)?)?,
            state: protocol.state(u8::from_str_radix(field(3)?, 16).ok()?),
            receive_queue: u64::from_str_radix(receive, 16).ok()?,
            send_queue: u64::from_str_radix(send, 16).ok()?,
            user_id: field(7)?.parse().ok()?,
            inode: field(9)?.parse().ok()?,
        })
    }

    /// Whether it waits for whoever comes.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        matches!(self.state, "LISTEN" | "UNCONNECTED")
    }
}

/// An address in hexadecimal words of 32 bits, each as the machine has it in memory, and a port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = ip.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The inode of a link in /proc/PID/fd, if that is a socket.
#[must_use]
pub fn socket_inode(link: &[u8]) -> Option<u64> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    #[test]
    fn addresses_of_both_families() {
        let line = "   0: 0100007F:280A 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 1234 1 x\n";
        let sockets = SocketEntry::parse_all(Protocol::Tcp, format!("{HEADING}{line}").as_bytes());
        let [socket] = sockets.as_slice() else { panic!("{sockets:?}") };
        assert_eq!(socket.local.to_string(), "127.0.0.1:10250");
        assert_eq!((socket.state, socket.receive_queue, socket.send_queue), ("LISTEN", 3, 0));
        assert_eq!((socket.user_id, socket.inode, socket.is_listening()), (0, 1234, true));

        let line = "   1: 000080FE00000000FF005450564C2FFE:C350 00000000000000000000000001000000:D431 01 0000001F:00000000 \
            00:00000000 00000000   100        0 99 1 x\n";
        let sockets = SocketEntry::parse_all(Protocol::Tcp6, line.as_bytes());
        assert_eq!(sockets[0].local.to_string(), "[fe80::5054:ff:fe2f:4c56]:50000");
        assert_eq!(sockets[0].peer.to_string(), "[::1]:54321");
        assert_eq!((sockets[0].send_queue, sockets[0].user_id, sockets[0].is_listening()), (31, 100, false));
    }

    #[test]
    fn a_state_of_a_later_kernel_costs_no_socket() {
        let line = "   0: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 7 2 x\n";
        let parse = |protocol, line: &str| SocketEntry::parse_all(protocol, line.as_bytes()).remove(0).state;
        assert_eq!(parse(Protocol::Udp, line), "UNCONNECTED");
        assert_eq!(parse(Protocol::Tcp, line), "CLOSED");
        assert_eq!(parse(Protocol::Tcp, &line.replace(" 07 ", " 2F ")), "UNKNOWN");
    }

    #[test]
    fn a_bad_line_costs_no_other() {
        let good = "0: 0100007F:0035 00000000:0000 0A 0:0 0 0 0 0 7";
        for bad in [
            "",
            "0: 0100007F",
            "0: é100007F:0035 00000000:0000 0A 0:0 0 0 0 0 7",
            "0: 01:1 01:1 0A 0:0 0 0 0 0 7",
        ] {
            let text = format!("{bad}\n{good}\n");
            assert_eq!(SocketEntry::parse_all(Protocol::Tcp, text.as_bytes()).len(), 1, "{bad}");
        }
    }

    #[test]
    fn only_sockets_have_an_inode() {
        assert_eq!(socket_inode(b"socket:[4711]"), Some(4711));
        for link in [&b"pipe:[4711]"[..], b"socket:[]", b"socket:[x]", b"/dev/null", b"socket:[1"] {
            assert_eq!(socket_inode(link), None);
        }
    }
}

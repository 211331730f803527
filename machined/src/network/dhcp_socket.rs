//! DHCP on the wire: a packet socket for a link without an address, and a UDP socket for renewals.
//!
//! All replies come through the packet socket, where they arrive whatever the address is. The UDP socket holds port
//! 68 while an answer is awaited, so that the kernel does not tell the server "port unreachable"; it sends, and its
//! filter drops all it receives.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::sockopt::BindToDevice;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket};

use super::datagram::{self, CLIENT_PORT, SERVER_PORT};
use super::raw_socket::{EtherType, RawSocket, attach_filter, bind_packet};

/// Longest frame that is taken: an Ethernet frame without its header.
const FRAME_MAX_BYTES: usize = 1500;
const EVERYONE: [u8; 6] = [0xff; 6];

/// The sockets of one link; open only while an answer is awaited.
pub struct DhcpSocket {
    packet: RawSocket,
    udp: UdpSocket,
    link: u32,
}

impl DhcpSocket {
    /// Opens both sockets on a link.
    pub fn open(link: u32, name: &str) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // Without a protocol it receives nothing, until the filter stands and binding names IPv4.
        let packet = socket(AddressFamily::Packet, SockType::Datagram, flags, None)?;
        attach_filter(&packet, &DHCP_FILTER)?;
        bind_packet(&packet, link, EtherType::Ipv4)?;
        let udp = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
        attach_filter(&udp, &[statement(libc::BPF_RET | libc::BPF_K, 0)])?;
        setsockopt(&udp, BindToDevice, &name.into())?;
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
        bind(udp.as_raw_fd(), &SockaddrIn::from(any))?;
        Ok(Self { packet: RawSocket::new(packet)?, udp: udp.into(), link })
    }

    /// Sends from 0.0.0.0 to everyone.
    pub fn send_broadcast(&self, payload: &[u8]) -> io::Result<()> {
        self.packet.send_packet(self.link, EtherType::Ipv4, EVERYONE, &datagram::build(payload))
    }

    /// Sends from the address in use to the server.
    pub fn send_unicast(&self, payload: &[u8], server: Ipv4Addr) -> io::Result<()> {
        self.udp.send_to(payload, SocketAddrV4::new(server, SERVER_PORT)).map(drop)
    }

    /// Waits for a datagram to the client's port. Cancelling loses nothing.
    pub async fn receive(&self) -> io::Result<Vec<u8>> {
        let mut frame = [0; FRAME_MAX_BYTES];
        loop {
            let length = self.packet.receive(&mut frame).await?;
            if let Some(payload) = frame.get(..length).and_then(datagram::parse) {
                return Ok(payload.to_vec());
            }
        }
    }
}

/// Lets unfragmented UDP to the client's port pass; offsets count from the IP header.
const DHCP_FILTER: [libc::sock_filter; 9] = [
    statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 9),
    jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::IPPROTO_UDP.cast_unsigned(), 0, 6),
    statement(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 6),
    jump(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0x3fff, 4, 0),
    statement(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0),
    statement(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 2),
    jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, CLIENT_PORT as u32, 0, 1),
    statement(libc::BPF_RET | libc::BPF_K, FRAME_MAX_BYTES as u32),
    statement(libc::BPF_RET | libc::BPF_K, 0),
];

const fn statement(code: u32, k: u32) -> libc::sock_filter {
    jump(code, k, 0, 0)
}

const fn jump(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

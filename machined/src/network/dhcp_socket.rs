//! DHCP on the wire: a packet socket for a link without an address, and a UDP socket for renewals.
//!
//! All replies come through the packet socket, where they arrive whatever the address is. The UDP socket holds port
//! 68 while an answer is awaited, so that the kernel does not tell the server "port unreachable"; it sends, and its
//! filter drops all it receives.

#![allow(unsafe_code, reason = "nix has neither packet addresses nor SO_ATTACH_FILTER")]

use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use nix::sys::socket::sockopt::BindToDevice;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, setsockopt, socket};
use tokio::io::unix::AsyncFd;

use super::datagram::{self, CLIENT_PORT, SERVER_PORT};

/// Longest frame that is taken: an Ethernet frame without its header.
const FRAME_MAX_BYTES: usize = 1500;

/// The sockets of one link; open only while an answer is awaited.
pub struct DhcpSocket {
    packet: AsyncFd<OwnedFd>,
    udp: UdpSocket,
    link: u32,
}

impl DhcpSocket {
    /// Opens both sockets on a link.
    pub fn open(link: u32, name: &str) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // Protocol 0 receives nothing, until the filter stands and bind() names IPv4.
        let packet = socket(AddressFamily::Packet, SockType::Datagram, flags, None)?;
        attach_filter(&packet, &DHCP_FILTER)?;
        bind_packet(&packet, link)?;
        let udp = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
        attach_filter(&udp, &[statement(libc::BPF_RET | libc::BPF_K, 0)])?;
        setsockopt(&udp, BindToDevice, &name.into())?;
        bind_udp(&udp)?;
        Ok(Self { packet: AsyncFd::new(packet)?, udp: udp.into(), link })
    }

    /// Sends from 0.0.0.0 to everyone.
    pub fn send_broadcast(&self, payload: &[u8]) -> io::Result<()> {
        let frame = datagram::build(payload);
        let address = packet_address(self.link, [0xff; 6]);
        // SAFETY: the frame is valid for its length, and so is the address, a sockaddr_ll by value.
        let sent = unsafe {
            libc::sendto(
                self.packet.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                socklen::<libc::sockaddr_ll>(),
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends from the address in use to the server.
    pub fn send_unicast(&self, payload: &[u8], server: Ipv4Addr) -> io::Result<()> {
        self.udp.send_to(payload, SocketAddrV4::new(server, SERVER_PORT)).map(drop)
    }

    /// Waits for a datagram to the client's port. Cancelling loses nothing.
    pub async fn receive(&self) -> io::Result<Vec<u8>> {
        let mut frame = [0; FRAME_MAX_BYTES];
        loop {
            let mut ready = self.packet.readable().await?;
            let received = ready.try_io(|fd| Ok(recv(fd.as_raw_fd(), &mut frame, MsgFlags::empty())?));
            match received {
                Ok(Ok(length)) => {
                    if let Some(payload) = frame.get(..length).and_then(datagram::parse) {
                        return Ok(payload.to_vec());
                    }
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
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

fn attach_filter(fd: &OwnedFd, filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap_or(u16::MAX),
        // The kernel only reads it; the field is not const in C.
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program and the filter it points to live until the call returns; the kernel copies both.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            socklen::<libc::sock_fprog>(),
        )
    };
    check(set)
}

fn bind_packet(fd: &OwnedFd, link: u32) -> io::Result<()> {
    let address = packet_address(link, [0; 6]);
    // SAFETY: the address is a sockaddr_ll by value and its length is that type's.
    let bound =
        unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), socklen::<libc::sockaddr_ll>()) };
    check(bound)
}

/// Std binds only sockets that it makes itself, and the device must be set before.
fn bind_udp(fd: &OwnedFd) -> io::Result<()> {
    let address = nix::sys::socket::SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT));
    nix::sys::socket::bind(fd.as_fd().as_raw_fd(), &address).map_err(io::Error::from)
}

fn packet_address(link: u32, mac: [u8; 6]) -> libc::sockaddr_ll {
    let [a, b, c, d, e, f] = mac;
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_IP as u16).to_be(),
        sll_ifindex: link.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [a, b, c, d, e, f, 0, 0],
    }
}

const fn socklen<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

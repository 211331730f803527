//! Sockets that std does not know, on tokio's reactor: route netlink and packet sockets.

#![allow(
    unsafe_code,
    reason = "nix has neither packet addresses nor SO_ATTACH_FILTER, and tokio cannot check who owns a descriptor"
)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::unix::AsyncFd;

/// What a packet socket takes and sends: a number of EtherTypes (IEEE 802).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtherType {
    /// IPv4.
    Ipv4 = libc::ETH_P_IP as isize,
    /// Address resolution (RFC 826).
    Arp = libc::ETH_P_ARP as isize,
}

/// A non-blocking socket.
pub struct RawSocket(AsyncFd<OwnedFd>);

impl RawSocket {
    /// Takes a socket opened with SOCK_NONBLOCK.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: the descriptor is owned by the AsyncFd from here on and closed only by dropping it; OwnedFd's
        // AsRawFd always returns the same number.
        let registered = unsafe { AsyncFd::register(fd) };
        Ok(Self(registered.map_err(|error| error.into_parts().1)?))
    }

    /// The socket itself.
    #[cfg(test)]
    pub fn get_ref(&self) -> &OwnedFd {
        self.0.get_ref()
    }

    /// Waits for a datagram; what does not fit is cut off. Cancelling loses nothing.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(result) = ready.try_io(|fd| receive_now(fd.get_ref(), buffer)) {
                return result;
            }
        }
    }

    /// Takes a datagram that is there already.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        receive_now(self.0.get_ref(), buffer)
    }

    /// Sends a frame's content to a hardware address; needs a packet socket.
    pub fn send_packet(&self, link: u32, kind: EtherType, mac: [u8; 6], content: &[u8]) -> io::Result<()> {
        let address = packet_address(link, kind, mac);
        // SAFETY: the content is valid for its length, the address is a sockaddr_ll with that type's length.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                content.as_ptr().cast(),
                content.len(),
                0,
                (&raw const address).cast(),
                socklen::<libc::sockaddr_ll>(),
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Lets a packet socket receive one kind of packet from one link.
pub fn bind_packet(fd: &OwnedFd, link: u32, kind: EtherType) -> io::Result<()> {
    let address = packet_address(link, kind, [0; 6]);
    // SAFETY: the address is a sockaddr_ll with that type's length.
    let bound =
        unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), socklen::<libc::sockaddr_ll>()) };
    check(bound)
}

/// Lets the kernel drop what a classic BPF program does not want.
pub fn attach_filter(fd: &OwnedFd, filter: &[libc::sock_filter]) -> io::Result<()> {
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

fn receive_now(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match recv(fd.as_raw_fd(), buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

fn packet_address(link: u32, kind: EtherType, mac: [u8; 6]) -> libc::sockaddr_ll {
    let [a, b, c, d, e, f] = mac;
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (kind as u16).to_be(),
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

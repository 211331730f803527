//! Tells that something about links, addresses or routes changed.
//!
//! Notifications are not decoded: each only means "look again". So no attribute of an unforeseen shape and no
//! overrun of the socket's buffer can make us miss a change.

use std::io;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};

use super::raw_socket::RawSocket;

/// Link, IPv4 and IPv6 address, IPv4 and IPv6 route notifications (`RTMGRP_*`, linux/rtnetlink.h).
const NETWORK: u32 = 0x1 | 0x10 | 0x100 | 0x40 | 0x400;
/// Neighbour notifications (`RTMGRP_NEIGH`).
const NEIGHBOURS: u32 = 0x4;

/// A socket on which the kernel announces changes.
pub struct Monitor(RawSocket);

impl Monitor {
    /// Listens from now on to what happens to links, addresses and routes.
    pub fn open() -> io::Result<Self> {
        Self::of(NETWORK)
    }

    /// Listens from now on to who is seen on links.
    pub fn of_neighbours() -> io::Result<Self> {
        Self::of(NEIGHBOURS)
    }

    fn of(groups: u32) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self(RawSocket::new(fd)?))
    }

    /// Has room for next to nothing; the kernel knows a least size.
    #[cfg(test)]
    pub fn shrink(&self) -> nix::Result<()> {
        nix::sys::socket::setsockopt(self.0.get_ref(), nix::sys::socket::sockopt::RcvBuf, &0)
    }

    /// Waits for a change; many that came at once count as one. Cancelling loses nothing.
    pub async fn changed(&self) -> io::Result<()> {
        // Longer messages are cut: nobody reads them.
        let mut buffer = [0; 64];
        notified(self.0.receive(&mut buffer).await)?;
        loop {
            match self.0.try_receive(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                result => notified(result)?,
            }
        }
    }
}

/// The kernel says ENOBUFS when it dropped notifications for want of room.
fn notified(received: io::Result<usize>) -> io::Result<()> {
    match received {
        Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => Ok(()),
        result => result.map(drop),
    }
}

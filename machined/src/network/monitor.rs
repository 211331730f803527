//! Tells that something about links, addresses or routes changed.
//!
//! Notifications are not decoded: each only means "look again". So no attribute of an unforeseen shape and no
//! overrun of the socket's buffer can make us miss a change.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};
use tokio::io::unix::AsyncFd;

/// Link, IPv4 and IPv6 address, IPv4 route notifications (`RTMGRP_*`, linux/rtnetlink.h).
const GROUPS: u32 = 0x1 | 0x10 | 0x100 | 0x40;

/// A socket on which the kernel announces changes.
pub struct Monitor(AsyncFd<OwnedFd>);

impl Monitor {
    /// Listens from now on.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Self(AsyncFd::new(fd)?))
    }

    /// Waits for a change; many that came at once count as one. Cancelling loses nothing.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let drained = ready.try_io(|fd| drain(fd.get_ref()));
            match drained {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}

/// Takes all that waits; whether there was anything.
fn drain(fd: &OwnedFd) -> io::Result<bool> {
    let mut changed = false;
    // Longer messages are cut: nobody reads them.
    let mut buffer = [0; 64];
    loop {
        match recv(fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC) {
            // The kernel dropped notifications for want of room.
            Ok(_) | Err(Errno::ENOBUFS) => changed = true,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if changed => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

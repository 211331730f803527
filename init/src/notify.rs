//! The notify socket: services say that they are ready and alive (sd_notify(3)).

use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags,
    SocketType, bind, recvmsg, socket_with, sockopt,
};
use supervise::Pid;

/// In NOTIFY_SOCKET of every service. Anyone may send; only main processes are heard.
pub const SOCKET: &str = "/run/init/notify.sock";
/// Longest datagram read; the rest of a longer one is cut off.
const DATAGRAM_MAX_BYTES: usize = 2048;
/// Datagrams taken per wake-up, so that a flood does not keep PID 1 from its other work.
const DATAGRAMS_PER_WAKE_UP: usize = 64;

/// What a datagram says, as far as PID 1 cares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `READY=1`
    pub ready: bool,
    /// `WATCHDOG=1`
    pub keep_alive: bool,
}

/// Reads the lines of a datagram; unknown ones (`STATUS=`, `MAINPID=`) are ignored.
pub fn parse(datagram: &[u8]) -> Message {
    let mut message = Message::default();
    for line in datagram.split(|byte| *byte == b'\n') {
        match line {
            b"READY=1" => message.ready = true,
            b"WATCHDOG=1" => message.keep_alive = true,
            _ => {}
        }
    }
    message
}

/// PID 1's end of the socket.
pub struct NotifySocket {
    /// To be polled.
    pub fd: OwnedFd,
}

impl NotifySocket {
    /// Binds it.
    pub fn bind() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        sockopt::set_socket_passcred(&fd, true)?;
        bind(&fd, &SocketAddrUnix::new(SOCKET)?)?;
        fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o666))?;
        Ok(Self { fd })
    }

    /// Takes the waiting messages, with the process that the kernel says has sent each.
    pub fn receive(&self) -> Vec<(Pid, Message)> {
        (0..DATAGRAMS_PER_WAKE_UP).map_while(|_| self.receive_one().ok()).flatten().collect()
    }

    /// An error ends a wake-up's batch; `None` is a datagram without credentials.
    fn receive_one(&self) -> io::Result<Option<(Pid, Message)>> {
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        // A sender may attach descriptors; those that come through are closed when `ancillary` is dropped.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&self.fd, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let sender = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials.pid),
            _ => None,
        });
        let message = parse(buffer.get(..received.bytes).unwrap_or_default());
        Ok(sender.map(|pid| (Pid(pid.as_raw_nonzero().get().unsigned_abs()), message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_read_line_by_line() {
        assert_eq!(parse(b"READY=1"), Message { ready: true, keep_alive: false });
        assert_eq!(parse(b"STATUS=fine\nWATCHDOG=1\nREADY=1\n"), Message { ready: true, keep_alive: true });
        for nonsense in [&b""[..], b"READY=0", b"xREADY=1", b"READY=11", b"\0\xff\n\n"] {
            assert_eq!(parse(nonsense), Message::default(), "{nonsense:?}");
        }
    }
}

//! PID 1's end of the control protocol (crate `control`).

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

use control::{ControlError, PACKET_MAX_BYTES, Request, Response, decode, encode};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen,
    recv, send, socket_with, sockopt,
};

use crate::kmsg;

/// machined needs two, a second machined during its restart two more.
const CLIENTS_MAX: usize = 8;
const BACKLOG: i32 = 8;

/// A connection; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId(u64);

struct Client {
    id: ClientId,
    fd: OwnedFd,
    watching: bool,
}

/// Listener and connections.
pub struct ControlServer {
    /// To be polled.
    pub listener: OwnedFd,
    clients: Vec<Client>,
    next_id: u64,
    buffer: Vec<u8>,
}

impl ControlServer {
    /// Binds the socket.
    pub fn bind() -> io::Result<Self> {
        let path = layout::path::INIT_CONTROL;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        bind(&listener, &SocketAddrUnix::new(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listen(&listener, BACKLOG)?;
        Ok(Self { listener, clients: Vec::new(), next_id: 0, buffer: vec![0; PACKET_MAX_BYTES] })
    }

    /// The connections, to be polled.
    pub fn clients(&self) -> impl Iterator<Item = (ClientId, BorrowedFd<'_>)> {
        self.clients.iter().map(|client| (client.id, client.fd.as_fd()))
    }

    /// Takes one new connection in.
    pub fn accept(&mut self) {
        let Ok(fd) = accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) else {
            return;
        };
        let is_root = sockopt::socket_peercred(&fd).is_ok_and(|peer| peer.uid.is_root());
        if !is_root || self.clients.len() >= CLIENTS_MAX {
            kmsg::warning!("control connection refused");
            return;
        }
        let id = ClientId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.clients.push(Client { id, fd, watching: false });
    }

    /// One request, if there is one. A closed connection is forgotten.
    pub fn receive(&mut self, id: ClientId) -> Option<Result<Request, ControlError>> {
        let client = self.clients.iter().find(|client| client.id == id)?;
        // With TRUNC the true length is returned, which tells a packet that was cut off.
        match recv(&client.fd, &mut self.buffer[..], RecvFlags::TRUNC) {
            Ok((_, 0)) => self.forget(id),
            Ok((_, length)) => {
                let packet = self.buffer.get(..length);
                return Some(packet.and_then(|packet| decode(packet).ok()).ok_or(ControlError::Malformed));
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.forget(id),
        }
        None
    }

    /// Sends one packet. A client that does not read is forgotten: PID 1 waits for nobody.
    pub fn answer(&mut self, id: ClientId, response: &Response) {
        let Some(client) = self.clients.iter().find(|client| client.id == id) else { return };
        if !deliver(client, response) {
            self.forget(id);
        }
    }

    /// From now on the client gets changes.
    pub fn watch(&mut self, id: ClientId) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
            client.watching = true;
        }
    }

    /// Sends to all who watch.
    pub fn broadcast(&mut self, response: &Response) {
        self.clients.retain(|client| !client.watching || deliver(client, response));
    }

    fn forget(&mut self, id: ClientId) {
        self.clients.retain(|client| client.id != id);
    }
}

fn deliver(client: &Client, response: &Response) -> bool {
    match encode(response) {
        Ok(packet) => send(&client.fd, &packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok(),
        Err(error) => {
            kmsg::error!("control answer: {error}");
            false
        }
    }
}

//! A client of PID 1's control socket.

use std::{
    io,
    os::{fd::AsRawFd as _, unix::net},
    path::Path,
    sync::Arc,
};

use control::{PACKET_MAX_BYTES, PacketError, Request, Response};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use tokio::{net::UnixStream, sync::Mutex};

/// Why PID 1 cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlClientError {
    /// No connection.
    #[error("cannot connect to PID 1")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection to PID 1 broke")]
    Transfer(#[source] io::Error),
    /// PID 1 closed the connection.
    #[error("PID 1 closed the connection")]
    Closed,
    /// A packet is not of the protocol.
    #[error("PID 1 and machined do not understand each other")]
    Packet(#[source] PacketError),
}

/// Requests to PID 1, one at a time over one connection that is renewed when it breaks.
#[derive(Clone, Default)]
pub struct Control(Arc<Mutex<Option<Connection>>>);

impl Control {
    /// Asks and waits for the answer.
    pub async fn request(&self, request: Request) -> Result<Response, ControlClientError> {
        let mut slot = self.0.lock().await;
        let connection = match slot.take() {
            Some(connection) => connection,
            None => Connection::open()?,
        };
        let response = connection.ask(&request).await;
        // After an error the connection may be out of step: it is not used again.
        if response.is_ok() {
            *slot = Some(connection);
        }
        response
    }

    /// A connection that reports changes of services.
    pub async fn watch(&self) -> Result<Connection, ControlClientError> {
        let connection = Connection::open()?;
        connection.send(&Request::Watch).await?;
        Ok(connection)
    }
}

/// One connection: a socket of packets, read and written as a stream whose every read is one packet (unix(7)).
pub struct Connection(UnixStream);

impl Connection {
    fn open() -> Result<Self, ControlClientError> {
        let open = || -> io::Result<UnixStream> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
            connect(fd.as_raw_fd(), &UnixAddr::new(Path::new(layout::path::INIT_CONTROL))?)?;
            UnixStream::from_std(net::UnixStream::from(fd))
        };
        open().map(Self).map_err(ControlClientError::Connect)
    }

    async fn ask(&self, request: &Request) -> Result<Response, ControlClientError> {
        self.send(request).await?;
        self.receive().await
    }

    async fn send(&self, request: &Request) -> Result<(), ControlClientError> {
        let packet = control::encode(request).map_err(ControlClientError::Packet)?;
        loop {
            self.0.writable().await.map_err(ControlClientError::Transfer)?;
            match self.0.try_write(&packet) {
                Ok(_whole_packet) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(ControlClientError::Transfer(error)),
            }
        }
    }

    /// The next packet from PID 1.
    pub async fn receive(&self) -> Result<Response, ControlClientError> {
        let mut packet = vec![0; PACKET_MAX_BYTES];
        loop {
            self.0.readable().await.map_err(ControlClientError::Transfer)?;
            match self.0.try_read(&mut packet) {
                Ok(0) => return Err(ControlClientError::Closed),
                Ok(length) => {
                    let packet = packet.get(..length).unwrap_or_default();
                    return control::decode(packet).map_err(ControlClientError::Packet);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(ControlClientError::Transfer(error)),
            }
        }
    }
}

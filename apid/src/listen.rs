//! The sockets on which apid listens: one for all addresses of the node, or one for each that is configured.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that the kernel holds until apid takes them.
const BACKLOG: u32 = 1024;

/// The port is taken, or the kernel has no such kind of address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Open sockets; at least one.
#[derive(Debug)]
pub struct Listeners {
    all: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    /// Whose turn it is, so that none waits for ever behind a busy one.
    next: usize,
}

impl Listeners {
    /// Listens on these addresses, or on `otherwise` when there are none; its port holds for all.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind(addresses: &[IpAddr], otherwise: SocketAddr) -> Result<Self, ListenError> {
        let sockets = match addresses {
            [] => vec![otherwise],
            some => some.iter().map(|address| SocketAddr::new(*address, otherwise.port())).collect(),
        };
        let listen = |address| {
            let listening = || {
                let listener = listen(address)?;
                Ok((listener.local_addr()?, listener))
            };
            listening().map_err(|source| ListenError { address, source })
        };
        let bound: Vec<_> = sockets.into_iter().map(listen).collect::<Result<_, _>>()?;
        let (addresses, all) = bound.into_iter().unzip();
        Ok(Self { all, addresses, next: 0 })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The next connection, and who made it. Safe to cancel.
    ///
    /// # Errors
    /// A lack of descriptors or memory.
    pub async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let turn = self.next;
        let (before, from) = self.all.split_at(turn.min(self.all.len()));
        for (index, listener) in from.iter().chain(before).enumerate() {
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                self.next = (turn + index + 1) % self.all.len();
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    // An address that DHCP has yet to give is no error. The option holds for IPv6 as well (ipv6_can_nonlocal_bind).
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[tokio::test]
    async fn each_address_is_served_and_none_besides() {
        let addresses = ["127.0.0.2", "127.0.0.3"].map(|address| address.parse().unwrap());
        let mut listeners = Listeners::bind(&addresses, ANY_PORT).unwrap();
        let served = listeners.addresses().to_vec();
        assert_eq!(served.iter().map(SocketAddr::ip).collect::<Vec<_>>(), addresses);
        for address in [served[1], served[0], served[1]] {
            let client = TcpStream::connect(address).await.unwrap();
            let (accepted, peer) = listeners.accept().await.unwrap();
            assert_eq!((accepted.local_addr().unwrap(), peer), (address, client.local_addr().unwrap()));
        }
        let elsewhere = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), served[0].port());
        assert!(TcpStream::connect(elsewhere).await.is_err());
    }

    #[tokio::test]
    async fn a_busy_address_does_not_starve_another() {
        let addresses = ["127.0.0.2", "127.0.0.3"].map(|address| address.parse().unwrap());
        let mut listeners = Listeners::bind(&addresses, ANY_PORT).unwrap();
        let served = listeners.addresses().to_vec();
        let mut clients = Vec::new();
        for address in [served[0], served[0], served[0], served[1]] {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let mut taken = Vec::new();
        for _ in 0..2 {
            taken.push(listeners.accept().await.unwrap().0.local_addr().unwrap());
        }
        taken.sort();
        assert_eq!(taken, served);
    }

    #[tokio::test]
    async fn an_address_that_is_not_there_yet_is_no_error() {
        for absent in ["192.0.2.17", "2001:db8::17"].map(|address: &str| address.parse().unwrap()) {
            match Listeners::bind(&[absent], ANY_PORT) {
                Ok(listeners) => assert_eq!(listeners.addresses()[0].ip(), absent),
                // A host without IPv6.
                Err(error) => assert!(absent.is_ipv6(), "{error}: {}", error.source),
            }
        }
    }
}

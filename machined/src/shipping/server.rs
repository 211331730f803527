//! Sends lines to one log server, for ever: connects, and again after a pause that grows with failures.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use config::{LogDestination, Transport};
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket, lookup_host, tcp::ReadHalf},
    sync::{Semaphore, watch},
    time::{Instant, sleep, timeout},
};

use super::{States, feed::Feed, pause::pause};
use crate::logs::Gone;

/// For a name to be found and a connection to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// For what was sent to be acknowledged: a server that vanished is noticed by then.
const ACKNOWLEDGE: Duration = Duration::from_secs(30);
/// A connection that held so long was a good one: the next pause is the shortest again.
const HELD: Duration = Duration::from_secs(60);
/// With datagrams nobody says that the server's name leads elsewhere now: it is looked up again.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(600);
/// What a log server says is read, to notice that it ends, and not looked at.
const ANSWER_BYTES: usize = 256;

/// How a server stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is known yet.
    Connecting,
    /// It takes lines, as far as it says so.
    Reachable,
    /// It does not.
    Unreachable {
        /// Why.
        reason: String,
        /// Lines that it will not get.
        dropped: u64,
    },
}

/// What it takes to serve one log server.
pub struct Server {
    /// Where it is.
    pub destination: LogDestination,
    /// What is to be sent.
    pub feed: Feed,
    /// Told how the server stands.
    pub states: watch::Sender<States>,
    /// One name is looked up at a time: a lookup blocks a thread, of which machined has few.
    pub lookups: Arc<Semaphore>,
}

impl Server {
    /// Sends for ever.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let ended = match self.destination.transport {
                Transport::Tcp => self.over_tcp().await,
                Transport::Udp => self.over_udp().await,
            };
            let Err(error) = ended else { continue };
            failures = if begun.elapsed() >= HELD { 1 } else { failures + 1 };
            let dropped = self.feed.dropped();
            self.tell(State::Unreachable { reason: error.to_string(), dropped });
            sleep(pause(failures)).await;
        }
    }

    /// Until the connection breaks.
    async fn over_tcp(&mut self) -> io::Result<()> {
        let mut stream = self.connect().await?;
        let (mut reader, mut writer) = stream.split();
        self.tell(State::Reachable);
        loop {
            let line = tokio::select! {
                ended = closed(&mut reader) => return Err(ended),
                line = self.feed.next() => line.map_err(unkept)?,
            };
            in_time(ACKNOWLEDGE, writer.write_all(line.as_bytes())).await?;
            self.feed.sent();
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        in_time(CONNECT, async {
            let stream = TcpStream::connect(self.addresses().await?.as_slice()).await?;
            let milliseconds = u32::try_from(ACKNOWLEDGE.as_millis()).unwrap_or(u32::MAX);
            setsockopt(&stream, TcpUserTimeout, &milliseconds)?;
            Ok(stream)
        })
        .await
    }

    /// Until sending fails, or for a while.
    async fn over_udp(&mut self) -> io::Result<()> {
        let addresses = in_time(CONNECT, self.addresses()).await?;
        let any = match addresses.first() {
            Some(SocketAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Some(SocketAddr::V4(_)) | None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(addresses.as_slice()).await?;
        self.tell(State::Reachable);
        let ends = Instant::now() + LOOK_UP_AGAIN;
        loop {
            let line = tokio::select! {
                () = tokio::time::sleep_until(ends) => return Ok(()),
                line = self.feed.next() => line.map_err(unkept)?,
            };
            match socket.send(line.trim_end().as_bytes()).await {
                Ok(_) => self.feed.sent(),
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => self.feed.skip(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Nobody is told twice.
    fn tell(&self, state: State) {
        self.states.send_if_modified(|states| match states.get_mut(&self.destination) {
            Some(known) if *known != state => {
                *known = state;
                true
            }
            // Somebody who is configured no more.
            Some(_) | None => false,
        });
    }

    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let LogDestination { host, port, .. } = self.destination.clone();
        let lookups = Arc::clone(&self.lookups);
        // A task of its own: the thread is busy until the lookup ends, whoever still waits for it.
        let found = tokio::spawn(async move {
            let _turn = lookups.acquire_owned().await;
            lookup_host((host, port)).await.map(Iterator::collect)
        });
        let addresses: Vec<SocketAddr> = found.await.map_err(io::Error::other)??;
        if addresses.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(addresses) }
    }
}

fn unkept(gone: Gone) -> io::Error {
    io::Error::other(gone)
}

/// Waits until the server closes the connection.
async fn closed(reader: &mut ReadHalf<'_>) -> io::Error {
    loop {
        match reader.read(&mut [0; ANSWER_BYTES]).await {
            Ok(0) => return io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()));
    timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;

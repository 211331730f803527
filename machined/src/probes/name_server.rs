//! A DNS server answers a question (RFC 1035), whatever the answer is.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{
    net::UdpSocket,
    time::{interval, sleep},
};

use super::AGAIN;

/// Where DNS servers listen.
const PORT: u16 = 53;
const HEADER_BYTES: usize = 12;
/// In the third octet: this is an answer.
const ANSWER: u8 = 0x80;
/// One question with recursion desired: the name servers of the root, in the Internet. Every server knows them, or
/// refuses to say.
const QUESTION: [u8; 15] = [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];

/// Waits until the server answers.
pub async fn answers(server: IpAddr) {
    answers_at(SocketAddr::new(server, PORT)).await;
}

pub(super) async fn answers_at(server: SocketAddr) {
    while let Err(error) = ask(server).await {
        tracing::debug!(%server, %error, "cannot ask the name server");
        sleep(AGAIN).await;
    }
}

async fn ask(server: SocketAddr) -> io::Result<()> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    // The kernel lets through only what comes from that server; a guessable number does no harm.
    let id = socket.local_addr()?.port().to_be_bytes();
    let question = [&id[..], &QUESTION].concat();
    let mut again = interval(AGAIN);
    let mut reply = [0; HEADER_BYTES];
    loop {
        tokio::select! {
            _ = again.tick() => drop(socket.send(&question).await?),
            received = socket.recv(&mut reply) => if is_answer(&reply, received?, id) {
                return Ok(());
            },
        }
    }
}

fn is_answer(reply: &[u8; HEADER_BYTES], length: usize, id: [u8; 2]) -> bool {
    let [first, second, flags, ..] = *reply;
    length == HEADER_BYTES && [first, second] == id && flags & ANSWER != 0
}

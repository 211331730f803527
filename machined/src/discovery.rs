//! Answers who looks for nodes on the local link (`osctl discover`), with what the console shows but the pairing code.
//!
//! Besides DHCP this is all that machined hears from the network. The socket is bound to the multicast group itself:
//! nothing that is sent from beyond the link arrives there, and nobody can use the node to answer a third party.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd as _,
    time::Duration,
};

use ::discovery::{GROUP, MESSAGE_MAX_BYTES, Node, PORT, Reach, answer};
use layout::API_PORT;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt::ReuseAddr,
};
use tokio::{net::UdpSocket, sync::watch, time::sleep};

/// Pause after an answer: who asks without end gets so many and no more.
const ANSWER_INTERVAL: Duration = Duration::from_millis(50);
/// Pause after an error, such as an address that went away.
const RETRY: Duration = Duration::from_secs(10);
/// Does not leave the link, and shows that it comes from there (RFC 6762 section 11).
const TTL: u32 = 255;

/// Answers for ever, at the node's address. `describe` says what there is to say now; where it names no endpoint, the
/// API is at that address.
pub async fn run(mut address: watch::Receiver<Option<IpAddr>>, describe: impl Fn() -> Node) {
    loop {
        let now = *address.borrow_and_update();
        let serving = async {
            match now {
                Some(IpAddr::V4(now)) => serve(now, &describe).await,
                Some(IpAddr::V6(_)) | None => std::future::pending().await,
            }
        };
        tokio::select! {
            alive = address.changed() => if alive.is_err() { return },
            ended = serving => {
                let Err(error) = ended;
                tracing::debug!(%error, "nobody can discover the node");
                sleep(RETRY).await;
            }
        }
    }
}

async fn serve(address: Ipv4Addr, describe: &impl Fn() -> Node) -> io::Result<Infallible> {
    let socket = open(address)?;
    let mut datagram = [0; MESSAGE_MAX_BYTES];
    loop {
        let (length, from) = socket.recv_from(&mut datagram).await?;
        let node = describe();
        let node = Node { endpoint: node.endpoint.or(Some((address, API_PORT))), ..node };
        let Some(answer) = answer(&node, datagram.get(..length).unwrap_or_default(), from.port()) else {
            continue;
        };
        let to = match answer.reach {
            Reach::Sender => from,
            Reach::Group => SocketAddrV4::new(GROUP, PORT).into(),
        };
        // To a sender that cannot be reached nothing is owed.
        if let Err(error) = socket.send_to(&answer.bytes, to).await {
            tracing::debug!(%error, "an answer was not sent");
        }
        sleep(ANSWER_INTERVAL).await;
    }
}

fn open(address: Ipv4Addr) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    // A pod in the node's network may speak multicast DNS too.
    setsockopt(&socket, ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(GROUP, PORT)))?;
    rustix::net::sockopt::set_ip_multicast_if(&socket, &address)?;
    let socket = UdpSocket::from_std(std::net::UdpSocket::from(socket))?;
    socket.join_multicast_v4(GROUP, address)?;
    socket.set_multicast_ttl_v4(TTL)?;
    socket.set_ttl(TTL)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use ::discovery::{query, read};

    use super::*;

    /// Over the loopback link, where other nodes may answer too.
    #[tokio::test]
    async fn who_asks_on_the_link_finds_the_node() {
        let id = format!("{:032x}", std::process::id());
        let named = Node { id: id.clone(), mode: "maintenance".into(), ..Node::default() };
        let (address, watched) = watch::channel(None);
        tokio::spawn(run(watched, move || named.clone()));
        address.send_replace(Some(Ipv4Addr::LOCALHOST.into()));
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut datagram = [0; MESSAGE_MAX_BYTES];
        let found = loop {
            // Until it listens, there is nobody to hear the question.
            client.send_to(&query(), (GROUP, PORT)).await.unwrap();
            let answered = tokio::time::timeout(Duration::from_millis(200), client.recv(&mut datagram));
            let Ok(Ok(length)) = answered.await else { continue };
            if let Some(found) = read(&datagram[..length]).unwrap().into_iter().find(|node| node.id == id) {
                break found;
            }
        };
        assert_eq!(found.mode, "maintenance");
        assert_eq!(found.endpoint, Some((Ipv4Addr::LOCALHOST, API_PORT)));
    }
}

//! `osctl discover`: the nodes that answer on the local links. Anybody may answer: what is listed tells where to look,
//! and its fingerprint is to be compared with a console.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use discovery::{GROUP, MESSAGE_MAX_BYTES, Node, PORT, query, read};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Session;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::output::{self, Table, note};

/// How long answers are waited for, unless the user says otherwise.
const WAIT: Duration = Duration::from_secs(5);
/// When the question is asked: a datagram may get lost.
const ASKED_AT: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3)];
/// Nodes that are listed: who answers with ever new names does not fill this computer's memory.
const NODES_MAX: usize = 4096;

#[derive(Serialize)]
struct Found {
    name: String,
    address: String,
    mode: String,
    version: String,
    #[serde(rename = "nodeId")]
    node_id: String,
    fingerprint: String,
}

pub async fn run(session: &Session) -> Result<(), Failure> {
    let links = links().map_err(|error| Failure::error("cannot list the network interfaces").why(error))?;
    let deadline = Instant::now() + session.global.timeout.unwrap_or(WAIT);
    let mut asked = JoinSet::new();
    for link in links {
        asked.spawn(async move { (link, ask(link, deadline).await) });
    }
    let mut nodes = BTreeMap::new();
    while let Some(Ok((link, answered))) = asked.join_next().await {
        match answered {
            Ok(answered) => nodes.extend(answered),
            Err(error) => output::warn(&format!("cannot ask at {link}: {error}")),
        }
    }
    if nodes.is_empty() {
        note(
            "no node answered; they are found on the local link only, and some networks hold multicast back",
        );
    }
    let found: Vec<Found> = nodes.into_values().filter_map(found).collect();
    output::print(session.format(), &found, |found| describe(found))
}

/// The addresses of this computer, one for each link to ask on.
fn links() -> io::Result<Vec<Ipv4Addr>> {
    let mut links = BTreeMap::new();
    for link in getifaddrs()? {
        let address = link.address.as_ref().and_then(|address| address.as_sockaddr_in().map(|v4| v4.ip()));
        if let Some(address) = address.filter(|_| link.flags.contains(InterfaceFlags::IFF_UP)) {
            links.entry(link.interface_name).or_insert(address);
        }
    }
    Ok(links.into_values().collect())
}

/// What is answered at one address, by node id. The system sends from there by the link that has it.
async fn ask(link: Ipv4Addr, deadline: Instant) -> io::Result<BTreeMap<String, Node>> {
    let socket = UdpSocket::bind(SocketAddrV4::new(link, 0)).await?;
    let begun = Instant::now();
    let asking = async {
        for at in ASKED_AT {
            sleep_until(begun + at).await;
            socket.send_to(&query(), SocketAddrV4::new(GROUP, PORT)).await?;
        }
        std::future::pending::<io::Result<()>>().await
    };
    let mut nodes = BTreeMap::new();
    let hearing = async {
        let mut datagram = [0; MESSAGE_MAX_BYTES];
        while nodes.len() < NODES_MAX {
            let length = socket.recv(&mut datagram).await?;
            // What is no answer of a node is none of our business.
            for node in datagram.get(..length).and_then(|bytes| read(bytes).ok()).unwrap_or_default() {
                nodes.insert(node.id.clone(), node);
            }
        }
        Ok(())
    };
    let both = async {
        tokio::select! {
            ended = asking => ended,
            ended = hearing => ended,
        }
    };
    timeout_at(deadline, both).await.unwrap_or(Ok(()))?;
    Ok(nodes)
}

fn found(node: Node) -> Option<Found> {
    let (host, port) = node.endpoint?;
    let address = Endpoint { host: host.to_string(), port }.to_string();
    Some(Found {
        name: node.name,
        address,
        mode: node.mode,
        version: node.version,
        node_id: node.id,
        fingerprint: node.fingerprint,
    })
}

fn describe(found: &[Found]) -> String {
    let mut table = Table::new(["NAME", "ADDRESS", "MODE", "VERSION", "FINGERPRINT"]);
    for node in found {
        table.row([&node.name, &node.address, &node.mode, &node.version, &node.fingerprint]);
    }
    table.take()
}

#[cfg(test)]
mod tests {
    use discovery::answer;

    use super::*;

    #[test]
    fn a_node_does_not_write_to_the_terminal_as_it_likes() {
        let node = Node {
            id: "0123".into(),
            name: "edge-1\u{1b}[2J".into(),
            mode: "maintenance".into(),
            endpoint: Some((Ipv4Addr::new(192, 0, 2, 7), 50000)),
            ..Node::default()
        };
        let answer = answer(&node, &query(), 1).unwrap();
        let found: Vec<Found> = read(&answer.bytes).unwrap().into_iter().filter_map(found).collect();
        let text = describe(&found);
        assert!(text.contains("192.0.2.7:50000") && text.contains("maintenance"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn each_link_is_asked_on_once() {
        let links = links().unwrap();
        assert!(links.contains(&Ipv4Addr::LOCALHOST), "{links:?}");
    }
}

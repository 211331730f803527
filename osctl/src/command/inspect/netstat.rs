//! `osctl netstat`

use proto::inspect::v1 as api;
use serde::Serialize;

use super::owner::Owner;
use super::{List, warn_of_omitted};
use crate::cli::inspect::Netstat;
use crate::command::Session;
use crate::failure::Failure;
use crate::output::{self, Table};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Socket {
    protocol: String,
    local_address: String,
    local_port: u32,
    peer_address: String,
    peer_port: u32,
    state: String,
    receive_queue: u64,
    send_queue: u64,
    user_id: u32,
    pid: Option<u32>,
    process_name: String,
    owner: Option<Owner>,
    pod_network: bool,
}

impl From<api::Socket> for Socket {
    fn from(socket: api::Socket) -> Socket {
        Socket {
            protocol: socket.protocol,
            local_address: socket.local_address,
            local_port: socket.local_port,
            peer_address: socket.peer_address,
            peer_port: socket.peer_port,
            state: socket.state,
            receive_queue: socket.receive_queue,
            send_queue: socket.send_queue,
            user_id: socket.user_id,
            pid: socket.pid,
            process_name: socket.process_name,
            owner: Owner::new(socket.owner),
            pod_network: socket.pod_network,
        }
    }
}

pub async fn run(session: &Session, arguments: &Netstat) -> Result<(), Failure> {
    let node = session.connect().await?;
    let request = api::ListSocketsRequest { listening: arguments.listening, pods: arguments.pods };
    let answer = node.call("cannot list the sockets", node.inspect().list_sockets(request)).await?;
    warn_of_omitted(answer.omitted);
    let items = answer.sockets.into_iter().map(Socket::from).collect();
    let list = List { interval_ms: None, items, omitted: answer.omitted };
    output::print(session.format(), &list, |list: &List<Socket>| table(&list.items))
}

fn table(sockets: &[Socket]) -> String {
    let heading =
        ["PROTOCOL", "LOCAL", "PEER", "STATE", "RECV-Q", "SEND-Q", "PID", "PROCESS", "OWNER", "NETWORK"];
    let mut table = Table::new(heading);
    for socket in sockets {
        table.row([
            socket.protocol.clone(),
            end(&socket.local_address, socket.local_port),
            end(&socket.peer_address, socket.peer_port),
            socket.state.clone(),
            socket.receive_queue.to_string(),
            socket.send_queue.to_string(),
            socket.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            socket.process_name.clone(),
            Owner::shown(socket.owner.as_ref()),
            if socket.pod_network { "pod" } else { "node" }.to_owned(),
        ]);
    }
    table.take()
}

/// An address with its port; "*" is any.
fn end(address: &str, port: u32) -> String {
    let address = match address {
        "0.0.0.0" | "::" => "*".to_owned(),
        _ if address.contains(':') => format!("[{address}]"),
        _ => address.to_owned(),
    };
    let port = if port == 0 { "*".to_owned() } else { port.to_string() };
    format!("{address}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart_from_their_ports() {
        assert_eq!(end("127.0.0.1", 10250), "127.0.0.1:10250");
        assert_eq!(end("fe80::1", 50000), "[fe80::1]:50000");
        assert_eq!((end("::", 50000), end("0.0.0.0", 0)), ("*:50000".into(), "*:*".into()));
    }
}

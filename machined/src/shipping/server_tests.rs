use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::TcpListener,
    task::JoinHandle,
};

use super::*;
use crate::shipping::{queue::QUEUE_MAX_BYTES, sources::Entry};

struct Rig {
    queue: Arc<Queue>,
    states: watch::Receiver<States>,
    task: JoinHandle<()>,
}

impl Rig {
    fn start(transport: Transport, address: SocketAddr) -> Self {
        let destination = LogDestination { transport, host: address.ip().to_string(), port: address.port() };
        let states = watch::Sender::new(BTreeMap::from([(destination.clone(), State::Connecting)]));
        let (queue, watched) = (Arc::new(Queue::default()), states.subscribe());
        let form = watch::Sender::new(form());
        let server = Server {
            destination,
            queue: Arc::clone(&queue),
            form: form.subscribe(),
            states,
            lookups: Arc::new(Semaphore::new(1)),
        };
        Self { queue, states: watched, task: tokio::spawn(server.run()) }
    }

    fn push(&self, message: &str) {
        let entry = Entry { service: "test", severity: None, message };
        self.queue.push(form().line(SystemTime::UNIX_EPOCH, &entry));
    }

    async fn until(&mut self, wanted: impl Fn(&State) -> bool) -> State {
        let states = self.states.wait_for(|states| states.values().all(&wanted)).await.unwrap();
        states.values().next().unwrap().clone()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn form() -> Form {
    Form { node: "shop-17".into(), fields: BTreeMap::new() }
}

async fn accept(listener: &TcpListener) -> Lines<BufReader<TcpStream>> {
    BufReader::new(listener.accept().await.unwrap().0).lines()
}

async fn message(lines: &mut Lines<BufReader<TcpStream>>) -> String {
    let line: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    line["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn lines_arrive_in_order_and_what_waits_survives_a_lost_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::start(Transport::Tcp, listener.local_addr().unwrap());
    let mut lines = accept(&listener).await;
    rig.until(|state| *state == State::Reachable).await;
    for text in ["one", "two"] {
        rig.push(text);
        assert_eq!(message(&mut lines).await, text);
    }
    drop(lines);
    let state = rig.until(|state| matches!(state, State::Unreachable { .. })).await;
    let State::Unreachable { reason, dropped } = state else { unreachable!() };
    assert_eq!((reason.as_str(), dropped), ("the server closed the connection", 0));
    rig.push("three");
    let mut lines = accept(&listener).await;
    assert_eq!(message(&mut lines).await, "three");
    rig.until(|state| *state == State::Reachable).await;
}

#[tokio::test]
async fn what_a_server_misses_it_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut rig = Rig::start(Transport::Tcp, address);
    rig.until(|state| matches!(state, State::Unreachable { .. })).await;
    let text = "x".repeat(QUEUE_MAX_BYTES / 4);
    for number in 0..8 {
        rig.push(&format!("{number} {text}"));
    }
    let dropped = rig.queue.dropped();
    assert_eq!(dropped, 5);
    let listener = TcpListener::bind(address).await.unwrap();
    let mut lines = accept(&listener).await;
    let gap: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!((&gap["dropped"], &gap["node"]), (&dropped.into(), &"shop-17".into()));
    assert!(message(&mut lines).await.starts_with("5 "));
}

#[tokio::test]
async fn a_datagram_is_a_line() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start(Transport::Udp, server.local_addr().unwrap());
    // The second is more than a datagram holds.
    for text in ["one".to_owned(), "x".repeat(70_000), "three".to_owned()] {
        rig.push(&text);
    }
    let mut buffer = vec![0; 1000];
    let mut said = Vec::new();
    for _ in 0..3 {
        let received = tokio::time::timeout(Duration::from_secs(30), server.recv(&mut buffer)).await;
        let line: Value = serde_json::from_slice(&buffer[..received.unwrap().unwrap()]).unwrap();
        said.push(line["dropped"].as_u64().map_or_else(|| line["message"].to_string(), |n| n.to_string()));
    }
    assert_eq!(said, ["\"one\"", "1", "\"three\""]);
}

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use logstore::{BootId, Entry, MESSAGE_MAX_BYTES, Source};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::TcpListener,
    task::JoinHandle,
};

use super::*;
use crate::{
    logs::{Clock, Folder, Handle},
    shipping::{line::Form, positions::Positions},
};

struct Rig {
    logs: Handle,
    states: watch::Receiver<States>,
    task: JoinHandle<()>,
}

impl Rig {
    async fn start(transport: Transport, address: SocketAddr) -> Self {
        let logs = Handle::start(BootId([1; 16]), Clock::new(|| 0)).unwrap();
        Self::of(logs, Positions::default(), transport, address).await
    }

    /// As a life of machined begins that finds DATA.
    async fn on_data(folder: &Path, positions: &Positions, address: SocketAddr) -> Self {
        let logs = Handle::start(BootId([1; 16]), Clock::new(|| 0)).unwrap();
        let folder = folder.to_owned();
        logs.ask(move |keeper| keeper.attach(Folder::at(&folder))).await.unwrap().unwrap();
        Self::of(logs, positions.clone(), Transport::Tcp, address).await
    }

    async fn of(logs: Handle, positions: Positions, transport: Transport, address: SocketAddr) -> Self {
        let destination = LogDestination { transport, host: address.ip().to_string(), port: address.port() };
        let states = watch::Sender::new(BTreeMap::from([(destination.clone(), State::Connecting)]));
        let form = watch::Sender::new(Form { node: "shop-17".into(), fields: BTreeMap::new() });
        let (form, watched) = (form.subscribe(), states.subscribe());
        let feed = Feed::open(destination.clone(), logs.clone(), form, positions).await.unwrap();
        let server = Server { destination, feed, states, lookups: Arc::new(Semaphore::new(1)) };
        Self { logs, states: watched, task: tokio::spawn(server.run()) }
    }

    async fn push(&self, message: &str) {
        let message = message.as_bytes().to_vec();
        let entry = Entry { origin: 0, position: 0, wall_us: 0, mono_us: 0, priority: None, message };
        let source = Source::parse("test").unwrap();
        self.logs.ask(move |keeper| keeper.note(&source, entry)).await.unwrap();
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
    let mut rig = Rig::start(Transport::Tcp, listener.local_addr().unwrap()).await;
    let mut lines = accept(&listener).await;
    rig.until(|state| *state == State::Reachable).await;
    for text in ["one", "two"] {
        rig.push(text).await;
        assert_eq!(message(&mut lines).await, text);
    }
    drop(lines);
    let state = rig.until(|state| matches!(state, State::Unreachable { .. })).await;
    let State::Unreachable { reason, dropped } = state else { unreachable!() };
    assert_eq!((reason.as_str(), dropped), ("the server closed the connection", 0));
    rig.push("three").await;
    let mut lines = accept(&listener).await;
    assert_eq!(message(&mut lines).await, "three");
    rig.until(|state| *state == State::Reachable).await;
}

#[tokio::test]
async fn what_was_missed_before_a_restart_arrives_after_it() {
    let scratch = tempfile::tempdir().unwrap();
    let positions = Positions::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut rig = Rig::on_data(scratch.path(), &positions, address).await;
    let mut lines = accept(&listener).await;
    rig.push("one").await;
    assert_eq!(message(&mut lines).await, "one");
    drop((lines, listener));
    rig.until(|state| matches!(state, State::Unreachable { .. })).await;
    for text in ["two", "three"] {
        rig.push(text).await;
    }
    rig.logs.finish().await;
    drop(rig);
    let listener = TcpListener::bind(address).await.unwrap();
    let rig = Rig::on_data(scratch.path(), &positions, address).await;
    rig.push("four").await;
    let mut lines = accept(&listener).await;
    for text in ["two", "three", "four"] {
        assert_eq!(message(&mut lines).await, text);
    }
}

#[tokio::test]
async fn what_a_server_misses_it_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut rig = Rig::start(Transport::Tcp, address).await;
    rig.until(|state| matches!(state, State::Unreachable { .. })).await;
    const LINES: u64 = 200;
    let mut noise = vec![0; MESSAGE_MAX_BYTES / 4];
    for number in 0..LINES {
        // Cannot be packed to less than a half: more than the store in memory has room for.
        aws_lc_rs::rand::fill(&mut noise).unwrap();
        rig.push(&format!("{number} {}", hex::encode(&noise))).await;
    }
    for number in LINES..2 * LINES {
        rig.push(&format!("{number} {}", hex::encode(&noise))).await;
        aws_lc_rs::rand::fill(&mut noise).unwrap();
    }
    let listener = TcpListener::bind(address).await.unwrap();
    let mut lines = accept(&listener).await;
    let gap: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    let dropped = gap["dropped"].as_u64().unwrap();
    assert!((1..2 * LINES).contains(&dropped), "{gap}");
    assert_eq!(gap["node"], "shop-17");
    for number in dropped..2 * LINES {
        assert!(message(&mut lines).await.starts_with(&format!("{number} ")));
    }
}

#[tokio::test]
async fn a_datagram_is_a_line() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start(Transport::Udp, server.local_addr().unwrap()).await;
    // The second is more than a datagram holds.
    for text in ["one".to_owned(), "\"".repeat(MESSAGE_MAX_BYTES), "three".to_owned()] {
        rig.push(&text).await;
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

//! The controller on the real kernel, in a network namespace of its own. Nothing leaves it. What tables let through,
//! the tests of `crates/firewall` show.
//!
//! Needs root, iproute2 and nft; without them it says so and passes.

use std::{
    fs::File,
    io::{ErrorKind, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    process::{Command, Stdio},
};

use ::firewall::{Firewall as Configured, Ports, Protocol, Rule, Source};
use resource::spec;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::{follow::Settled, health::Status};

/// Nobody answers within; loopback does at once.
const PATIENCE: Duration = Duration::from_millis(1500);
const WEB: u16 = 80;
const METRICS: u16 = 9100;
/// The node's address.
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const FOREIGN: &str = "table ip kube-test {\n\tchain input {\n\t\ttype filter hook input priority 10;\n\t\ttcp dport 7 counter\n\t}\n}\n";

#[test]
fn the_kernel_has_the_table_that_is_configured() {
    if let Some(lacks) = missing() {
        // Not println!, which is hidden when a test passes.
        let _ = writeln!(std::io::stderr(), "skipped the_kernel_has_the_table_that_is_configured: {lacks}");
        return;
    }
    let network = Network::new();
    // A thread of its own enters the node's namespace; its processes are there too.
    let life = || {
        network.enter_node();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(life(&network));
    };
    let ended = std::thread::scope(|scope| scope.spawn(life).join());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

async fn life(network: &Network) {
    let _listening = [WEB, METRICS].map(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    nft(&["-f", "-"], FOREIGN);
    let foreign = nft(&["-a", "list", "table", "ip", "kube-test"], "");
    let mut node = Node::new();

    node.firewall.step().await;
    assert_eq!(node.condition(), (Status::Healthy, "NotConfigured"));
    assert!(!node.has_table(), "a node without the kind has no table");

    node.configure(Some(web())).await;
    assert_eq!(node.condition(), (Status::Healthy, "Applied"));
    assert!(network.peer_reaches(WEB) && !network.peer_reaches(METRICS));
    node.firewall.step().await;
    let counted = node.resource("web").packets;
    assert!(counted >= 1 && node.resource("default").packets >= 1);
    assert_eq!(node.resource("default").action, "deny");

    // A new process finds a table that is right, and what it has counted.
    node.restart();
    node.firewall.step().await;
    assert_eq!(node.resource("web").packets, counted);

    nft(&["delete", "table", "inet", "cairn"], "");
    assert!(network.peer_reaches(METRICS));
    node.firewall.step().await;
    assert!(node.has_table() && !network.peer_reaches(METRICS), "it came back");

    // Another rule takes the place of the first; the connection of before stays.
    let metrics = Rule { name: "metrics".into(), ports: vec![Ports::one(METRICS)], ..web().allow.remove(0) };
    node.configure(Some(Configured { allow: vec![metrics], ..Configured::default() })).await;
    assert!(!network.peer_reaches(WEB) && network.peer_reaches(METRICS));
    let names: Vec<String> =
        node.store.read(|store| store.list(&spec::Firewall::KIND).map(|found| found.id.clone()).collect());
    assert_eq!(names, ["api", "default", "essential", "metrics", "pods"]);

    // What nft refuses is a condition, and changes nothing.
    let broken = Rule { name: "not a name".into(), ..web().allow.remove(0) };
    node.configure(Some(Configured { allow: vec![broken], ..Configured::default() })).await;
    assert_eq!(node.condition(), (Status::Unhealthy, "NotApplied"));
    assert!(node.message().contains("syntax error"), "{}", node.message());
    assert!(!network.peer_reaches(WEB) && network.peer_reaches(METRICS));

    // It is taken away by a process that has not made it.
    node.restart();
    node.configure(None).await;
    assert_eq!(node.condition(), (Status::Healthy, "NotConfigured"));
    assert!(!node.has_table() && network.peer_reaches(WEB));
    assert_eq!(node.store.read(|store| store.list(&spec::Firewall::KIND).count()), 0);
    assert_eq!(nft(&["-a", "list", "table", "ip", "kube-test"], ""), foreign, "another table was touched");
}

fn web() -> Configured {
    let rule = Rule {
        name: "web".into(),
        protocol: Protocol::Tcp,
        ports: vec![Ports::one(WEB)],
        source: Source::default(),
    };
    Configured { allow: vec![rule], ..Configured::default() }
}

/// nft in the namespace of the calling thread.
fn nft(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("nft");
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {}: {error}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// The controller with what it publishes.
struct Node {
    store: Store,
    health: Health,
    config: watch::Sender<Arc<NodeConfig>>,
    settled: Settled,
    files: TempDir,
    firewall: Firewall,
}

impl Node {
    fn new() -> Self {
        let (store, health, config) = (Store::default(), Health::default(), watch::Sender::default());
        let (settled, files) = (Settled::default(), TempDir::new().unwrap());
        let firewall = controller(&store, &health, &config, &settled, &files);
        Self { store, health, config, settled, files, firewall }
    }

    /// As a new process: nothing is known but the note.
    fn restart(&mut self) {
        (self.store, self.health) = (Store::default(), Health::default());
        self.firewall = controller(&self.store, &self.health, &self.config, &self.settled, &self.files);
    }

    async fn configure(&mut self, firewall: Option<Configured>) {
        let config = Arc::new(NodeConfig { firewall, ..NodeConfig::default() });
        self.config.send_replace(Arc::clone(&config));
        self.firewall.step().await;
        assert!(self.settled.behind(&config).is_empty(), "it says that it obeys");
    }

    fn condition(&self) -> (Status, &'static str) {
        let conditions = self.health.subscribe();
        let condition = conditions.borrow()[CONDITION].clone();
        (condition.status, condition.reason)
    }

    fn message(&self) -> String {
        self.health.subscribe().borrow()[CONDITION].message.clone()
    }

    fn resource(&self, name: &str) -> spec::Firewall {
        let found =
            self.store.read(|store| store.get(&spec::Firewall::KIND, name).map(|found| found.spec.clone()));
        serde_json::from_value(found.unwrap_or_else(|| panic!("no {name}"))).unwrap()
    }

    fn has_table(&self) -> bool {
        nft(&["list", "tables"], "").contains("table inet cairn")
    }
}

fn controller(
    store: &Store,
    health: &Health,
    config: &watch::Sender<Arc<NodeConfig>>,
    settled: &Settled,
    files: &TempDir,
) -> Firewall {
    let follower = Follower::new("firewall", config.subscribe(), settled.clone());
    Firewall::new(store.clone(), health.clone(), follower, files.path().join(NOTE))
}

/// The node's eth0 and the peer's, each in its namespace.
struct Network {
    node: String,
    peer: String,
}

impl Network {
    fn new() -> Self {
        let [node, peer] = ["node", "peer"].map(|end| format!("cairn-fwc-{}-{end}", std::process::id()));
        let network = Self { node, peer };
        let Self { node, peer } = &network;
        ip(&["netns", "add", node]);
        ip(&["netns", "add", peer]);
        let far = ["type", "veth", "peer", "name", "eth0", "netns", peer];
        ip(&[&["link", "add", "eth0", "netns", node][..], &far].concat());
        for (name, address) in [(node, "192.0.2.1/24"), (peer, "192.0.2.2/24")] {
            ip(&["-n", name, "address", "add", address, "dev", "eth0"]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
            ip(&["-n", name, "link", "set", "eth0", "up"]);
        }
        network
    }

    fn enter_node(&self) {
        enter(&self.node);
    }

    /// Whether the peer gets a connection to the node.
    fn peer_reaches(&self, port: u16) -> bool {
        let look = || {
            enter(&self.peer);
            match TcpStream::connect_timeout(&SocketAddr::new(NODE, port), PATIENCE) {
                Ok(_) => true,
                Err(error) if error.kind() == ErrorKind::TimedOut => false,
                Err(error) => panic!("port {port}: {error}"),
            }
        };
        std::thread::scope(|scope| scope.spawn(look).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [&self.node, &self.peer] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn enter(namespace: &str) {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {error}", arguments.join(" "));
}

fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root");
    }
    let probe = format!("cairn-fwc-{}-probe", std::process::id());
    let netns = |arguments: &[&str]| {
        let status = Command::new("ip").arg("netns").args(arguments).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let allowed = netns(&["add", &probe]) && netns(&["exec", &probe, "nft", "list", "ruleset"]);
    if netns(&["del", &probe]) && allowed {
        None
    } else {
        Some("no iproute2, no nft, or no network namespaces")
    }
}

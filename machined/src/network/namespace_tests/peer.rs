//! Two namespaces with a cable between them, and dnsmasq at the far end.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd as _;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

use super::DEADLINE;

/// What the test against a server needs and the host lacks.
pub fn missing() -> Option<&'static str> {
    missing_for_namespaces().or_else(|| (!runs("dnsmasq", "--version")).then_some("no dnsmasq"))
}

/// What a test in namespaces needs and the host lacks; found out once, for tests run side by side.
pub fn missing_for_namespaces() -> Option<&'static str> {
    static MISSING: OnceLock<Option<&'static str>> = OnceLock::new();
    *MISSING.get_or_init(look_for_namespaces)
}

fn look_for_namespaces() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root");
    }
    if !runs("ip", "-V") {
        return Some("no iproute2");
    }
    let probe = namespace("probe");
    let made = Command::new("ip").args(["netns", "add", &probe]).stderr(Stdio::null()).status();
    let removed = Command::new("ip").args(["netns", "del", &probe]).stderr(Stdio::null()).status();
    let allowed = made.is_ok_and(|status| status.success()) && removed.is_ok_and(|status| status.success());
    if allowed { None } else { Some("network namespaces are not allowed here") }
}

fn runs(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Waits for what nobody announces, with a deadline.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    let found = async {
        loop {
            again.tick().await;
            if let Some(found) = look() {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("{what} does not come"))
}

pub fn namespace(end: &str) -> String {
    format!("cairn-{}-{end}", std::process::id())
}

/// Moves the calling thread into a namespace.
pub fn enter(namespace: &str) {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// `ip` with these arguments.
pub fn run(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {error}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// The node's eth0 and the peer's eth1, each in its namespace; the cable starts unplugged.
pub struct Network {
    node: String,
    peer: String,
}

impl Network {
    pub fn new() -> Self {
        let network = Self { node: namespace("node"), peer: namespace("peer") };
        run(&["netns", "add", &network.node]);
        run(&["netns", "add", &network.peer]);
        run(&[
            "link",
            "add",
            "eth0",
            "netns",
            &network.node,
            "type",
            "veth",
            "peer",
            "name",
            "eth1",
            "netns",
            &network.peer,
        ]);
        network.peer(&["link", "set", "lo", "up"]);
        network
    }

    /// Moves the calling thread into the node's namespace.
    pub fn enter(&self) {
        enter(&self.node);
    }

    pub fn plug(&self) {
        self.peer(&["link", "set", "eth1", "up"]);
    }

    pub fn unplug(&self) {
        self.peer(&["link", "set", "eth1", "down"]);
    }

    /// `ip` in the node's namespace.
    pub fn node(&self, arguments: &[&str]) -> String {
        run(&[&["-n", &self.node], arguments].concat())
    }

    /// `ip` in the node's namespace until its output is as wanted.
    pub async fn node_until(&self, arguments: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        until(&arguments.join(" "), || Some(self.node(arguments)).filter(|text| wanted(text))).await
    }

    /// The node reaches an address.
    pub fn node_pings(&self, address: &str) {
        // A connection refused has been there and back.
        let error = std::net::TcpStream::connect_timeout(&format!("{address}:1").parse().unwrap(), DEADLINE);
        assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused, "{address}");
    }

    fn peer(&self, arguments: &[&str]) -> String {
        run(&[&["-n", &self.peer], arguments].concat())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [&self.node, &self.peer] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// A DHCP server in the peer's namespace.
pub struct Dnsmasq {
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
    seen: Vec<String>,
    _files: TempDir,
}

impl Dnsmasq {
    /// Serves `net`.0/24 from `net`.1, with T1 of 5 s; returns when it listens.
    pub async fn start(network: &Network, net: &str) -> Self {
        network.peer(&["addr", "flush", "dev", "eth1"]);
        network.peer(&["addr", "add", &format!("{net}.1/24"), "dev", "eth1"]);
        let files = TempDir::new().unwrap();
        let leases = files.path().join("leases");
        let mut command = tokio::process::Command::new("ip");
        command.args(["netns", "exec", &network.peer, "dnsmasq", "--keep-in-foreground", "--log-facility=-"]);
        command.args([
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--port=0",
            "--user=root",
            "--pid-file=",
        ]);
        command.args([
            "--interface=eth1",
            "--bind-dynamic",
            "--no-ping",
            "--dhcp-authoritative",
            "--log-dhcp",
        ]);
        command.arg(format!("--dhcp-leasefile={}", leases.display()));
        command.arg(format!("--dhcp-range={net}.100,{net}.200,255.255.255.0,2m"));
        for option in [
            format!("6,{net}.53"),
            "15,site.example".to_owned(),
            "26,1400".to_owned(),
            "58,5".to_owned(),
            "59,90".to_owned(),
            format!("121,0.0.0.0/0,{net}.1,203.0.113.0/24,{net}.9"),
        ] {
            command.arg(format!("--dhcp-option={option}"));
        }
        let mut process = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut server = Self { process, log, seen: Vec::new(), _files: files };
        server.until("DHCP, sockets bound").await;
        server
    }

    /// Reads the log up to the next line with this text.
    pub async fn until(&mut self, text: &str) {
        let found = async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                self.seen.push(line);
                if self.seen.last().is_some_and(|line| line.contains(text)) {
                    return;
                }
            }
            panic!("dnsmasq ended: {:#?}", self.seen);
        };
        let result = tokio::time::timeout(DEADLINE, found).await;
        assert!(result.is_ok(), "no {text:?} in {:#?}", self.seen);
    }

    /// How many lines read so far have this text.
    pub fn seen(&self, text: &str) -> usize {
        self.seen.iter().filter(|line| line.contains(text)).count()
    }

    pub async fn stop(&mut self) {
        self.process.kill().await.unwrap();
    }
}

//! Three namespaces: a node, a peer on its eth0, and a pod on its bridge. A table that is not Cairn's leads a host port
//! to the pod.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub const NODE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub const NODE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
pub const POD_BRIDGE: &str = "cairn0";
pub const POD_GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 1));
pub const POD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 2));
/// What the pod listens on, and the port of the node that leads there.
pub const POD_PORT: u16 = 8080;
pub const HOST_PORT: u16 = 8888;
/// Name of a table that is not Cairn's.
pub const FOREIGN: &str = "kube-test";
/// An answer is there at once, or never.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How a port looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Somebody listens.
    Open,
    /// Nobody does, and that is said.
    Closed,
    /// No answer.
    Silent,
}

pub struct Lab {
    node: String,
    peer: String,
    pod: String,
    /// The pod's server; it ends with the process.
    _pod_listens: TcpListener,
}

impl Lab {
    /// Nothing where the host cannot have one; that is said.
    pub fn new(test: &str) -> Option<Self> {
        if let Some(lacks) = missing() {
            // Not println!, which is hidden when a test passes.
            let _ = writeln!(std::io::stderr(), "skipped {test}: {lacks}");
            return None;
        }
        let [node, peer, pod] =
            ["node", "peer", "pod"].map(|end| format!("cairn-fw-{}-{end}", std::process::id()));
        for name in [&node, &peer, &pod] {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        cable((&node, "eth0"), (&peer, "eth0"));
        cable((&node, POD_BRIDGE), (&pod, "eth0"));
        for (name, address, link) in [
            (&node, "192.0.2.1/24", "eth0"),
            (&peer, "192.0.2.2/24", "eth0"),
            (&node, "2001:db8::1/64", "eth0"),
            (&peer, "2001:db8::2/64", "eth0"),
            (&node, "10.244.0.1/24", POD_BRIDGE),
            (&pod, "10.244.0.2/24", "eth0"),
        ] {
            let mut arguments = vec!["-n", name, "address", "add", address, "dev", link];
            // Nobody else is there who could have it.
            arguments.extend(address.contains("::").then_some("nodad"));
            ip(&arguments);
        }
        ip(&["-n", &pod, "route", "add", "default", "via", "10.244.0.1"]);
        let pod_listens = inside(&pod, || TcpListener::bind((POD, POD_PORT)).unwrap());
        inside(&node, || fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        let lab = Self { node, peer, pod, _pod_listens: pod_listens };
        lab.apply(&format!(
            "table ip {FOREIGN} {{\n\tchain prerouting {{\n\t\ttype nat hook prerouting priority dstnat;\n\t\t\
             tcp dport {HOST_PORT} dnat to {POD}:{POD_PORT}\n\t}}\n\tchain input {{\n\t\ttype filter hook input priority filter;\n\t}}\n}}\n"
        ))
        .unwrap();
        Some(lab)
    }

    /// Listens on the node, in both families, for as long as the result lives.
    pub fn listen(&self, ports: &[u16]) -> Vec<TcpListener> {
        let listen = |port: &u16| TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).unwrap();
        inside(&self.node, || ports.iter().map(listen).collect())
    }

    pub fn scan_from_peer(&self, address: IpAddr, ports: &[u16]) -> Vec<(u16, Seen)> {
        scan(&self.peer, address, ports)
    }

    pub fn scan_from_pod(&self, address: IpAddr, ports: &[u16]) -> Vec<(u16, Seen)> {
        scan(&self.pod, address, ports)
    }

    pub fn scan_from_node(&self, address: IpAddr, ports: &[u16]) -> Vec<(u16, Seen)> {
        scan(&self.node, address, ports)
    }

    /// A connection of the peer to a port of the node's that `open` has opened: the peer's end and the node's.
    pub fn connect_from_peer(
        &self,
        address: IpAddr,
        port: u16,
        open: impl FnOnce(),
    ) -> (TcpStream, TcpStream) {
        let listener = self.listen(&[port]).remove(0);
        open();
        let near = inside(&self.peer, || TcpStream::connect((address, port)).unwrap());
        let (far, _) = listener.accept().unwrap();
        for end in [&near, &far] {
            end.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        (near, far)
    }

    /// Whether the peer's echo request is answered.
    pub fn ping(&self, address: IpAddr) -> bool {
        let arguments = ["netns", "exec", &self.peer, "ping", "-n", "-q", "-c", "1", "-W", "1"];
        let address = address.to_string();
        let status = Command::new("ip")
            .args(arguments)
            .arg(address)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.unwrap().success()
    }

    pub fn forget_neighbours(&self) {
        for name in [&self.node, &self.peer] {
            ip(&["-n", name, "neighbour", "flush", "dev", "eth0"]);
        }
    }

    /// nft on the node; an error is what it says.
    pub fn apply(&self, script: &str) -> Result<(), String> {
        let mut nft = self.nft(&["-f", "-"]);
        let mut child = nft.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The node's table as JSON, if it is there.
    pub fn list(&self) -> Option<Vec<u8>> {
        let output = self.nft(&["-j", "list", "table", "inet", "cairn"]).output().unwrap();
        output.status.success().then_some(output.stdout)
    }

    /// All tables but Cairn's, with the kernel's numbers of their rules.
    pub fn foreign(&self) -> String {
        let output = self.nft(&["-a", "list", "ruleset", "ip"]).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    fn nft(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.node, "nft"]).args(arguments);
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in [&self.node, &self.peer, &self.pod] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn missing() -> Option<&'static str> {
    let runs = |program: &str, argument: &str| {
        Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    if !rustix::process::geteuid().is_root() {
        return Some("not root");
    }
    if !runs("ip", "-V") || !runs("ping", "-V") {
        return Some("no iproute2 or no ping");
    }
    if !runs("nft", "--version") {
        return Some("no nft");
    }
    let probe = format!("cairn-fw-{}-probe", std::process::id());
    let netns = |arguments: &[&str]| {
        let status = Command::new("ip").arg("netns").args(arguments).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let allowed = netns(&["add", &probe]) && netns(&["exec", &probe, "nft", "list", "ruleset"]);
    if netns(&["del", &probe]) && allowed { None } else { Some("network namespaces are not allowed here") }
}

fn cable(one: (&str, &str), other: (&str, &str)) {
    let peer = ["type", "veth", "peer", "name", other.1, "netns", other.0];
    ip(&[&["link", "add", one.1, "netns", one.0][..], &peer].concat());
    for (namespace, link) in [one, other] {
        ip(&["-n", namespace, "link", "set", link, "up"]);
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {error}", arguments.join(" "));
}

/// Does something in a namespace, on a thread of its own. Sockets made there stay there.
fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    let work = || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn scan(namespace: &str, address: IpAddr, ports: &[u16]) -> Vec<(u16, Seen)> {
    let look = |port: u16| match TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE) {
        Ok(_) => Seen::Open,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Seen::Closed,
        Err(error) if error.kind() == ErrorKind::TimedOut => Seen::Silent,
        Err(error) => panic!("{address} port {port}: {error}"),
    };
    inside(namespace, || {
        thread::scope(|scope| {
            // Threads are where the one is that starts them.
            let looks: Vec<_> = ports.iter().map(|port| (*port, scope.spawn(move || look(*port)))).collect();
            looks.into_iter().map(|(port, look)| (port, look.join().unwrap())).collect()
        })
    })
}

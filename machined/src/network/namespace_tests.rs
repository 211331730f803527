//! The controller against dnsmasq, in network namespaces of its own. Nothing leaves them.
//!
//! Needs root, iproute2 and dnsmasq; without them it says so and passes.

mod layers;
mod peer;

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::{Interface, NodeConfig, Registry, Resolver, Subnet};
use netplan::{Bridge, Device};
use resource::Spec as _;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Environment;
use super::controller::Controller;
use super::sysfs::Sysfs;
use crate::context::NodeIdentity;
use crate::follow::{Follower, Settled};
use crate::health::{Health, Status};
use crate::probes;
use crate::store::Store;
use peer::{Dnsmasq, Network};

/// Longest wait for anything; waits end when it happens.
const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn a_node_lives_with_a_real_server() {
    if let Some(lacks) = peer::missing() {
        // Not println!, which is hidden when a test passes.
        let _ = writeln!(std::io::stderr(), "skipped a_node_lives_with_a_real_server: {lacks}");
        return;
    }
    let network = Network::new();
    // A thread of its own enters the node's namespace.
    let node = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                network.enter();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(life(&network));
            })
            .join()
    });
    if let Err(panic) = node {
        std::panic::resume_unwind(panic);
    }
}

async fn life(network: &Network) {
    let mut node = Node::new();
    node.start();
    a_node_without_cable_waits(network, &mut node).await;
    let mut server = Dnsmasq::start(network, "192.0.2").await;
    a_cable_brings_an_address_at_once(network, &mut node).await;
    others_belongings_survive_and_ours_come_back(network, &mut node).await;
    the_lease_is_renewed_by_unicast(&mut server).await;
    a_pulled_cable_keeps_the_lease(network, &mut node, &mut server).await;
    a_restart_of_the_controller_goes_unnoticed(network, &mut node, &mut server).await;
    what_cannot_be_set_hides_no_address(network, &mut node).await;
    an_address_set_by_hand_is_taken_over(network, &mut node).await;
    a_static_address_takes_over_and_dhcp_comes_back(network, &mut node).await;
    a_bridge_asks_in_its_ports_place(network, &mut node).await;
    what_a_change_names_is_asked(&node).await;
    a_link_that_does_not_exist_is_named(network, &mut node).await;
    server.stop().await;
    let mut other = Dnsmasq::start(network, "198.51.100").await;
    another_network_gives_another_address(network, &mut node).await;
    other.stop().await;
    an_offline_boot_keeps_the_lease(network, &mut node).await;
}

async fn a_node_without_cable_waits(network: &Network, node: &mut Node) {
    node.until_link("eth0", |link| link.up && !link.carrier).await;
    node.until_link("lo", |link| link.up).await;
    assert_eq!(node.reason(), "NoCarrier");
    assert_eq!(*node.address.borrow(), None);
    assert_eq!(fs::read_to_string(node.files.path().join("resolv.conf")).unwrap(), "");
    assert!(network.node(&["route"]).is_empty());
}

async fn a_cable_brings_an_address_at_once(network: &Network, node: &mut Node) {
    let plugged = std::time::Instant::now();
    network.plug();
    let address = node.until_address(|_| true).await;
    assert!(plugged.elapsed() < Duration::from_secs(3), "took {:?}", plugged.elapsed());
    assert!(address.octets().starts_with(&[192, 0, 2]), "{address}");
    let published = node.until_resource(&format!("eth0/{address}/24")).await;
    assert_eq!((published.source.as_str(), published.primary), ("dhcp", true));
    assert_eq!(node.reason(), "Bound");
    let expected = format!("default via 192.0.2.1 dev eth0 proto 202 src {address} metric 1024");
    assert_eq!(network.node(&["route", "show", "default"]).trim(), expected);
    assert!(network.node(&["route", "show", "203.0.113.0/24"]).contains("via 192.0.2.9"));
    assert!(network.node(&["link", "show", "dev", "eth0"]).contains("mtu 1400"));
    let resolv = fs::read_to_string(node.files.path().join("resolv.conf")).unwrap();
    assert_eq!(resolv, "nameserver 192.0.2.53\nsearch site.example\n");
    network.node_pings("192.0.2.1");
}

async fn others_belongings_survive_and_ours_come_back(network: &Network, node: &mut Node) {
    network.node(&["addr", "add", "203.0.113.77/32", "dev", "eth0"]);
    network.node(&["route", "add", "203.0.113.128/25", "dev", "eth0", "metric", "7"]);
    assert_eq!(node.until_resource("eth0/203.0.113.77/32").await.source, "other");
    network.node(&["route", "del", "default"]);
    network.node_until(&["route", "show", "default"], |text| text.contains("proto 202")).await;
    let Some(IpAddr::V4(address)) = *node.address.borrow() else { panic!("no address") };
    network.node(&["addr", "del", &format!("{address}/24"), "dev", "eth0"]);
    network.node_until(&["route", "show", "default"], |text| text.contains("proto 202")).await;
    network.node_pings("192.0.2.1");
}

async fn the_lease_is_renewed_by_unicast(server: &mut Dnsmasq) {
    // T1 is 5 s there. A DHCPREQUEST without a DHCPDISCOVER, and its acknowledgement.
    server.until("DHCPREQUEST(eth1)").await;
    server.until("DHCPREQUEST(eth1)").await;
    server.until("DHCPACK(eth1)").await;
    assert_eq!(server.seen("DHCPDISCOVER"), 1);
}

async fn a_pulled_cable_keeps_the_lease(network: &Network, node: &mut Node, server: &mut Dnsmasq) {
    let before = *node.address.borrow();
    network.unplug();
    node.until_link("eth0", |link| !link.carrier).await;
    assert_eq!(node.reason(), "NoCarrier");
    assert!(network.node(&["addr", "show", "dev", "eth0"]).contains("192.0.2."));
    network.plug();
    server.until("DHCPACK(eth1)").await;
    node.until_link("eth0", |link| link.carrier).await;
    assert_eq!(server.seen("DHCPDISCOVER"), 1, "INIT-REBOOT asks for the known address");
    assert_eq!(*node.address.borrow(), before);
}

async fn a_restart_of_the_controller_goes_unnoticed(
    network: &Network,
    node: &mut Node,
    server: &mut Dnsmasq,
) {
    let before = *node.address.borrow();
    node.until_lease_file().await;
    node.stop().await;
    let addresses = network.node(&["-4", "addr", "show", "dev", "eth0"]);
    node.restart();
    let address = node.until_address(|_| true).await;
    assert_eq!(Some(IpAddr::V4(address)), before);
    assert_eq!(network.node(&["-4", "addr", "show", "dev", "eth0"]), addresses);
    assert_eq!(server.seen("DHCPDISCOVER"), 1);
}

async fn what_cannot_be_set_hides_no_address(network: &Network, node: &mut Node) {
    node.stop().await;
    // Reads as a number other than 2, and not even root may write it.
    let sysctl = node.files.path().join("ipv6/eth0/accept_ra");
    fs::create_dir_all(sysctl.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/proc/sys/kernel/cap_last_cap", &sysctl).unwrap();
    node.ipv6 = node.files.path().join("ipv6");
    node.restart();
    node.until_address(|_| true).await;
    assert_eq!(node.reason(), "NotConfigured");
    assert!(network.node(&["route", "show", "default"]).contains("proto 202"));
    node.stop().await;
    node.ipv6 = Sysfs::default().ipv6;
}

async fn an_address_set_by_hand_is_taken_over(network: &Network, node: &mut Node) {
    let Some(IpAddr::V4(address)) = *node.address.borrow() else { panic!("no address") };
    let prefix = format!("{address}/24");
    network.node(&["addr", "del", &prefix, "dev", "eth0"]);
    network.node(&["addr", "add", &prefix, "dev", "eth0"]);
    node.restart();
    node.until_address(|_| true).await;
    let id = format!("eth0/{prefix}");
    node.until_store(&id, |store| {
        let found = store.get(&resource::spec::Address::KIND, &id);
        found.is_some_and(|found| found.spec["source"] == "dhcp")
    })
    .await;
    assert_eq!(node.reason(), "Bound");
}

async fn a_static_address_takes_over_and_dhcp_comes_back(network: &Network, node: &mut Node) {
    let before = *node.address.borrow();
    let mut interface = interface("eth0", "192.0.2.5/24");
    interface.mtu_bytes = Some(1300);
    let resolver =
        Resolver { servers: vec!["192.0.2.9".parse().unwrap()], search: vec!["a.example".to_owned()] };
    let mut config =
        NodeConfig { interfaces: vec![interface], resolver: Some(resolver), ..NodeConfig::default() };
    node.configure(config.clone()).await;
    assert_eq!(*node.address.borrow(), Some([192, 0, 2, 5].into()));
    assert_eq!((node.reason(), node.condition("resolver")), ("Static", "Configured"));
    assert_eq!(node.resolv_conf(), "nameserver 192.0.2.9\nsearch a.example\n");
    let addresses = network.node(&["-4", "addr", "show", "dev", "eth0"]);
    assert!(addresses.contains("192.0.2.5/24") && addresses.contains("mtu 1300"), "{addresses}");
    assert!(!addresses.contains(&format!("{}/", before.unwrap())), "the lease is gone: {addresses}");
    let default = network.node(&["route", "show", "default"]);
    assert_eq!(default.trim(), "default via 192.0.2.1 dev eth0 proto 202 src 192.0.2.5 metric 1024");
    assert_eq!(network.node(&["route", "show", "203.0.113.0/24"]), "", "the server's route is gone");
    assert_eq!(node.until_resource("eth0/192.0.2.5/24").await.source, "static");
    network.node_pings("192.0.2.1");

    // A new process finds what it needs; then the MTU is what it was before all.
    node.stop().await;
    node.restart();
    node.until_address(|address| address.octets() == [192, 0, 2, 5]).await;
    config.interfaces[0].mtu_bytes = None;
    node.configure(config).await;
    assert!(network.node(&["link", "show", "dev", "eth0"]).contains("mtu 1500"));

    node.configure(NodeConfig::default()).await;
    node.until_address(|address| Some(IpAddr::V4(address)) == before).await;
    assert_eq!((node.reason(), node.condition("resolver")), ("Bound", "NotConfigured"));
    assert_eq!(node.resolv_conf(), "nameserver 192.0.2.53\nsearch site.example\n");
    let addresses = network.node(&["-4", "addr", "show", "dev", "eth0"]);
    assert!(!addresses.contains("192.0.2.5/") && addresses.contains("mtu 1400"), "{addresses}");
    assert!(network.node(&["route", "show", "203.0.113.0/24"]).contains("via 192.0.2.9"));
}

/// It has the port's hardware address, so the server knows it.
async fn a_bridge_asks_in_its_ports_place(network: &Network, node: &mut Node) {
    let Some(address) = *node.address.borrow() else { panic!("no address") };
    let port = Interface { name: "eth0".into(), ..Interface::default() };
    let settings = Bridge { spanning_tree: None };
    let device = Device::Bridge { settings, ports: vec!["eth0".into()] };
    let bridge = Interface { name: "br0".into(), device, dhcp: true, ..Interface::default() };
    node.configure(NodeConfig { interfaces: vec![port, bridge], ..NodeConfig::default() }).await;
    let leased = node.until_resource(&format!("br0/{address}/24")).await;
    assert_eq!((leased.source.as_str(), leased.primary), ("dhcp", true));
    node.until_link("eth0", |link| link.master == "br0" && link.origin == "kernel").await;
    node.until_link("br0", |link| link.document == "Bridge/br0" && link.origin == "configuration").await;
    network.node_until(&["route", "show", "default"], |text| text.contains("dev br0 proto 202")).await;
    network.node_pings("192.0.2.1");
    let addresses = network.node(&["addr", "show", "dev", "eth0"]);
    assert!(
        addresses.contains("203.0.113.77/32") && !addresses.contains(&format!("{address}/")),
        "{addresses}"
    );
    node.configure(NodeConfig::default()).await;
    network.node_until(&["route", "show", "default"], |text| text.contains("dev eth0 proto 202")).await;
    node.until_resource(&format!("eth0/{address}/24")).await;
    assert!(!network.node(&["link", "show"]).contains("br0"));
}

/// The node has a lease; the peer answers for its address, and for nothing else.
async fn what_a_change_names_is_asked(node: &Node) {
    let Some(IpAddr::V4(address)) = *node.address.borrow() else { panic!("no address") };
    let with_gateway = |gateway: &str| {
        let gateway = Some(gateway.parse().unwrap());
        let interface = Interface { gateway, ..interface("eth0", &format!("{address}/24")) };
        NodeConfig { interfaces: vec![interface], ..NodeConfig::default() }
    };
    let old = NodeConfig::default();
    assert_eq!(probes::run(&old, &with_gateway("192.0.2.1")).await, Ok(()));
    let mut wrong = with_gateway("192.0.2.77");
    wrong.resolver = Some(Resolver { servers: vec!["192.0.2.78".parse().unwrap()], search: vec![] });
    let mirrors = vec!["http://192.0.2.79:5000".to_owned()];
    wrong.registries = vec![Registry { host: "docker.io".into(), mirrors, credentials: None }];
    let silent = [
        "gateway 192.0.2.77 does not answer on eth0",
        "name server 192.0.2.78 does not answer",
        "mirror 192.0.2.79:5000 of docker.io does not answer",
    ];
    assert_eq!(probes::run(&old, &wrong).await, Err(silent.join("; ")));
}

async fn a_link_that_does_not_exist_is_named(network: &Network, node: &mut Node) {
    let before = *node.address.borrow();
    let interfaces = vec![interface("eth7", "192.0.2.5/24")];
    node.configure(NodeConfig { interfaces, ..NodeConfig::default() }).await;
    let mut conditions = node.health.subscribe();
    // A link may still come for a moment after the start.
    let unhealthy = conditions.wait_for(|conditions| conditions["network"].status == Status::Unhealthy);
    let missing = tokio::time::timeout(DEADLINE, unhealthy).await.unwrap().unwrap()["network"].clone();
    assert_eq!(missing.reason, "LinkMissing");
    assert_eq!(missing.message, "no link is called eth7; there are: eth0");
    assert!(!network.node(&["addr", "show", "dev", "eth0"]).contains("proto 0xca"));
    node.configure(NodeConfig::default()).await;
    node.until_address(|address| Some(IpAddr::V4(address)) == before).await;
    network.node_until(&["route", "show", "default"], |text| text.contains("proto 202")).await;
}

async fn another_network_gives_another_address(network: &Network, node: &mut Node) {
    network.unplug();
    node.until_link("eth0", |link| !link.carrier).await;
    network.plug();
    let address = node.until_address(|address| address.octets()[0] == 198).await;
    let addresses =
        network.node_until(&["addr", "show", "dev", "eth0"], |text| !text.contains("192.0.2.")).await;
    assert!(addresses.contains(&address.to_string()));
    assert!(addresses.contains("203.0.113.77/32"), "not ours: {addresses}");
    assert!(network.node(&["route", "show", "203.0.113.128/25"]).contains("metric 7"));
    let default = network.node(&["route", "show", "default"]);
    assert!(default.contains("198.51.100.1") && default.lines().count() == 1, "{default}");
}

/// A reboot: the kernel knows nothing any more, and no server answers.
async fn an_offline_boot_keeps_the_lease(network: &Network, node: &mut Node) {
    let before = *node.address.borrow();
    node.until_lease_file().await;
    node.stop().await;
    network.node(&["addr", "flush", "dev", "eth0"]);
    network.node(&["link", "set", "eth0", "down"]);
    node.restart();
    let address = node.until_address(|_| true).await;
    assert_eq!(Some(IpAddr::V4(address)), before);
    assert!(network.node(&["route", "show", "default"]).contains("proto 202"));
    assert_eq!(node.reason(), "LeaseUnconfirmed");
}

fn interface(name: &str, address: &str) -> Interface {
    let (address, prefix_length) = address.split_once('/').unwrap();
    Interface {
        name: name.into(),
        addresses: vec![Subnet {
            address: address.parse().unwrap(),
            prefix_length: prefix_length.parse().unwrap(),
        }],
        gateway: Some("192.0.2.1".parse().unwrap()),
        ..Interface::default()
    }
}

/// A controller with what it publishes.
struct Node {
    files: TempDir,
    ipv6: PathBuf,
    store: Store,
    health: Health,
    address: watch::Sender<Option<IpAddr>>,
    config: watch::Sender<Arc<NodeConfig>>,
    settled: Settled,
    task: Option<JoinHandle<()>>,
}

impl Node {
    fn new() -> Self {
        let files = TempDir::new().unwrap();
        // A veth has no device behind it; for the test it is as good as physical.
        fs::create_dir_all(files.path().join("net/eth0/device")).unwrap();
        Self {
            files,
            ipv6: Sysfs::default().ipv6,
            store: Store::default(),
            health: Health::default(),
            address: watch::Sender::new(None),
            config: watch::Sender::default(),
            settled: Settled::default(),
            task: None,
        }
    }

    fn start(&mut self) {
        let environment = Environment {
            store: self.store.clone(),
            health: self.health.clone(),
            address: self.address.clone(),
            time_servers: watch::Sender::default(),
            node: NodeIdentity { node_id: "node".into(), machine_id: String::new() },
            config: Follower::new("network", self.config.subscribe(), self.settled.clone()),
            sysfs: Sysfs {
                links: self.files.path().join("net"),
                ipv6: self.ipv6.clone(),
                ..Sysfs::default()
            },
            leases: self.files.path().join("leases"),
            mtus: self.files.path().join("mtus.json"),
            resolv_conf: self.files.path().join("resolv.conf"),
        };
        self.task = Some(tokio::spawn(Controller::new(environment).run()));
    }

    async fn stop(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    /// As a new process: nothing is known but the files.
    fn restart(&mut self) {
        self.store = Store::default();
        self.health = Health::default();
        self.address = watch::Sender::new(None);
        self.start();
    }

    fn reason(&self) -> &'static str {
        self.condition("network")
    }

    fn condition(&self, wanted: &str) -> &'static str {
        self.health.snapshot().iter().find(|(name, _)| *name == wanted).unwrap().1.reason
    }

    fn resolv_conf(&self) -> String {
        fs::read_to_string(self.files.path().join("resolv.conf")).unwrap()
    }

    /// Another configuration; returns when the controller obeys it.
    async fn configure(&self, config: NodeConfig) {
        let config = Arc::new(config);
        self.config.send_replace(Arc::clone(&config));
        tokio::time::timeout(DEADLINE, self.settled.on(&config)).await.expect("not obeyed");
    }

    async fn until_address(&self, wanted: impl Fn(Ipv4Addr) -> bool) -> Ipv4Addr {
        let mut address = self.address.subscribe();
        let found = address.wait_for(|now| matches!(now, Some(IpAddr::V4(address)) if wanted(*address)));
        match tokio::time::timeout(DEADLINE, found).await.expect("no address").unwrap().unwrap() {
            IpAddr::V4(address) => address,
            IpAddr::V6(address) => panic!("{address}"),
        }
    }

    async fn until_link(&self, name: &str, wanted: impl Fn(&resource::spec::Link) -> bool) {
        self.until_store(name, |store| {
            let found = store.get(&resource::spec::Link::KIND, name);
            found.is_some_and(|found| wanted(&serde_json::from_value(found.spec.clone()).unwrap()))
        })
        .await;
        // The controller reports before it sleeps again.
        tokio::task::yield_now().await;
    }

    async fn until_resource(&self, id: &str) -> resource::spec::Address {
        self.until_store(id, |store| store.get(&resource::spec::Address::KIND, id).is_some()).await;
        let found = self
            .store
            .read(|store| store.get(&resource::spec::Address::KIND, id).map(|found| found.spec.clone()));
        serde_json::from_value(found.unwrap()).unwrap()
    }

    async fn until_store(&self, what: &str, wanted: impl Fn(&resource::Store) -> bool) {
        let mut changes = self.store.subscribe();
        let found = changes.wait_for(|_| self.store.read(&wanted));
        tokio::time::timeout(DEADLINE, found)
            .await
            .unwrap_or_else(|_| panic!("{what} does not come"))
            .unwrap();
    }

    /// The writer has no one to tell; the file appears.
    async fn until_lease_file(&self) {
        let directory = self.files.path().join("leases");
        let Some(IpAddr::V4(address)) = *self.address.borrow() else { panic!("no address") };
        peer::until("the lease file", || {
            let entry = fs::read_dir(&directory).ok()?.flatten().find(|entry| is_json(&entry.path()))?;
            fs::read_to_string(entry.path()).ok().filter(|text| text.contains(&address.to_string()))
        })
        .await;
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

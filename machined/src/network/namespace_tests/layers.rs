//! Links in layers on the real kernel: random networks one after the other, each as it should be before the next.
//!
//! `CAIRN_SEED` gives the first network, `CAIRN_NETWORKS` how many; the kernel may lack VLANs, bonds or dummies, which
//! are then left out.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use netplan::random::{self, Makes, Random};
use netplan::{Desired, Observed, Operation, Origin, Prefix, plan};
use tempfile::TempDir;

use super::peer::{enter, missing_for_namespaces, namespace, run};
use crate::network::error::NetworkError;
use crate::network::execute::execute;
use crate::network::monitor::Monitor;
use crate::network::netlink::Netlink;
use crate::network::sysfs::Sysfs;

const HARDWARE: [&str; 4] = ["eth0", "eth1", "eth2", "eth3"];
/// In seconds with a debug build.
const NETWORKS: u64 = 50;
/// Rounds from anything to anything (crates/netplan).
const ROUNDS_MAX: usize = 2;

#[test]
fn every_network_is_as_it_should_be_before_the_next() {
    in_a_namespace("random", |lab| async move {
        let makes = lab.makes();
        let first = number("CAIRN_SEED", 0);
        let (mut operations, mut second_rounds, mut kept) = (0, 0, 0);
        let mut desired = Vec::new();
        for seed in first..first + number("CAIRN_NETWORKS", NETWORKS) {
            desired = random::next(&mut Random::new(seed), &desired, &HARDWARE, makes);
            let done = lab.settle(&desired).await;
            let done = done.unwrap_or_else(|failure| panic!("CAIRN_SEED={seed}: {failure}\nfor {desired:?}"));
            operations += done.operations;
            kept += done.kept;
            second_rounds += usize::from(done.rounds > 1);
            lab.others_are_untouched(seed);
        }
        assert!(kept > 0, "no address was to be kept");
        lab.settle(&[]).await.unwrap();
        // Not println!, which is hidden when a test passes.
        let said = format!(
            "{operations} operations, {second_rounds} second rounds, {kept} addresses kept; the kernel makes {makes:?}"
        );
        let _ = writeln!(std::io::stderr(), "random networks: {said}");
    });
}

#[test]
fn links_that_go_midway_come_back() {
    in_a_namespace("midway", |lab| async move {
        let makes = lab.makes();
        for seed in 1000..1010 {
            let desired = random::desired(&mut Random::new(seed), &HARDWARE, makes);
            let planned = plan(&lab.observe().await, &desired).operations;
            let (first, rest) = planned.split_at(planned.len() / 2);
            for operation in first {
                lab.execute(operation).await.unwrap();
            }
            for link in lab.observe().await.links.iter().filter(|link| link.ours) {
                // One goes with another.
                let _ = Command::new("ip").args(["-n", &lab.namespace, "link", "del", &link.name]).status();
            }
            for operation in rest {
                // What stood on a link that went fails, and nothing else matters now.
                let _ = lab.execute(operation).await;
            }
            let settled = lab.settle(&desired).await;
            settled.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        }
    });
}

#[test]
fn links_that_nobody_knows_are_seen_and_left_alone() {
    in_a_namespace("strange", |lab| async move {
        let strange = ["macvlan", "vxlan", "ifb", "nlmon", "vcan", "ipip", "gre", "sit", "geneve", "vrf"];
        for (number, kind) in strange.iter().enumerate() {
            let name = format!("strange{number}");
            let mut arguments = vec!["-n", &lab.namespace, "link", "add", &name];
            match *kind {
                "macvlan" => arguments.extend(["link", "eth3", "type", "macvlan"]),
                "vxlan" => arguments.extend(["type", "vxlan", "id", "7", "dstport", "4789"]),
                "geneve" => arguments.extend(["type", "geneve", "id", "7", "remote", "192.0.2.9"]),
                "ipip" | "gre" | "sit" => {
                    arguments.extend(["type", kind, "local", "192.0.2.8", "remote", "192.0.2.9"]);
                }
                "vrf" => arguments.extend(["type", "vrf", "table", "77"]),
                kind => arguments.extend(["type", kind]),
            }
            // Not every kernel has every kind.
            let _ = Command::new("ip").args(&arguments).stderr(Stdio::null()).status();
        }
        let names = run(&["-n", &lab.namespace, "-br", "link", "show"]);
        let observed = lab.observe().await;
        assert_eq!(observed.links.len(), names.lines().count(), "{names}");
        assert!(observed.links.iter().filter(|link| link.name.starts_with("strange")).count() > 1, "{names}");
        lab.settle(&random::desired(&mut Random::new(7), &HARDWARE, lab.makes())).await.unwrap();
        lab.settle(&[]).await.unwrap();
        assert_eq!(
            run(&["-n", &lab.namespace, "-br", "link", "show"]).lines().count(),
            names.lines().count()
        );
    });
}

#[test]
fn changes_that_do_not_fit_into_the_buffer_are_changes() {
    in_a_namespace("overrun", |lab| async move {
        let monitor = Monitor::open().unwrap();
        monitor.shrink().unwrap();
        for _ in 0..64 {
            run(&["-n", &lab.namespace, "link", "set", "eth0", "up"]);
            run(&["-n", &lab.namespace, "link", "set", "eth0", "down"]);
        }
        monitor.changed().await.unwrap();
        lab.settle(&[]).await.unwrap();
        assert!(lab.observe().await.link("eth0").unwrap().up);
    });
}

/// How it came about that all is as it should be.
struct Done {
    rounds: usize,
    operations: usize,
    /// Addresses that were looked for after each operation.
    kept: usize,
}

/// A namespace with four cables, and things of others.
struct Lab {
    namespace: String,
    netlink: Netlink,
    sysfs: Sysfs,
    _files: TempDir,
}

impl Lab {
    fn open(namespace: &str) -> Self {
        let files = TempDir::new().unwrap();
        for name in HARDWARE {
            // A veth has no device behind it; for the test it is as good as physical.
            fs::create_dir_all(files.path().join("net").join(name).join("device")).unwrap();
        }
        let sysfs = Sysfs { links: files.path().join("net"), ..Sysfs::default() };
        Self { namespace: namespace.to_owned(), netlink: Netlink::connect().unwrap(), sysfs, _files: files }
    }

    /// What the kernel can make, by trying.
    fn makes(&self) -> Makes {
        let can = |arguments: &[&str]| {
            let arguments = [&["-n", &self.namespace, "link", "add"], arguments].concat();
            let made = Command::new("ip").args(arguments).stderr(Stdio::null()).status().unwrap().success();
            if made {
                run(&["-n", &self.namespace, "link", "del", "probe"]);
            }
            made
        };
        Makes {
            vlans: can(&["link", "eth0", "name", "probe", "type", "vlan", "id", "1"]),
            bonds: can(&["probe", "type", "bond"]),
            dummies: can(&["probe", "type", "dummy"]),
        }
    }

    async fn observe(&self) -> Observed {
        self.netlink.observe(&self.sysfs).await.unwrap().0
    }

    async fn execute(&self, operation: &Operation) -> Result<(), NetworkError> {
        execute(&self.netlink, &self.sysfs, operation).await
    }

    /// Plans and acts until nothing is left to do.
    async fn settle(&self, desired: &[Desired]) -> Result<Done, String> {
        let mut done = Done { rounds: 0, operations: 0, kept: 0 };
        loop {
            let observed = self.observe().await;
            let planned = plan(&observed, desired);
            if !planned.problems.is_empty() {
                return Err(format!("{:?}", planned.problems));
            }
            let listed = planned.operations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            if planned.operations.is_empty() {
                return random::difference(&observed, desired).map_or(Ok(done), Err);
            }
            if done.rounds == ROUNDS_MAX {
                return Err(format!("left to do after {ROUNDS_MAX} rounds:\n{listed}"));
            }
            done.rounds += 1;
            done.operations += planned.operations.len();
            let kept = random::kept(&observed, desired, &planned.operations);
            done.kept += kept.len();
            for operation in &planned.operations {
                if let Err(error) = self.execute(operation).await {
                    let cause = std::error::Error::source(&error);
                    return Err(format!("{error}: {cause:?} in\n{listed}"));
                }
                self.still_has(&kept)
                    .await
                    .map_err(|gone| format!("{gone} after {operation} of\n{listed}"))?;
            }
        }
    }

    async fn still_has(&self, kept: &[(String, Prefix)]) -> Result<(), String> {
        if kept.is_empty() {
            return Ok(());
        }
        let observed = self.observe().await;
        let has = |link: &str, prefix: Prefix| {
            let index = observed.link(link).map(|link| link.index);
            observed.addresses.iter().any(|seen| (Some(seen.link), seen.prefix) == (index, prefix))
        };
        let gone = kept.iter().find(|(link, prefix)| !has(link, *prefix));
        gone.map_or(Ok(()), |(link, prefix)| Err(format!("{prefix} is away from {link}")))
    }

    fn others_are_untouched(&self, seed: u64) {
        let show = |arguments: &[&str]| run(&[&["-n", &self.namespace], arguments].concat());
        let addresses = show(&["addr", "show", "dev", "cni0"]);
        assert!(addresses.contains("10.244.0.1/24"), "seed {seed}: {addresses}");
        assert!(show(&["link", "show", "dev", "pod0"]).contains("master cni0"), "seed {seed}");
        let routes = show(&["route", "show", "proto", "static"]);
        assert!(routes.contains("10.244.9.0/24") && routes.contains("metric 7"), "seed {seed}: {routes}");
        assert!(show(&["addr", "show", "dev", "eth0"]).contains("203.0.113.77/32"), "seed {seed}");
    }
}

/// Runs in a namespace of its own, entered by a thread of its own.
fn in_a_namespace<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Lab) -> F + Send) {
    if let Some(lacks) = missing_for_namespaces() {
        let _ = writeln!(std::io::stderr(), "skipped, in a namespace ({name}): {lacks}");
        return;
    }
    let namespace = namespace(name);
    let own = Namespace::new(&namespace);
    let result = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                enter(&namespace);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async { test(Lab::open(&namespace)).await });
            })
            .join()
    });
    drop(own);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

struct Namespace(String);

impl Namespace {
    fn new(name: &str) -> Self {
        let own = Self(name.to_owned());
        run(&["netns", "add", name]);
        let ip = |arguments: &[&str]| run(&[&["-n", name], arguments].concat());
        for (number, link) in HARDWARE.iter().enumerate() {
            let peer = format!("switch{number}");
            ip(&["link", "add", link, "type", "veth", "peer", "name", &peer]);
            ip(&["link", "set", &peer, "up"]);
        }
        ip(&["link", "add", "cni0", "type", "bridge"]);
        ip(&["link", "add", "pod0", "type", "veth", "peer", "name", "inside"]);
        ip(&["link", "set", "pod0", "master", "cni0", "up"]);
        ip(&["link", "set", "cni0", "up"]);
        ip(&["addr", "add", "10.244.0.1/24", "dev", "cni0"]);
        ip(&["addr", "add", "203.0.113.77/32", "dev", "eth0"]);
        ip(&["route", "add", "10.244.9.0/24", "dev", "cni0", "metric", "7", "proto", "static"]);
        own
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn marks_survive_being_read_back() {
    in_a_namespace("marks", |lab| async move {
        let makes = lab.makes();
        let desired = random::desired(&mut Random::new(3), &HARDWARE, makes);
        lab.settle(&desired).await.unwrap();
        // Another process, which knows nothing but what the kernel says.
        let (observed, _) = Netlink::connect().unwrap().observe(&lab.sysfs).await.unwrap();
        assert_eq!(plan(&observed, &desired).operations, []);
        let foreign = observed.addresses.iter().filter(|seen| seen.origin == Origin::Foreign);
        let foreign: Vec<String> = foreign.map(|seen| seen.prefix.to_string()).collect();
        assert!(foreign.iter().any(|prefix| prefix == "203.0.113.77/32"), "{foreign:?}");
        assert!(foreign.iter().any(|prefix| prefix == "10.244.0.1/24"), "{foreign:?}");
    });
}

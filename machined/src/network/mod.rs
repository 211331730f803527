//! The network: links come up and get the addresses that the configuration says; without a word of it, the first link
//! with carrier gets a DHCPv4 lease. All is published.
//!
//! `controller.rs` is the loop. It observes (`netlink.rs`, `sysfs.rs`; `monitor.rs` tells when to look again), decides
//! (`intent.rs`, `desired.rs`, `condition.rs`, and the crates `netplan` and `dhcp`) and acts (`execute.rs`,
//! `uplinks.rs`). It never touches links, addresses and routes without our mark, and sleeps until the kernel, a server
//! or a timer calls.

pub mod arp;
mod condition;
mod controller;
mod datagram;
mod desired;
mod dhcp_socket;
mod error;
mod execute;
mod intent;
mod lease_store;
mod link_kind;
mod monitor;
mod mtu_store;
mod netlink;
mod publish;
mod raw_socket;
mod resolv;
mod seen;
mod sysfs;
mod uplink;
mod uplinks;

#[cfg(test)]
mod namespace_tests;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use crate::context::{Context, NodeIdentity};
use crate::follow::{Follower, Settled};
use crate::health::Health;
use crate::store::Store;
use controller::Controller;
use sysfs::Sysfs;

/// What the network controller touches.
struct Environment {
    store: Store,
    health: Health,
    address: watch::Sender<Option<IpAddr>>,
    time_servers: watch::Sender<Vec<Ipv4Addr>>,
    node: NodeIdentity,
    config: Follower,
    sysfs: Sysfs,
    leases: PathBuf,
    mtus: PathBuf,
    resolv_conf: PathBuf,
}

/// Runs for ever.
pub async fn run(context: Arc<Context>) {
    let environment = Environment::of_node(
        context.store.clone(),
        context.health.clone(),
        (context.address.clone(), context.time_servers.clone()),
        context.node.clone(),
        context.follower("network"),
    );
    Controller::new(environment).run().await;
}

/// Runs for ever on a node without configuration: as if it had an empty one. Who has one later takes over what this did.
pub async fn run_unconfigured(
    node: NodeIdentity,
    store: Store,
    health: Health,
    address: watch::Sender<Option<IpAddr>>,
) {
    let (_keep, config) = watch::channel(Arc::default());
    let config = Follower::new("network", config, Settled::default());
    Controller::new(Environment::of_node(store, health, (address, watch::Sender::default()), node, config))
        .run()
        .await;
}

impl Environment {
    fn of_node(
        store: Store,
        health: Health,
        (address, time_servers): (watch::Sender<Option<IpAddr>>, watch::Sender<Vec<Ipv4Addr>>),
        node: NodeIdentity,
        config: Follower,
    ) -> Self {
        Self {
            store,
            health,
            address,
            time_servers,
            node,
            config,
            sysfs: Sysfs::default(),
            leases: Path::new(layout::path::STATE).join("network/leases"),
            mtus: Path::new(layout::path::RUN).join("former-mtus.json"),
            resolv_conf: Path::new(layout::path::RUN_ETC).join("resolv.conf"),
        }
    }
}

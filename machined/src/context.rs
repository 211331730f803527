//! What every controller shares.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use config::NodeConfig;
use tokio::sync::watch;

use crate::{
    configuration::Handle,
    control_client::Control,
    follow::{Follower, Settled},
    health::Health,
    identity::Identity,
    logs,
    release::Release,
    store::Store,
    update,
};

/// Characters of the node id in a host name that is made from it.
const SHORT_ID_LENGTH: usize = 8;

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// 128 random bits in hex; made once.
    pub node_id: String,
    /// Content of /etc/machine-id.
    pub machine_id: String,
}

impl NodeIdentity {
    /// The host name, from the configuration or `cairn-<start of node id>`.
    pub fn hostname(&self, config: &NodeConfig) -> String {
        let short = || self.node_id.chars().take(SHORT_ID_LENGTH).collect::<String>();
        config.hostname.clone().unwrap_or_else(|| format!("cairn-{}", short()))
    }
}

/// Shared by all controllers and the API.
pub struct Context {
    /// Resources.
    pub store: Store,
    /// PID 1.
    pub control: Control,
    /// The configuration this node runs. It changes: who acts on it takes a [`Context::follower`].
    pub config: watch::Receiver<Arc<NodeConfig>>,
    /// Its generations, and changes of them.
    pub generations: Handle,
    /// Releases of the OS, and requests for them.
    pub updates: update::Handle,
    /// Which configuration the followers obey.
    pub settled: Settled,
    /// The running release.
    pub release: Release,
    /// The running slot, "A" or "B"; empty when the firmware does not say.
    pub slot: &'static str,
    /// Who this node is.
    pub node: NodeIdentity,
    /// Its key and certificate.
    pub identity: Arc<Identity>,
    /// Whether DATA is mounted.
    pub data_ready: watch::Receiver<bool>,
    /// The node's primary address, published by the network controller.
    pub address: watch::Sender<Option<IpAddr>>,
    /// Time servers that DHCP names, published by the network controller.
    pub time_servers: watch::Sender<Vec<Ipv4Addr>>,
    /// Conditions.
    pub health: Health,
    /// Logs of this boot and of earlier ones.
    pub logs: logs::Handle,
}

impl Context {
    /// A controller's view of the configuration, under a name of its own.
    pub fn follower(&self, name: &'static str) -> Follower {
        Follower::new(name, self.config.clone(), self.settled.clone())
    }

    /// Where to look for the API of the node, which has this address among others.
    pub fn api_address(&self, primary: IpAddr) -> IpAddr {
        served_at(&self.identity.addresses(&self.config.borrow()), primary)
    }

    /// The present host name.
    pub fn hostname(&self) -> String {
        self.node.hostname(&self.config.borrow())
    }
}

/// Of these addresses, or of all when there are none, the one to name.
fn served_at(addresses: &BTreeSet<IpAddr>, primary: IpAddr) -> IpAddr {
    match addresses.first() {
        Some(first) if !addresses.contains(&primary) => *first,
        Some(_) | None => primary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_where_the_api_is_not_served() {
        let [primary, other, third] =
            ["192.0.2.17", "198.51.100.4", "203.0.113.9"].map(|ip| ip.parse().unwrap());
        assert_eq!(served_at(&[].into(), primary), primary);
        assert_eq!(served_at(&[other, primary].into(), primary), primary);
        assert_eq!(served_at(&[third, other].into(), primary), other);
    }
}

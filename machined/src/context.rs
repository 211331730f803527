//! What every controller shares.

use std::{net::IpAddr, sync::Arc};

use config::NodeConfig;
use tokio::sync::watch;

use crate::{
    configuration::Handle,
    control_client::Control,
    follow::{Follower, Settled},
    health::Health,
    identity::Identity,
    release::Release,
    store::Store,
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
    /// Conditions.
    pub health: Health,
}

impl Context {
    /// A controller's view of the configuration, under a name of its own.
    pub fn follower(&self, name: &'static str) -> Follower {
        Follower::new(name, self.config.clone(), self.settled.clone())
    }

    /// The present host name.
    pub fn hostname(&self) -> String {
        self.node.hostname(&self.config.borrow())
    }
}

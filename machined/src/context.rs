//! What every controller shares.

use std::{net::IpAddr, sync::Arc};

use tokio::sync::watch;

use crate::{control_client::Control, health::Health, identity::Identity, release::Release, store::Store};

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// 128 random bits in hex; made once.
    pub node_id: String,
    /// Host name, from configuration or `cairn-<start of node id>`.
    pub hostname: String,
    /// Content of /etc/machine-id.
    pub machine_id: String,
}

/// Shared by all controllers and the API.
pub struct Context {
    /// Resources.
    pub store: Store,
    /// PID 1.
    pub control: Control,
    /// The configuration this node runs.
    pub config: config::NodeConfig,
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

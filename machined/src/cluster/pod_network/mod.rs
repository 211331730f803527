//! The pod network across nodes: CNI's configuration with the addresses that the cluster gave to this node, a route to
//! the pods of each other node, over that node's address, and masquerading for what leaves the cluster.
//!
//! `plan.rs` is pure. Start reading at [`run`].

mod plan;
mod routes;

use std::{collections::BTreeMap, fs, io, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use config::PodNetwork;
use netplan::Prefix;
use tokio::time::sleep;

use self::{
    plan::{Wanted, changes},
    routes::{RouteError, Routes},
};
use super::client::{Client, ClientError};
use crate::{
    context::Context,
    error_chain::error_chain,
    files,
    firewall::nft::{self, NftError},
    health::Status,
    kubernetes::{POD_BRIDGE, PrepareError, membership, pod_network},
};

const CONDITION: &str = "pod-network";
/// Between looks at the cluster's nodes.
const LOOK: Duration = Duration::from_secs(20);
/// After a failure, and until the node has addresses for its pods.
const RETRY: Duration = Duration::from_secs(3);

/// What the cluster said last, for a boot while no API server answers.
const KEPT: &str = "/var/lib/kubelet/pod-network.json";

#[derive(Debug, thiserror::Error)]
enum PodNetworkError {
    #[error("the cluster's nodes are not known")]
    Nodes(#[from] ClientError),
    #[error(transparent)]
    Routes(#[from] RouteError),
    #[error("pods are not masqueraded")]
    Masquerading(#[from] NftError),
    #[error("pods are not connected")]
    Cni(#[from] PrepareError),
    #[error("cannot keep {KEPT}")]
    Keep(#[source] io::Error),
}

/// Runs for ever; on a node without a cluster, or whose cluster brings its own network, it does nothing.
pub async fn run(context: Arc<Context>) {
    let config = Arc::clone(&context.config.borrow());
    let Some(cluster) = config.cluster.as_ref().filter(|cluster| cluster.pod_network == PodNetwork::Cairn)
    else {
        return;
    };
    let hostname = context.node.hostname(&config);
    let message = "waiting for the cluster to give the node addresses for its pods";
    context.health.set(CONDITION, Status::Progressing, "WaitingForAddresses", message);
    let mut data_ready = context.data_ready.clone();
    if data_ready.wait_for(|ready| *ready).await.is_err() {
        // The sender ends only with the process.
        return;
    }
    let mut network = Network { membership: membership(&hostname, cluster), made: Wanted::default() };
    let mut wanted = network.kept();
    if wanted.is_none() {
        super::member_certificate().await;
    }
    loop {
        let period = match &wanted {
            Some(wanted) => report(&context, network.bring_about(wanted).await),
            None => RETRY,
        };
        match nodes(&hostname).await {
            Ok(told) if !told.own.is_empty() && wanted.as_ref() != Some(&told) => {
                wanted = Some(told);
                continue;
            }
            Ok(_) => {}
            // What is there stays: other nodes move less often than API servers are away.
            Err(error) => tracing::debug!(error = error_chain(&error), "the cluster's nodes are not known"),
        }
        sleep(period).await;
    }
}

/// Tells how it went, and when to look again.
fn report(context: &Context, connected: Result<(), PodNetworkError>) -> Duration {
    match connected {
        Ok(()) => {
            context.health.set(CONDITION, Status::Healthy, "Connected", "");
            LOOK
        }
        Err(error) => {
            context.health.set(CONDITION, Status::Unhealthy, "NotConnected", error_chain(&error));
            RETRY
        }
    }
}

/// What the cluster says.
async fn nodes(hostname: &str) -> Result<Wanted, PodNetworkError> {
    let client: Client = super::as_kubelet()?;
    Ok(Wanted::of(&client.get("/api/v1/nodes").await?, hostname))
}

struct Network {
    membership: String,
    /// What the kernel and containerd were told.
    made: Wanted,
}

impl Network {
    fn kept(&self) -> Option<Wanted> {
        let text = fs::read(KEPT).ok()?;
        Wanted::from_json(&serde_json::from_slice(&text).ok()?, &self.membership)
    }

    /// Brings the CNI configuration, routes and masquerading to what the cluster says, and keeps that.
    async fn bring_about(&mut self, wanted: &Wanted) -> Result<(), PodNetworkError> {
        if self.made != *wanted {
            if let Some(own) = wanted.own.first() {
                pod_network(&own.to_string(), false)?;
            }
            nft::apply(&wanted.masquerading(POD_BRIDGE)).await?;
            let kept = wanted.to_json(&self.membership).to_string();
            files::replace(Path::new(KEPT), kept.as_bytes(), 0o600).map_err(PodNetworkError::Keep)?;
            self.made = wanted.clone();
        }
        let routes = Routes::open()?;
        let known: BTreeMap<Prefix, Ipv4Addr> = routes.list().await?;
        let (made, removed) = changes(&known, &wanted.routes);
        for (network, gateway) in removed {
            routes.remove(network, gateway).await?;
        }
        for (network, gateway) in made {
            tracing::info!(%network, %gateway, "pods of another node");
            routes.add(network, gateway).await?;
        }
        Ok(())
    }
}

//! The pod network across nodes: a route to the pods of each other node of the cluster, over that node's address, and
//! masquerading for what leaves the cluster. The bridge and its addresses are CNI's.
//!
//! `plan.rs` is pure. Start reading at [`run`].

mod plan;
mod routes;

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

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
    firewall::nft::{self, NftError},
    health::Status,
    kubernetes::POD_BRIDGE,
};

const CONDITION: &str = "pod-network";
/// Between looks at the cluster's nodes.
const LOOK: Duration = Duration::from_secs(20);
/// After a failure, and until the node has addresses for its pods.
const RETRY: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
enum PodNetworkError {
    #[error("the cluster's nodes are not known")]
    Nodes(#[from] ClientError),
    #[error(transparent)]
    Routes(#[from] RouteError),
    #[error("pods are not masqueraded")]
    Masquerading(#[from] NftError),
}

/// Runs for ever; on a node without a cluster, or whose cluster brings its own network, it does nothing.
pub async fn run(context: Arc<Context>) {
    let config = Arc::clone(&context.config.borrow());
    if !config.cluster.as_ref().is_some_and(|cluster| cluster.pod_network == PodNetwork::Cairn) {
        return;
    }
    let hostname = context.node.hostname(&config);
    let message = "waiting for the cluster to give the node addresses for its pods";
    context.health.set(CONDITION, Status::Progressing, "WaitingForAddresses", message);
    super::member_certificate().await;
    let mut script = String::new();
    loop {
        let period = match step(&hostname, &mut script).await {
            Ok(wanted) if wanted.own.is_empty() => {
                context.health.set(CONDITION, Status::Progressing, "WaitingForAddresses", message);
                RETRY
            }
            Ok(_) => {
                context.health.set(CONDITION, Status::Healthy, "Connected", "");
                LOOK
            }
            // What is there stays: other nodes move less often than API servers are away.
            Err(PodNetworkError::Nodes(error)) => {
                tracing::debug!(error = error_chain(&error), "the cluster's nodes are not known");
                RETRY
            }
            Err(error) => {
                context.health.set(CONDITION, Status::Unhealthy, "NotConnected", error_chain(&error));
                RETRY
            }
        };
        sleep(period).await;
    }
}

/// Brings routes and masquerading to what the cluster says.
async fn step(hostname: &str, script: &mut String) -> Result<Wanted, PodNetworkError> {
    let client: Client = super::as_kubelet()?;
    let wanted = Wanted::of(&client.get("/api/v1/nodes").await?, hostname);
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
    let masquerading = wanted.masquerading(POD_BRIDGE);
    if *script != masquerading {
        nft::apply(&masquerading).await?;
        *script = masquerading;
    }
    Ok(wanted)
}

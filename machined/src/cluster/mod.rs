//! Clusters: serving one from this node, and reaching the API servers of the one that the node belongs to.
//!
//! What makes the kubelet a member is in `kubernetes/member.rs`. Start reading at [`run`].

mod balancer;
mod client;
mod control_plane;
mod manifests;
mod proxy;

use std::sync::Arc;

pub use balancer::CONDITION as API_SERVERS;
pub use manifests::{ADMINS, CONDITION as MANIFESTS};

use crate::context::Context;

/// Runs for ever.
pub async fn run(context: Arc<Context>) {
    tokio::join!(
        balancer::run(Arc::clone(&context)),
        control_plane::run(Arc::clone(&context)),
        manifests::run(Arc::clone(&context)),
        proxy::run(context),
    );
}

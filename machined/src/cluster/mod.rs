//! Clusters: serving one from this node, and reaching the API servers of the one that the node belongs to.
//!
//! What makes the kubelet a member is in `kubernetes/member.rs`. Start reading at [`run`].

mod balancer;
mod client;
mod control_plane;
mod drain;
mod manifests;
mod pod_network;
mod proxy;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use balancer::CONDITION as API_SERVERS;
pub use drain::Member;
pub use manifests::{ADMINS, CONDITION as MANIFESTS};

use layout::path;
use tokio::{sync::watch, time::sleep};

use self::client::{Client, ClientError, Identity};
use crate::{context::Context, kubernetes};

/// Between looks for the kubelet's certificate.
const RETRY: Duration = Duration::from_secs(1);

/// Runs for ever.
pub async fn run(context: Arc<Context>) {
    let (ready, is_ready) = watch::channel(false);
    tokio::join!(
        balancer::run(Arc::clone(&context)),
        control_plane::run(Arc::clone(&context), ready),
        manifests::run(Arc::clone(&context), is_ready),
        pod_network::run(Arc::clone(&context)),
        proxy::run(Arc::clone(&context)),
        drain::come_back(&context),
    );
}

/// Certificate and key that the cluster gave to the kubelet, in one file.
fn kubelet_certificate() -> PathBuf {
    Path::new(path::KUBELET_CERTIFICATES).join("kubelet-client-current.pem")
}

/// Waits until the cluster has given the kubelet a certificate.
async fn member_certificate() {
    while !(kubelet_certificate().exists() && Path::new(path::KUBELET_KUBECONFIG).exists()) {
        sleep(RETRY).await;
    }
}

/// A client that is to the cluster what the kubelet is.
fn as_kubelet() -> Result<Client, ClientError> {
    let file = kubelet_certificate();
    let identity = Identity { certificate: file.clone(), key: file };
    Client::new(&kubernetes::cluster_server(), Path::new(path::CLUSTER_CAS), &identity)
}

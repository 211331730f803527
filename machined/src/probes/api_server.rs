//! Whether a cluster takes the node in: asked before a change is accepted that makes it a member, since afterwards the
//! node has another cluster, or none.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use config::{ApiEndpoint, Cluster, NodeConfig};
use reqwest::{Client, StatusCode, redirect};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde::Deserialize;
use tokio::{net::lookup_host, time::timeout};
use update::KubernetesVersion;

use crate::error_chain::error_chain;

/// For the answer of one API server, name resolution included.
const WITHIN: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read.
const ANSWER_MAX_BYTES: usize = 64 << 10;
/// How many minor versions an API server may be ahead of a kubelet (kubernetes.io, Version Skew Policy).
const AHEAD_MAX: u32 = 3;

/// What an API server says of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: String,
}

/// Says why the node could not become the member that the new configuration makes it; `None` when nothing is known
/// against it. A node that serves its cluster itself asks nobody.
pub async fn refusal(old: &NodeConfig, new: &NodeConfig, kubelet: &str) -> Option<String> {
    let cluster = new.cluster.as_ref().filter(|_| new.control_plane.is_none())?;
    let unchanged = |known: &Cluster| {
        known.certificate_authorities == cluster.certificate_authorities
            && known.bootstrap_token == cluster.bootstrap_token
            && cluster.endpoints.iter().any(|endpoint| known.endpoints.contains(endpoint))
    };
    if old.cluster.as_ref().is_some_and(unchanged) {
        return None;
    }
    let client_of = match roots(cluster) {
        Ok(roots) => move |address| client(roots.clone(), address),
        Err(why) => return Some(why),
    };
    let mut silent = Vec::new();
    for endpoint in &cluster.endpoints {
        let asked = timeout(WITHIN, ask(endpoint, cluster, &client_of)).await;
        match asked
            .unwrap_or_else(|_| Err(Failure::Silent(format!("no answer within {} s", WITHIN.as_secs()))))
        {
            Ok(version) => return skew(endpoint, &version, kubelet),
            Err(Failure::Refused(why)) => return Some(why),
            Err(Failure::Silent(why)) => silent.push(format!("{endpoint} ({why})")),
        }
    }
    Some(format!("no API server of the cluster answers: {}", silent.join(", ")))
}

enum Failure {
    /// Another one may do better.
    Silent(String),
    /// All would say the same.
    Refused(String),
}

async fn ask(
    endpoint: &ApiEndpoint,
    cluster: &Cluster,
    client_of: &impl Fn(SocketAddr) -> Result<Client, String>,
) -> Result<String, Failure> {
    let silent = |error: &(dyn std::error::Error + 'static)| Failure::Silent(error_chain(error));
    let mut addresses =
        lookup_host((endpoint.host.as_str(), endpoint.port)).await.map_err(|error| silent(&error))?;
    let address = addresses.next().ok_or_else(|| Failure::Silent("its name has no address".into()))?;
    let client = client_of(address).map_err(Failure::Refused)?;
    let url = format!("https://{}:{}/version", layout::CLUSTER_API_NAME, address.port());
    let token = format!("{}.{}", cluster.bootstrap_token.id, cluster.bootstrap_token.secret);
    let mut answer = client.get(url).bearer_auth(token).send().await.map_err(|error| silent(&error))?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => {
            return Err(Failure::Refused(format!(
                "API server {endpoint} does not accept Cluster.bootstrapToken: make a new one in the cluster"
            )));
        }
        status => return Err(Failure::Silent(format!("it answers {status}"))),
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| silent(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX_BYTES {
            return Err(Failure::Silent("its answer is no version of an API server".into()));
        }
    }
    let version: Version = serde_json::from_slice(&body).map_err(|error| silent(&error))?;
    Ok(version.git_version)
}

/// Whom the node is to believe, and nobody else.
fn roots(cluster: &Cluster) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (index, pem) in cluster.certificate_authorities.iter().enumerate() {
        let refused = |why: String| format!("Cluster.certificateAuthorities[{index}] is of no use: {why}");
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    Ok(roots)
}

/// A client that finds the API server at this address, under the name that its certificate must hold.
fn client(roots: RootCertStore, address: SocketAddr) -> Result<Client, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error_chain(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .resolve(layout::CLUSTER_API_NAME, address)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .build();
    client.map_err(|error| error_chain(&error))
}

/// What stands between an API server's version and the node's kubelet.
fn skew(endpoint: &ApiEndpoint, server: &str, kubelet: &str) -> Option<String> {
    // Distributions add to it: v1.37.2+k3s1, v1.37.2-gke.100.
    let plain = server.trim_start_matches('v');
    let plain = plain.split(['+', '-']).next().unwrap_or_default();
    let Some(version) = KubernetesVersion::new(plain) else {
        return Some(format!("API server {endpoint} says that its version is {server:?}, which is none"));
    };
    let own = KubernetesVersion::new(kubelet)?;
    if (version.major, version.minor) < (own.major, own.minor) {
        return Some(format!(
            "API server {endpoint} has Kubernetes {version}, which is older than this release's kubelet, {own}: upgrade \
             the cluster first"
        ));
    }
    if version.major > own.major || version.minor > own.minor.saturating_add(AHEAD_MAX) {
        return Some(format!(
            "API server {endpoint} has Kubernetes {version}, which is more than {AHEAD_MAX} minor versions ahead of this \
             release's kubelet, {own}: upgrade the node first"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelet_is_never_newer_and_at_most_three_minors_older() {
        let endpoint = ApiEndpoint { host: "192.0.2.10".into(), port: 6443 };
        let refused = |server: &str| skew(&endpoint, server, "1.37.2");
        for fine in ["v1.37.0", "v1.37.9+k3s1", "v1.40.2-gke.1"] {
            assert_eq!(refused(fine), None, "{fine}");
        }
        for (server, why) in [
            ("v1.36.9", "older than this release's kubelet"),
            ("v1.41.0", "upgrade the node first"),
            ("v2.0.0", "upgrade the node first"),
            ("latest", "which is none"),
        ] {
            assert!(refused(server).unwrap().contains(why), "{server}");
        }
    }
}

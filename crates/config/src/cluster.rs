//! Clusters: how a node joins one, and how it is one itself.

use std::{fmt, net::IpAddr};

use netplan::Prefix;
use serde_json::Value;

/// A Kubernetes cluster that the node belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its API servers; on a control plane, those besides its own.
    pub endpoints: Vec<ApiEndpoint>,
    /// Its CAs, each in PEM: whom the node believes to be the API server.
    pub certificate_authorities: Vec<String>,
    /// What the node identifies itself by until it has a certificate of the cluster.
    pub bootstrap_token: BootstrapToken,
    /// Networks in one of which the node has its address in the cluster, in order of preference.
    pub node_subnets: Vec<Prefix>,
    /// DNS servers of its pods.
    pub dns: Vec<IpAddr>,
    /// DNS domain of its Services.
    pub domain: String,
    /// Taints that the node registers with, as `key=value:Effect` or `key:Effect`.
    pub taints: Vec<String>,
    /// Who connects its pods.
    pub pod_network: PodNetwork,
}

/// Where an API server is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiEndpoint {
    /// DNS name or IP address, the latter without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for ApiEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A bootstrap token (Kubernetes, TLS bootstrapping): `id.secret`.
#[derive(Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    /// Six characters that are no secret.
    pub id: String,
    /// Sixteen that are.
    pub secret: String,
}

impl fmt::Debug for BootstrapToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootstrapToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Who connects a cluster's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodNetwork {
    /// The node itself: a bridge with the addresses that the cluster assigned to the node, and routes to other nodes'.
    Cairn,
    /// Pods of the cluster, which bring their CNI plugin and its configuration.
    External,
}

/// What a node needs to serve a cluster's API.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// Private key of the cluster's first CA, PEM.
    pub certificate_authority_key: String,
    /// Private key that signs the tokens of service accounts, PEM.
    pub service_account_key: String,
    /// 32 bytes in base64 that encrypt Secrets in the data store.
    pub encryption_key: String,
    /// Names and addresses of the API server besides those that the node has.
    pub alternative_names: Vec<String>,
    /// Addresses of pods, of which each node gets a part.
    pub pod_subnet: Prefix,
    /// Addresses of Services.
    pub service_subnet: Prefix,
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane")
            .field("alternative_names", &self.alternative_names)
            .field("pod_subnet", &self.pod_subnet)
            .field("service_subnet", &self.service_subnet)
            .finish_non_exhaustive()
    }
}

/// Objects that a control plane applies to its cluster. `Debug` leaves them out: some may be Secrets.
#[derive(Clone, PartialEq)]
pub struct Manifests {
    /// RFC 1123 label.
    pub name: String,
    /// Each with `apiVersion`, `kind` and `metadata.name`.
    pub objects: Vec<Value>,
}

impl fmt::Debug for Manifests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifests").field("name", &self.name).finish_non_exhaustive()
    }
}

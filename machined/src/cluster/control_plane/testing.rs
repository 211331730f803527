//! Configurations of clusters for tests.

use config::{BootstrapToken, Cluster, ControlPlane, PodNetwork};
use netplan::Prefix;

/// A cluster with this CA.
pub fn cluster(authority: &str) -> Cluster {
    Cluster {
        endpoints: Vec::new(),
        certificate_authorities: vec![authority.to_owned()],
        bootstrap_token: BootstrapToken { id: "abcdef".into(), secret: "0123456789abcdef".into() },
        node_subnets: Vec::new(),
        dns: vec![[10, 96, 0, 10].into()],
        domain: "cluster.local".into(),
        taints: Vec::new(),
        pod_network: PodNetwork::Cairn,
    }
}

/// What serves it, by the key of its CA, which serves for the service accounts too.
pub fn plane(key: &str) -> ControlPlane {
    ControlPlane {
        certificate_authority_key: key.to_owned(),
        service_account_key: key.to_owned(),
        encryption_key: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into(),
        alternative_names: Vec::new(),
        pod_subnet: Prefix::new([10, 244, 0, 0].into(), 16),
        service_subnet: Prefix::new([10, 96, 0, 0].into(), 12),
    }
}

//! The documents that make a node a control plane of a new cluster, or a worker of it.

use std::net::IpAddr;

use pki::{Ca, Key};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{coredns, token};
use crate::cli::cluster::{GenCluster, PodNetwork};
use crate::clock;
use crate::command::first_config::document;
use crate::command::generate::validity;
use crate::failure::{Failure, chain};
use crate::pem::Pem;
use crate::subnet;

/// Ten years. Nodes judge the CA by its dates, unlike that of a fleet, because Kubernetes does.
const CA_VALIDITY: std::time::Duration = std::time::Duration::from_hours(10 * 365 * 24);
/// Which address of the Services is that of the cluster's DNS, as everywhere with Kubernetes.
const DNS_INDEX: u8 = 10;
/// Most that the prefix of a node's part may be longer than that of all pods (Kubernetes, `cidrset`).
const PARTS_MAX_BITS: u8 = 16;

/// What `gen cluster` writes.
pub struct Documents {
    /// For the node that serves the cluster.
    pub control_plane: Zeroizing<String>,
    /// For nodes that join it; absent while nobody said where it is served.
    pub worker: Option<Zeroizing<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cluster<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    endpoints: &'a [String],
    certificate_authorities: [Pem; 1],
    bootstrap_token: &'a str,
    domain: &'a str,
    dns: [IpAddr; 1],
    pod_network: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ControlPlane<'a> {
    certificate_authority_key: Pem,
    service_account_key: Pem,
    encryption_key: &'a str,
    alternative_names: &'a [String],
    pod_subnet: String,
    service_subnet: String,
}

/// Makes the secrets of a new cluster and puts them into documents.
pub fn make(arguments: &GenCluster) -> Result<Documents, Failure> {
    let GenCluster { domain, pod_subnet, service_subnet, .. } = arguments;
    let (name, dns) = (arguments.name.as_str(), check(arguments)?);
    let cannot = |what, error: &dyn std::error::Error| {
        Failure::error(format!("cannot make the cluster's {what}")).why(chain(error))
    };
    let ca = Ca::create(&arguments.name, validity(CA_VALIDITY)).map_err(|error| cannot("CA", &error))?;
    let service_account_key = Key::generate().map_err(|error| cannot("key", &error))?;
    let (token, encryption_key) = (token::bootstrap_token()?, token::encryption_key()?);
    let endpoints: Vec<String> = arguments.endpoints.iter().map(ToString::to_string).collect();
    let mut names: Vec<String> = arguments.endpoints.iter().map(|endpoint| endpoint.host.clone()).collect();
    names.sort();
    names.dedup();
    let cluster = |endpoints| {
        let pod_network = match arguments.pod_network {
            PodNetwork::Cairn => "cairn",
            PodNetwork::External => "external",
        };
        document(
            "Cluster",
            Cluster {
                endpoints,
                certificate_authorities: [Pem::new(ca.certificate().to_pem())],
                bootstrap_token: &token,
                domain,
                dns: [dns],
                pod_network,
            },
        )
        .map(Zeroizing::new)
    };
    let control_plane = document(
        "ControlPlane",
        ControlPlane {
            certificate_authority_key: Pem::new(ca.key().to_pem()),
            service_account_key: Pem::new(service_account_key.to_pem()),
            encryption_key: &encryption_key,
            alternative_names: &names,
            pod_subnet: pod_subnet.to_string(),
            service_subnet: service_subnet.to_string(),
        },
    )
    .map(Zeroizing::new)?;
    let until = clock::date(ca.certificate().validity().not_after_s);
    let worker = match endpoints.as_slice() {
        [] => None,
        endpoints => Some(Zeroizing::new(format!(
            "# Makes a node a worker of the cluster {name:?}. Whoever has this file can add nodes to it.\n{}",
            *cluster(endpoints)?
        ))),
    };
    // A control plane's endpoints are those besides its own.
    let control_plane = Zeroizing::new(format!(
        "# Makes a node the control plane of the cluster {name:?}, whose CA lasts until {until}.\n\
         # Whoever has this file owns the cluster; losing it loses the CA. Keep it offline and keep a copy.\n\
         {}---\n{}---\n{}",
        *cluster(&[])?,
        *control_plane,
        coredns::document(domain, dns)
    ));
    Ok(Documents { control_plane, worker })
}

/// Refuses subnets with which no cluster comes up; returns the address of the cluster's DNS.
fn check(arguments: &GenCluster) -> Result<IpAddr, Failure> {
    let GenCluster { pod_subnet: pods, service_subnet: services, .. } = arguments;
    if pods.contains(services.address) || services.contains(pods.address) {
        return Err(Failure::usage(format!("pods ({pods}) and Services ({services}) share addresses")));
    }
    if pods.address.is_ipv4() != services.address.is_ipv4() {
        return Err(Failure::usage(format!(
            "pods ({pods}) and Services ({services}) are of two address families"
        )));
    }
    // What the controller manager gives a node: /24, or /64 of IPv6.
    let part = if pods.address.is_ipv4() { 24 } else { 64 };
    if pods.length >= part || part - pods.length > PARTS_MAX_BITS {
        let longest = part - 1;
        return Err(Failure::usage(format!("{pods} cannot be shared out to nodes as /{part}"))
            .hint(format!("give a subnet from /{} to /{longest}", part - PARTS_MAX_BITS)));
    }
    subnet::nth(*services, DNS_INDEX).ok_or_else(|| {
        Failure::usage(format!("{services} has no tenth address for the cluster's DNS"))
            .hint("give a larger --service-subnet")
    })
}

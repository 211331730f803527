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

#[derive(Serialize)]
struct Api {
    #[serde(rename = "clientCAs")]
    client_cas: [Pem; 1],
}

/// Makes the secrets of a new cluster and puts them into documents.
pub fn make(arguments: &GenCluster) -> Result<Documents, Failure> {
    let name = arguments.name.as_str();
    let ca = Ca::create(&arguments.name, validity(CA_VALIDITY)).map_err(|error| cannot("CA", &error))?;
    let token = token::bootstrap_token()?;
    let endpoints: Vec<String> = arguments.endpoints.iter().map(ToString::to_string).collect();
    let dns = subnet::nth(arguments.service_subnet, DNS_INDEX).ok_or_else(|| {
        let subnet = arguments.service_subnet;
        Failure::usage(format!("{subnet} has no tenth address for the cluster's DNS"))
    })?;
    let worker = match endpoints.as_slice() {
        [] => None,
        endpoints => Some(cluster(arguments, endpoints, &ca, &token, dns)?),
    };
    // A control plane's endpoints are those besides its own.
    let member = cluster(arguments, &[], &ca, &token, dns)?;
    let control_plane = control_plane(arguments, &ca)?;
    let manifests = coredns::document(&arguments.domain, dns);
    check(&[&member, &control_plane, &manifests], &ca)?;
    if let Some(worker) = &worker {
        check(&[worker], &ca)?;
    }
    let until = clock::date(ca.certificate().validity().not_after_s);
    let control_plane = format!(
        "# Makes a node the control plane of the cluster {name:?}, whose CA lasts until {until}.\n\
         # Whoever has this file owns the cluster; losing it loses the CA. Keep it offline and keep a copy.\n\
         {}---\n{}---\n{manifests}",
        *member, *control_plane
    );
    let worker = worker.map(|worker| {
        let heading = "Whoever has this file can add nodes to it.";
        Zeroizing::new(format!("# Makes a node a worker of the cluster {name:?}. {heading}\n{}", *worker))
    });
    Ok(Documents { control_plane: Zeroizing::new(control_plane), worker })
}

fn cluster(
    arguments: &GenCluster,
    endpoints: &[String],
    ca: &Ca,
    bootstrap_token: &str,
    dns: IpAddr,
) -> Result<Zeroizing<String>, Failure> {
    let cluster = Cluster {
        endpoints,
        certificate_authorities: [Pem::new(ca.certificate().to_pem())],
        bootstrap_token,
        domain: &arguments.domain,
        dns: [dns],
        pod_network: match arguments.pod_network {
            PodNetwork::Cairn => "cairn",
            PodNetwork::External => "external",
        },
    };
    document("Cluster", cluster).map(Zeroizing::new)
}

fn control_plane(arguments: &GenCluster, ca: &Ca) -> Result<Zeroizing<String>, Failure> {
    let service_account_key = Key::generate().map_err(|error| cannot("key", &error))?;
    let mut names: Vec<String> = arguments.endpoints.iter().map(|endpoint| endpoint.host.clone()).collect();
    names.sort();
    names.dedup();
    let control_plane = ControlPlane {
        certificate_authority_key: Pem::new(ca.key().to_pem()),
        service_account_key: Pem::new(service_account_key.to_pem()),
        encryption_key: &token::encryption_key()?,
        alternative_names: &names,
        pod_subnet: arguments.pod_subnet.to_string(),
        service_subnet: arguments.service_subnet.to_string(),
    };
    document("ControlPlane", control_plane).map(Zeroizing::new)
}

fn cannot(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::error(format!("cannot make the cluster's {what}")).why(chain(error))
}

/// Refuses here what a node would refuse later.
fn check(documents: &[&str], ca: &Ca) -> Result<(), Failure> {
    // A configuration is none without whom it lets in.
    let api = document("Api", Api { client_cas: [Pem::new(ca.certificate().to_pem())] })?;
    let text = Zeroizing::new([documents, &[api.as_str()]].concat().join("---\n"));
    config::parse(&text)
        .map(drop)
        .map_err(|errors| Failure::error("nodes would refuse these documents").why(errors))
}

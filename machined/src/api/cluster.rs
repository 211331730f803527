//! The cluster that the node belongs to, and certificates for its admins.
//!
//! An admin of the cluster can run privileged pods, so to make one is a change of the node: as those of the configuration,
//! the request is believed for its signature, never for who passed it on.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ::config::{Cluster, NodeConfig};
use pki::{Ca, CaError, IssueError, SigningRequest, Template, Usage, Validity, node::RequestError};
use prost::Message as _;
use proto::cluster::v1 as api;
use tonic::{Request, Response, Status};

use super::signed;
use crate::{cluster::ADMINS, context::Context, error_chain::error_chain};

const ISSUE: &str = "/cairn.cluster.v1.ClusterService/IssueAdminCertificate";

/// Where a request names no lifetime. Nothing revokes a certificate of Kubernetes, so it is short.
const LIFETIME_DEFAULT_S: u64 = 30 * 24 * 3600;
/// Longest lifetime.
const LIFETIME_MAX_S: u64 = 365 * 24 * 3600;
/// Clocks of other control planes are off by minutes; a certificate must not start in their future.
const BACKDATE_S: u64 = 3600;
/// Whom the API server's audit log names.
const ADMIN: &str = "cairn:admin";

/// The service.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl api::cluster_service_server::ClusterService for Service {
    async fn get_cluster(
        &self,
        _: Request<api::GetClusterRequest>,
    ) -> Result<Response<api::GetClusterResponse>, Status> {
        let config = Arc::clone(&self.0.config.borrow());
        Ok(Response::new(describe(&config, self.0.hostname())))
    }

    async fn issue_admin_certificate(
        &self,
        request: Request<api::IssueAdminCertificateRequest>,
    ) -> Result<Response<api::IssueAdminCertificateResponse>, Status> {
        let identity = &self.0.identity;
        let base = self.0.generations.view().index.base().0;
        let (body, author) = signed::verified(identity, request.into_inner().request, ISSUE, base)?;
        let body =
            api::IssueAdminCertificateBody::decode(body.as_slice()).map_err(|_| signed::malformed())?;
        let config = Arc::clone(&self.0.config.borrow());
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let response = issue(&config, &body, clock.as_secs().max(identity.floor_s()))?;
        tracing::info!(author, "an admin of the cluster was certified");
        Ok(Response::new(response))
    }
}

/// What the configuration says of the cluster.
pub(super) fn describe(config: &NodeConfig, hostname: String) -> api::GetClusterResponse {
    let Some(cluster) = &config.cluster else { return api::GetClusterResponse::default() };
    api::GetClusterResponse {
        member: true,
        control_plane: config.control_plane.is_some(),
        node_name: hostname,
        endpoints: endpoints(cluster),
    }
}

/// Certifies an admin of the cluster that this node serves.
pub(super) fn issue(
    config: &NodeConfig,
    body: &api::IssueAdminCertificateBody,
    now_s: u64,
) -> Result<api::IssueAdminCertificateResponse, Status> {
    let (Some(cluster), Some(control_plane)) = (&config.cluster, &config.control_plane) else {
        return Err(Status::failed_precondition(
            "this node has no ControlPlane in its configuration, so it has no cluster whose admins it could certify; ask a control plane",
        ));
    };
    let [first, ..] = cluster.certificate_authorities.as_slice() else {
        return Err(Status::failed_precondition("the configuration names no CA of the cluster"));
    };
    let lifetime_s = lifetime_s(body.lifetime_seconds)?;
    let key = &control_plane.certificate_authority_key;
    let certificate_pem =
        issue_admin(first, key, &body.csr_der, lifetime_s, now_s).map_err(|error| refused(&error))?;
    Ok(api::IssueAdminCertificateResponse {
        certificate_pem,
        certificate_authorities_pem: cluster.certificate_authorities.clone(),
        endpoints: endpoints(cluster),
    })
}

fn endpoints(cluster: &Cluster) -> Vec<String> {
    cluster.endpoints.iter().map(ToString::to_string).collect()
}

fn lifetime_s(asked_s: u64) -> Result<u64, Status> {
    match asked_s {
        0 => Ok(LIFETIME_DEFAULT_S),
        1..=LIFETIME_MAX_S => Ok(asked_s),
        _ => Err(Status::invalid_argument("an admin's certificate lives at most 365 days")),
    }
}

/// Why nobody is certified.
#[derive(Debug, thiserror::Error)]
enum AdminError {
    /// The configured CA cannot sign.
    #[error("the cluster's CA in the configuration cannot sign")]
    Ca(#[source] CaError),
    /// The request proves no key.
    #[error("the signing request is refused")]
    Request(#[source] RequestError),
    /// Nothing was signed.
    #[error("the certificate cannot be issued")]
    Issue(#[source] IssueError),
}

/// Of the request, the public key alone is taken.
fn issue_admin(
    ca_pem: &str,
    ca_key_pem: &str,
    csr_der: &[u8],
    lifetime_s: u64,
    now_s: u64,
) -> Result<String, AdminError> {
    let ca = Ca::from_pem(ca_pem, ca_key_pem).map_err(AdminError::Ca)?;
    let request = SigningRequest::from_der(csr_der).map_err(AdminError::Request)?;
    let start_s = now_s.saturating_sub(BACKDATE_S);
    let template = Template {
        common_name: ADMIN.to_owned(),
        organisation: Some(ADMINS.to_owned()),
        dns_names: Vec::new(),
        addresses: Vec::new(),
        usage: Usage::Client,
        validity: Validity::starting(start_s, now_s.saturating_sub(start_s).saturating_add(lifetime_s)),
    };
    let certificate = ca.issue(&template, request.public_key_der()).map_err(AdminError::Issue)?;
    Ok(certificate.to_pem())
}

fn refused(error: &AdminError) -> Status {
    let text = error_chain(error);
    match error {
        AdminError::Ca(_) => Status::failed_precondition(text),
        AdminError::Request(_) | AdminError::Issue(IssueError::PublicKey) => Status::invalid_argument(text),
        AdminError::Issue(_) => Status::internal(text),
    }
}

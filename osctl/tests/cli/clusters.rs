//! The cluster of the fake node.

use pki::{Ca, SigningRequest, Template, Usage, Validity};
use prost::Message as _;
use proto::cluster::v1 as cluster;
use proto::cluster::v1::cluster_service_server::ClusterService;
use tonic::{Request, Response, Status};

use crate::services::{Answer, Services};

/// Of 2026-09-21, when certificates of the fake node begin.
pub const NOW_S: u64 = 1_790_000_000;

/// Of what it is a part.
pub struct Cluster {
    /// Its CA; on a worker nothing.
    pub ca: Option<Ca>,
    pub endpoints: Vec<String>,
}

#[tonic::async_trait]
impl ClusterService for Services {
    async fn get_cluster(
        &self,
        _: Request<cluster::GetClusterRequest>,
    ) -> Answer<cluster::GetClusterResponse> {
        let state = self.state();
        Ok(Response::new(match &state.cluster {
            None => cluster::GetClusterResponse::default(),
            Some(Cluster { ca, endpoints }) => cluster::GetClusterResponse {
                member: true,
                control_plane: ca.is_some(),
                node_name: "edge-1".into(),
                endpoints: endpoints.clone(),
            },
        }))
    }

    async fn issue_admin_certificate(
        &self,
        request: Request<cluster::IssueAdminCertificateRequest>,
    ) -> Answer<cluster::IssueAdminCertificateResponse> {
        let method = "/cairn.cluster.v1.ClusterService/IssueAdminCertificate";
        let body = self.signed(method, request.into_inner().request)?;
        let body = cluster::IssueAdminCertificateBody::decode(body.as_slice()).unwrap();
        let mut state = self.state();
        state.done.push(format!("issue for {} s", body.lifetime_seconds));
        let Some(Cluster { ca: Some(ca), endpoints }) = &state.cluster else {
            return Err(Status::failed_precondition("no ControlPlane"));
        };
        let request = SigningRequest::from_der(&body.csr_der).unwrap();
        let template = Template {
            common_name: "cairn:admin".into(),
            organisation: Some("cairn:admins".into()),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            usage: Usage::Client,
            validity: Validity::starting(NOW_S, body.lifetime_seconds),
        };
        let certificate = ca.issue(&template, request.public_key_der()).unwrap();
        Ok(Response::new(cluster::IssueAdminCertificateResponse {
            certificate_pem: certificate.to_pem(),
            // Without the end of its last line, as a configuration may hold it.
            certificate_authorities_pem: vec![ca.certificate().to_pem().trim_end().to_owned()],
            endpoints: endpoints.clone(),
        }))
    }
}

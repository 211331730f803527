//! The node's identity.

use std::{error::Error as _, sync::Arc};

use proto::identity::v1 as api;
use tonic::{Request, Response, Status};

use crate::{context::Context, identity::IdentityError};

/// The service.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl api::identity_service_server::IdentityService for Service {
    async fn get_signing_request(
        &self,
        _: Request<api::GetSigningRequestRequest>,
    ) -> Result<Response<api::GetSigningRequestResponse>, Status> {
        let identity = &self.0.identity;
        Ok(Response::new(api::GetSigningRequestResponse {
            request_der: identity.signing_request().map_err(|error| status(&error))?,
            node_id: identity.node_id().to_owned(),
            adopted: identity.is_adopted(),
        }))
    }

    async fn install_certificate(
        &self,
        request: Request<api::InstallCertificateRequest>,
    ) -> Result<Response<api::InstallCertificateResponse>, Status> {
        super::config_status::in_recovery(self.0.identity.mode())?;
        self.0.identity.install(&request.into_inner().certificate_der).map_err(|error| status(&error))?;
        tracing::info!("the node's certificate was replaced");
        Ok(Response::new(api::InstallCertificateResponse {}))
    }
}

fn status(error: &IdentityError) -> Status {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    match error {
        IdentityError::Refused(_) | IdentityError::Certificate(_) => {
            Status::invalid_argument(format!("{error}{cause}"))
        }
        _ => Status::internal(format!("{error}{cause}")),
    }
}

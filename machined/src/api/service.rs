//! Services: start, stop, restart through PID 1.

use std::sync::Arc;

use control::{ControlError, Request as ControlRequest, Response as ControlResponse, ServiceName};
use proto::service::v1 as api;
use resource::{Spec as _, spec};
use tonic::{Request, Response, Status};

use crate::context::Context;

/// The service.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl api::service_service_server::ServiceService for Service {
    async fn start(
        &self,
        request: Request<api::StartRequest>,
    ) -> Result<Response<api::StartResponse>, Status> {
        ask(&self.0, ControlRequest::Start(ServiceName(request.into_inner().name))).await?;
        Ok(Response::new(api::StartResponse {}))
    }

    async fn stop(&self, request: Request<api::StopRequest>) -> Result<Response<api::StopResponse>, Status> {
        ask(&self.0, ControlRequest::Stop(ServiceName(request.into_inner().name))).await?;
        Ok(Response::new(api::StopResponse {}))
    }

    async fn restart(
        &self,
        request: Request<api::RestartRequest>,
    ) -> Result<Response<api::RestartResponse>, Status> {
        ask(&self.0, ControlRequest::Restart(ServiceName(request.into_inner().name))).await?;
        Ok(Response::new(api::RestartResponse {}))
    }
}

/// Asks PID 1 and turns a refusal into a status.
pub async fn ask(context: &Context, request: ControlRequest) -> Result<(), Status> {
    match context.control.request(request).await {
        Ok(ControlResponse::Error(error)) => Err(refusal(context, &error)),
        Ok(_) => Ok(()),
        Err(error) => Err(Status::unavailable(format!("PID 1 does not answer: {error}; try again"))),
    }
}

fn refusal(context: &Context, error: &ControlError) -> Status {
    match error {
        ControlError::UnknownService { .. } => {
            let kind = const { &spec::Service::KIND };
            let names: Vec<String> =
                context.store.read(|store| store.list(kind).map(|service| service.id.clone()).collect());
            Status::not_found(format!("{error}; there are: {}", names.join(", ")))
        }
        ControlError::Essential { .. } => Status::failed_precondition(error.to_string()),
        ControlError::ShuttingDown => Status::unavailable(error.to_string()),
        ControlError::Malformed | ControlError::TooManyParameters => Status::internal(error.to_string()),
    }
}

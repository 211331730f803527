//! What apid answers itself, to anybody whom it let in.

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::Service as _;

/// Health of apid (that it answers is all it says; a node's health is `MachineService.CheckHealth`) and reflection.
#[derive(Clone, Debug)]
pub struct Local {
    health: HealthServer<HealthService>,
}

impl Default for Local {
    fn default() -> Self {
        Self { health: HealthServer::new(HealthService::from_health_reporter(HealthReporter::new())) }
    }
}

impl Local {
    /// `grpc.health.v1`.
    pub async fn health(&self, request: Request<Incoming>) -> Response<Body> {
        match self.health.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// `grpc.reflection.v1`. Decoded descriptors are kept no longer than the call: it is rare and memory is not.
    ///
    /// # Errors
    /// [`Status`] when the descriptors do not decode.
    pub async fn reflection(&self, request: Request<Incoming>) -> Result<Response<Body>, Status> {
        let mut server = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(|error| Status::internal(error.to_string()))?;
        match server.call(request).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }
}

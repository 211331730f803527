//! The internal API: gRPC on a unix socket, for apid and root only.
//!
//! Roles were judged by apid; what reaches this socket is allowed. Start reading at [`serve`].

mod cluster;
#[cfg(test)]
mod cluster_tests;
mod config;
mod config_convert;
mod config_status;
mod convert;
mod identity;
mod inspect;
mod log;
mod log_convert;
mod machine;
mod maintenance;
mod resource;
mod service;
mod signed;
mod update;
mod update_convert;
mod update_stream;
#[cfg(test)]
mod update_tests;

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use layout::{APID_UID, path::MACHINED_API};
pub use log_convert::timestamp;
pub use maintenance::Maintenance;
use proto::{
    cluster::v1::cluster_service_server::ClusterServiceServer,
    config::v1::config_service_server::ConfigServiceServer,
    identity::v1::identity_service_server::IdentityServiceServer,
    inspect::v1::inspect_service_server::InspectServiceServer, log::v1::log_service_server::LogServiceServer,
    machine::v1::machine_service_server::MachineServiceServer,
    maintenance::v1::maintenance_service_server::MaintenanceServiceServer,
    resource::v1::resource_service_server::ResourceServiceServer,
    service::v1::service_service_server::ServiceServiceServer,
    update::v1::update_service_server::UpdateServiceServer,
};
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::Stream;
use tonic::transport::Server;

use crate::{configuration::BootClock, context::Context};

/// Largest request but for configurations: the biggest message is a certificate.
const REQUEST_MAX_BYTES: usize = 256 * 1024;
/// Requests that one connection (apid's) may have open.
const CONCURRENT_REQUESTS: usize = 128;

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The server ended.
    #[error("the internal API ended")]
    Serve(#[source] tonic::transport::Error),
}

/// Makes the socket: from then on clients can connect.
pub fn listen() -> Result<UnixListener, ApiError> {
    let path = Path::new(MACHINED_API);
    open(path).map_err(|source| ApiError::Listen { path: path.to_owned(), source })
}

/// Serves until an error.
pub async fn serve(listener: UnixListener, context: Arc<Context>, clock: BootClock) -> Result<(), ApiError> {
    Server::builder()
        .concurrency_limit_per_connection(CONCURRENT_REQUESTS)
        .add_service(
            ConfigServiceServer::new(config::Service(Arc::clone(&context)))
                .max_decoding_message_size(config::REQUEST_MAX_BYTES),
        )
        .add_service(
            ResourceServiceServer::new(resource::Service(Arc::clone(&context)))
                .max_decoding_message_size(REQUEST_MAX_BYTES),
        )
        .add_service(
            MachineServiceServer::new(machine::Service(Arc::clone(&context)))
                .max_decoding_message_size(REQUEST_MAX_BYTES),
        )
        .add_service(
            ServiceServiceServer::new(service::Service(Arc::clone(&context)))
                .max_decoding_message_size(REQUEST_MAX_BYTES),
        )
        .add_service(
            LogServiceServer::new(log::Service(Arc::clone(&context)))
                .max_decoding_message_size(REQUEST_MAX_BYTES),
        )
        .add_service(
            InspectServiceServer::new(inspect::Service::new(Arc::clone(&context)))
                .max_decoding_message_size(REQUEST_MAX_BYTES),
        )
        .add_service(
            ClusterServiceServer::new(cluster::Service(Arc::clone(&context)))
                .max_decoding_message_size(REQUEST_MAX_BYTES),
        )
        .add_service(
            IdentityServiceServer::new(identity::Service(Arc::clone(&context)))
                .max_decoding_message_size(REQUEST_MAX_BYTES),
        )
        .add_service(
            UpdateServiceServer::new(update::Service::new(context, clock))
                .max_decoding_message_size(REQUEST_MAX_BYTES),
        )
        .serve_with_incoming(Peers(listener))
        .await
        .map_err(ApiError::Serve)
}

/// Serves a node without configuration, and only that, until `until` is over and the last call is answered.
pub async fn serve_maintenance(
    listener: UnixListener,
    service: Maintenance,
    until: impl Future<Output = ()>,
) -> Result<(), ApiError> {
    let service = MaintenanceServiceServer::new(service).max_decoding_message_size(config::REQUEST_MAX_BYTES);
    Server::builder()
        .concurrency_limit_per_connection(CONCURRENT_REQUESTS)
        .add_service(service)
        .serve_with_incoming_shutdown(Peers(listener), until)
        .await
        .map_err(ApiError::Serve)
}

fn open(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::os::unix::fs::chown(path, Some(0), Some(APID_UID))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Connections of peers that may connect; others are closed at once.
struct Peers(UnixListener);

impl Stream for Peers {
    type Item = io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.0.poll_accept(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Ok((stream, _))) => match stream.peer_cred() {
                    Ok(peer) if matches!(peer.uid(), 0 | APID_UID) => return Poll::Ready(Some(Ok(stream))),
                    Ok(peer) => {
                        tracing::warn!(uid = peer.uid(), "a stranger at the internal API was turned away")
                    }
                    Err(error) => tracing::warn!(%error, "a peer of the internal API has no credentials"),
                },
            }
        }
    }
}

//! Logs of services, containers and the kernel.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use layout::path::SERVICE_LOGS;
use proto::log::v1::{self as api, read_request::Source};
use resource::{Spec as _, spec};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use crate::{
    context::Context,
    logs::{
        CHANNEL_PIECES, LogError, Selection,
        container::{self, CriFilter, POD_LOGS},
        file::{self, Plain},
        kernel,
    },
};

/// Kernel messages on their way to one client.
const KERNEL_RECORDS: usize = 64;

/// The service.
pub struct Service(pub Arc<Context>);

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl api::log_service_server::LogService for Service {
    type ReadStream = Streamed<api::ReadResponse>;

    async fn read(&self, request: Request<api::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let selection = Selection { follow: request.follow, tail_lines: request.tail_lines };
        let (sender, receiver) = mpsc::channel(CHANNEL_PIECES);
        let failures = match request.source {
            None => return Err(Status::invalid_argument("name a service or a container")),
            Some(Source::Service(name)) => {
                let path = self.service_log(&name)?;
                run(async move { file::send(&path, selection, Plain, &sender).await })
            }
            Some(Source::Container(container)) => {
                let path = container_log(&container, &self.0.hostname())?;
                run(async move { file::send(&path, selection, CriFilter::default(), &sender).await })
            }
        };
        let pieces = ReceiverStream::new(receiver).map(|data| Ok(api::ReadResponse { data }));
        Ok(Response::new(Box::pin(pieces.chain(ReceiverStream::new(failures).map(Err)))))
    }

    type ReadKernelStream = Streamed<api::ReadKernelResponse>;

    async fn read_kernel(
        &self,
        request: Request<api::ReadKernelRequest>,
    ) -> Result<Response<Self::ReadKernelStream>, Status> {
        let api::ReadKernelRequest { follow, tail_lines } = request.into_inner();
        let (sender, receiver) = mpsc::channel(KERNEL_RECORDS);
        let failures = run(async move { kernel::send(Selection { follow, tail_lines }, &sender).await });
        let records = ReceiverStream::new(receiver).map(|record: kernel::Record| {
            Ok(api::ReadKernelResponse {
                timestamp_us: record.timestamp_us,
                severity: record.severity,
                facility: record.facility,
                sequence: record.sequence,
                message: record.message,
            })
        });
        Ok(Response::new(Box::pin(records.chain(ReceiverStream::new(failures).map(Err)))))
    }
}

impl Service {
    /// Only names of services have logs: nothing that a client sends becomes a path.
    fn service_log(&self, name: &str) -> Result<PathBuf, Status> {
        let kind = const { &spec::Service::KIND };
        let names: Vec<String> =
            self.0.store.read(|store| store.list(kind).map(|found| found.id.clone()).collect());
        if !names.iter().any(|known| known == name) {
            return Err(Status::not_found(format!(
                "no service named {name:?}; there are: {}",
                names.join(", ")
            )));
        }
        let path = Path::new(SERVICE_LOGS).join(format!("{name}.log"));
        if path.exists() {
            Ok(path)
        } else {
            Err(Status::not_found(format!("{name} has written nothing yet")))
        }
    }
}

/// The kubelet appends the host name to the names of static pods; both forms are taken.
fn container_log(source: &api::ContainerSource, hostname: &str) -> Result<PathBuf, Status> {
    let namespace = if source.namespace.is_empty() { "default" } else { &source.namespace };
    let find = |pod: &str| container::find(Path::new(POD_LOGS), namespace, pod, &source.container);
    match find(&source.pod) {
        Err(LogError::NotFound { .. }) => {
            find(&format!("{}-{hostname}", source.pod)).or_else(|_| find(&source.pod))
        }
        found => found,
    }
    .map_err(|error| status(&error))
}

/// Runs a reader; what it fails with comes through the channel.
fn run(reader: impl Future<Output = Result<(), LogError>> + Send + 'static) -> mpsc::Receiver<Status> {
    let (sender, receiver): (Sender<Status>, _) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(error) = reader.await {
            sender.send(status(&error)).await.ok();
        }
    });
    receiver
}

fn status(error: &LogError) -> Status {
    match error {
        LogError::NotFound { .. } => Status::not_found(format!("{error}; `osctl pods` lists the pods")),
        LogError::Ambiguous { .. } => Status::invalid_argument(error.to_string()),
        LogError::Read { source, .. } => Status::internal(format!("{error}: {source}")),
    }
}

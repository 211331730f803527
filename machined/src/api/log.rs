//! Logs of services, containers and the kernel.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use logstore::{Cursor, Range, Source as LogSource};
use proto::log::v1::{self as api, read_request::Source};
use resource::{Spec as _, spec};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::log_convert::{boots, crash, moment_us, record, source, status_of_query, text};
use crate::{
    context::Context,
    logs::{
        CHANNEL_PIECES, CRASH, Gone, LogError, Selection,
        container::{self, CriFilter, POD_LOGS},
        file, kernel,
        query::{Found, Query, Search},
    },
};

/// Kernel messages on their way to one client.
const KERNEL_RECORDS: usize = 64;
/// Crashes that are listed, the newest: with 32 KiB each they fit into a message.
const CRASHES_MAX: usize = 32;

/// The service.
pub struct Service(pub Arc<Context>);

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl api::log_service_server::LogService for Service {
    type ReadStream = Streamed<api::ReadResponse>;

    async fn read(&self, request: Request<api::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let selection = Selection { follow: request.follow, tail_lines: request.tail_lines };
        match request.source {
            None => Err(Status::invalid_argument("name a service or a container")),
            Some(Source::Service(name)) => {
                let Selection { follow, tail_lines } = selection;
                let query = Query { source: name, follow, tail_lines, ..Query::default() };
                let found = self.search(query).await?;
                Ok(Response::new(Box::pin(found.map(|found| found.map(text)))))
            }
            Some(Source::Container(container)) => {
                let path = container_log(&container, &self.0.hostname())?;
                let (sender, receiver) = mpsc::channel(CHANNEL_PIECES);
                let reader = async move { file::send(&path, selection, CriFilter::default(), &sender).await };
                let failures = run(reader, |error| status(&error));
                let pieces = ReceiverStream::new(receiver).map(|data| Ok(api::ReadResponse { data }));
                Ok(Response::new(Box::pin(pieces.chain(ReceiverStream::new(failures).map(Err)))))
            }
        }
    }

    type ReadKernelStream = Streamed<api::ReadKernelResponse>;

    async fn read_kernel(
        &self,
        request: Request<api::ReadKernelRequest>,
    ) -> Result<Response<Self::ReadKernelStream>, Status> {
        let api::ReadKernelRequest { follow, tail_lines } = request.into_inner();
        let (sender, receiver) = mpsc::channel(KERNEL_RECORDS);
        let reader = async move { kernel::send(Selection { follow, tail_lines }, &sender).await };
        let failures = run(reader, |error| status(&error));
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

    type ReadRecordsStream = Streamed<api::ReadRecordsResponse>;

    async fn read_records(
        &self,
        request: Request<api::ReadRecordsRequest>,
    ) -> Result<Response<Self::ReadRecordsStream>, Status> {
        let request = request.into_inner();
        let now_us = self.0.logs.clock().now().wall_us;
        let (since_us, until_us) = (
            moment_us(now_us, request.since.as_ref(), request.since_ago_s),
            moment_us(now_us, request.until.as_ref(), request.until_ago_s),
        );
        let api::ReadRecordsRequest { source, boot, grep, tail_lines, follow, .. } = request;
        let query = Query { source, boot, since_us, until_us, grep, tail_lines, follow };
        let found = self.search(query).await?;
        let answers = found.map(|found| {
            let records = found?.into_iter().map(record).collect();
            Ok(api::ReadRecordsResponse { records })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn list_sources(
        &self,
        _: Request<api::ListSourcesRequest>,
    ) -> Result<Response<api::ListSourcesResponse>, Status> {
        let sources = self.0.logs.ask(|keeper| keeper.store().sources()).await.map_err(gone)?;
        let sources = sources.into_iter().map(source).collect();
        Ok(Response::new(api::ListSourcesResponse { sources }))
    }

    async fn list_boots(
        &self,
        _: Request<api::ListBootsRequest>,
    ) -> Result<Response<api::ListBootsResponse>, Status> {
        let kept = self.0.logs.ask(|keeper| keeper.store().boots()).await.map_err(gone)?;
        Ok(Response::new(api::ListBootsResponse { boots: boots(&kept, self.0.logs.boot()) }))
    }

    async fn list_crashes(
        &self,
        _: Request<api::ListCrashesRequest>,
    ) -> Result<Response<api::ListCrashesResponse>, Status> {
        let Some(source) = LogSource::parse(CRASH) else { return Err(Status::internal("no such source")) };
        let logs = &self.0.logs;
        let mut place = logs.ask(|keeper| keeper.place(Cursor::at(0))).await.map_err(gone)?;
        let mut crashes = Vec::new();
        loop {
            let source = source.clone();
            let (batch, next) =
                logs.ask(move |keeper| keeper.read(&source, place, &Range::default())).await.map_err(gone)?;
            crashes.extend(batch.records.iter().filter_map(crash));
            crashes.drain(..crashes.len().saturating_sub(CRASHES_MAX));
            if batch.end {
                break;
            }
            place = next;
        }
        crashes.reverse();
        Ok(Response::new(api::ListCrashesResponse { crashes }))
    }
}

impl Service {
    /// Lines that a client asks for; what goes wrong later comes in their place.
    async fn search(
        &self,
        query: Query,
    ) -> Result<impl Stream<Item = Result<Vec<Found>, Status>> + Send + use<>, Status> {
        let kind = const { &spec::Service::KIND };
        let services: Vec<String> =
            self.0.store.read(|store| store.list(kind).map(|found| found.id.clone()).collect());
        let logs = self.0.logs.clone();
        let search =
            Search::prepare(&logs, query, &services).await.map_err(|error| status_of_query(&error))?;
        let (sender, receiver) = mpsc::channel(CHANNEL_PIECES);
        let reader = async move { search.send(&logs, &sender).await };
        let failures = run(reader, |error| status_of_query(&error));
        Ok(ReceiverStream::new(receiver).map(Ok).chain(ReceiverStream::new(failures).map(Err)))
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
fn run<E: Send + 'static>(
    reader: impl Future<Output = Result<(), E>> + Send + 'static,
    status: impl Fn(E) -> Status + Send + 'static,
) -> mpsc::Receiver<Status> {
    let (sender, receiver): (Sender<Status>, _) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(error) = reader.await {
            sender.send(status(error)).await.ok();
        }
    });
    receiver
}

fn gone(gone: Gone) -> Status {
    Status::unavailable(gone.to_string())
}

fn status(error: &LogError) -> Status {
    match error {
        LogError::NotFound { .. } => Status::not_found(format!("{error}; `osctl pods` lists the pods")),
        LogError::Ambiguous { .. } => Status::invalid_argument(error.to_string()),
        LogError::Read { source, .. } => Status::internal(format!("{error}: {source}")),
    }
}

//! Updates: what lies in the slots, installing a release, going back.
//!
//! As changes of the configuration, requests are believed for their signature, never for who passed them on.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::update::{Refusal, Source};
use prost::Message as _;
use proto::{
    config::v1::SignedRequest,
    update::v1::{self as api, upgrade_request},
};
use tokio::sync::mpsc;
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{ReceiverStream, WatchStream},
};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{config_status as refusal, signed, update_convert as convert, update_stream::Conversation};
use crate::{
    configuration::BootClock,
    context::Context,
    error_chain::error_chain,
    update::{ClientSource, Refused, View, limiter},
};

const UPGRADE: &str = "/cairn.update.v1.UpdateService/Upgrade";
const ROLLBACK: &str = "/cairn.update.v1.UpdateService/Rollback";
const CANCEL: &str = "/cairn.update.v1.UpdateService/Cancel";

/// Answers on their way to one client.
const ANSWERS_MAX: usize = 8;

/// The service.
pub struct Service {
    context: Arc<Context>,
    clock: BootClock,
    taken: Arc<Taken>,
}

/// How many requests were taken so far. Each names the number of those before, so that none is obeyed twice, though
/// nothing else of the node changes in between.
#[derive(Default)]
struct Taken(Mutex<u64>);

impl Taken {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl api::update_service_server::UpdateService for Service {
    async fn get_status(
        &self,
        _: Request<api::GetStatusRequest>,
    ) -> Result<Response<api::GetStatusResponse>, Status> {
        let view = Arc::clone(&self.context.updates.view().borrow());
        let status = self.shows()(&view);
        Ok(Response::new(api::GetStatusResponse { status: Some(status) }))
    }

    type WatchStream = Streamed<api::WatchResponse>;

    async fn watch(&self, _: Request<api::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let shows = self.shows();
        let views = WatchStream::new(self.context.updates.view());
        let statuses = views.map(move |view| Ok(api::WatchResponse { status: Some(shows(&view)) }));
        Ok(Response::new(Box::pin(statuses)))
    }

    type UpgradeStream = Streamed<api::UpgradeResponse>;

    async fn upgrade(
        &self,
        request: Request<Streaming<api::UpgradeRequest>>,
    ) -> Result<Response<Self::UpgradeStream>, Status> {
        refusal::in_recovery(self.context.identity.mode())?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|first| first.message);
        let Some(upgrade_request::Message::Request(request)) = first else {
            return Err(signed::malformed());
        };
        let (body, author) = self.take(Some(request), UPGRADE)?;
        let body = api::UpgradeBody::decode(body.as_slice()).map_err(|_| signed::malformed())?;
        tracing::info!(author, version = body.version, "an upgrade is asked for");
        let request = convert::request(body, author)?;
        let (client, end) = match request.source {
            Source::Client => Some(ClientSource::new(limiter(&self.context))).unzip(),
            Source::Configured | Source::Url(_) | Source::Volume(_) => (None, None),
        };
        self.context.updates.upgrade(request, client).await.map_err(|error| refused(&error))?;
        let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
        let (view, clock) = (self.context.updates.view(), self.clock.clone());
        tokio::spawn(Conversation { answers, view, clock }.run(messages, end));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn rollback(
        &self,
        request: Request<api::RollbackRequest>,
    ) -> Result<Response<api::RollbackResponse>, Status> {
        refusal::in_recovery(self.context.identity.mode())?;
        let (body, author) = self.take(request.into_inner().request, ROLLBACK)?;
        let api::RollbackBody { version } =
            api::RollbackBody::decode(body.as_slice()).map_err(|_| signed::malformed())?;
        is_other_release(&self.context.updates.view().borrow(), &version)?;
        tracing::warn!(author, version, "a return to the release of before is asked for");
        self.context.updates.rollback(author).await.map_err(|error| refused(&error))?;
        Ok(Response::new(api::RollbackResponse {}))
    }

    async fn cancel(
        &self,
        request: Request<api::CancelRequest>,
    ) -> Result<Response<api::CancelResponse>, Status> {
        let (_, author) = self.take(request.into_inner().request, CANCEL)?;
        tracing::info!(author, "the end of an upgrade is asked for");
        self.context.updates.cancel(author).await.map_err(|error| refused(&error))?;
        Ok(Response::new(api::CancelResponse {}))
    }
}

impl Service {
    /// The service; `clock` is that of this boot.
    pub fn new(context: Arc<Context>, clock: BootClock) -> Self {
        Self { context, clock, taken: Arc::default() }
    }

    /// Makes statuses of views.
    fn shows(&self) -> impl Fn(&View) -> api::Status + Send + 'static {
        let (clock, taken) = (self.clock.clone(), Arc::clone(&self.taken));
        let epoch = self.context.identity.epoch().as_bytes().to_vec();
        move |view| convert::status(view, clock.now().since_boot_ms, *taken.lock(), epoch.clone())
    }

    /// Body and author of a request that an admin signed for this node as it is. It counts from now on.
    fn take(&self, request: Option<SignedRequest>, method: &str) -> Result<(Vec<u8>, String), Status> {
        let mut taken = self.taken.lock();
        let verified = signed::verified(&self.context.identity, request, method, *taken)?;
        *taken = taken.saturating_add(1);
        Ok(verified)
    }
}

/// An admin who means another release than what lies there has not seen how the node is now.
fn is_other_release(view: &View, version: &str) -> Result<(), Status> {
    let other = view.record.slot(view.running.other()).release();
    let lies = other.map(|release| release.version.to_string());
    match lies.as_deref() {
        Some(lies) if lies == version => Ok(()),
        lies => Err(Status::aborted(format!(
            "the other slot holds {}, not release {version:?}; look again with `osctl slots`",
            lies.map_or_else(|| "nothing".to_owned(), |lies| format!("release {lies}"))
        ))),
    }
}

/// Not granted as things are.
fn refused(error: &Refused) -> Status {
    match error {
        Refused::Step(refusal) => Status::new(code(refusal), refusal.to_string()),
        Refused::Store(_) => Status::internal(error_chain(error)),
        Refused::Ending => Status::unavailable(error_chain(error)),
    }
}

fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Starting | Refusal::Recording | Refusal::Rebooting => Code::Unavailable,
        Refusal::Busy { .. }
        | Refusal::OnTrial { .. }
        | Refusal::Unsuitable(_)
        | Refusal::NothingToCancel
        | Refusal::NothingToReturnTo { .. } => Code::FailedPrecondition,
    }
}

//! Resources: list, get, watch.

use std::{pin::Pin, sync::Arc};

use proto::resource::v1 as api;
use resource::{Change, ChangeType, Changes, KINDS, Kind, Resource, find_kind};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::convert::{to_struct, to_timestamp};
use crate::context::Context;

/// Events on their way to one watcher: more is back-pressure, and the store's history bounds what it can miss.
const WATCH_EVENTS: usize = 16;

/// The service.
pub struct Service(pub Arc<Context>);

type Watch = Pin<Box<dyn Stream<Item = Result<api::WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl api::resource_service_server::ResourceService for Service {
    async fn list_kinds(
        &self,
        _: Request<api::ListKindsRequest>,
    ) -> Result<Response<api::ListKindsResponse>, Status> {
        Ok(Response::new(api::ListKindsResponse { kinds: KINDS.iter().copied().map(describe).collect() }))
    }

    async fn list(&self, request: Request<api::ListRequest>) -> Result<Response<api::ListResponse>, Status> {
        let kind = known(&request.get_ref().kind)?;
        let (resources, version) = self
            .0
            .store
            .read(|store| (store.list(kind).map(|found| encode(found)).collect(), store.version()));
        Ok(Response::new(api::ListResponse { resources, version }))
    }

    async fn get(&self, request: Request<api::GetRequest>) -> Result<Response<api::GetResponse>, Status> {
        let api::GetRequest { kind, id } = request.into_inner();
        let kind = known(&kind)?;
        match self.0.store.read(|store| store.get(kind, &id)) {
            Some(found) => Ok(Response::new(api::GetResponse { resource: Some(encode(&found)) })),
            None => Err(missing(&self.0, kind, &id)),
        }
    }

    type WatchStream = Watch;

    async fn watch(&self, request: Request<api::WatchRequest>) -> Result<Response<Watch>, Status> {
        let api::WatchRequest { kind, id } = request.into_inner();
        let kind = known(&kind)?;
        let (sender, receiver) = mpsc::channel(WATCH_EVENTS);
        let context = Arc::clone(&self.0);
        tokio::spawn(async move {
            // An error means that the client is gone.
            watch(&context, kind, &id, &sender).await.ok();
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

type Events = Sender<Result<api::WatchResponse, Status>>;

/// The client's end of the stream is gone.
struct Gone;

async fn watch(context: &Context, kind: &'static Kind, id: &str, sender: &Events) -> Result<(), Gone> {
    let wanted = |resource: &Resource| resource.kind == kind && (id.is_empty() || resource.id == id);
    let mut changed = context.store.subscribe();
    let (present, mut version): (Vec<Arc<Resource>>, u64) =
        context.store.read(|store| (store.list(kind).cloned().collect(), store.version()));
    for resource in present.iter().filter(|resource| wanted(resource)) {
        send(sender, api::EventType::Added, Some(encode(resource))).await?;
    }
    send(sender, api::EventType::Bookmark, None).await?;
    loop {
        tokio::select! {
            () = sender.closed() => return Err(Gone),
            alive = changed.changed() => alive.map_err(|_| Gone)?,
        }
        let changes = context.store.read(|store| store.changes_since(version));
        let Changes::All(changes) = changes else {
            let lost = Status::data_loss("the watch fell behind; list the resources and watch again");
            sender.send(Err(lost)).await.map_err(|_| Gone)?;
            return Err(Gone);
        };
        for Change { change, version: at, resource } in changes {
            version = at;
            if wanted(&resource) {
                send(sender, event(change), Some(encode(&resource))).await?;
            }
        }
    }
}

async fn send(sender: &Events, event: api::EventType, resource: Option<api::Resource>) -> Result<(), Gone> {
    let response = api::WatchResponse { r#type: event.into(), resource };
    sender.send(Ok(response)).await.map_err(|_| Gone)
}

fn event(change: ChangeType) -> api::EventType {
    match change {
        ChangeType::Added => api::EventType::Added,
        ChangeType::Modified => api::EventType::Modified,
        ChangeType::Removed => api::EventType::Removed,
    }
}

fn known(name: &str) -> Result<&'static Kind, Status> {
    find_kind(name).ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        Status::not_found(format!("no resource kind named {name:?}; there are: {}", names.join(", ")))
    })
}

fn missing(context: &Context, kind: &'static Kind, id: &str) -> Status {
    let ids: Vec<String> =
        context.store.read(|store| store.list(kind).map(|found| found.id.clone()).collect());
    let there =
        if ids.is_empty() { "there are none".to_owned() } else { format!("there are: {}", ids.join(", ")) };
    Status::not_found(format!("no {} named {id:?}; {there}", kind.name))
}

fn describe(kind: &Kind) -> api::Kind {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    api::Kind {
        name: kind.name.to_owned(),
        plural: kind.plural.to_owned(),
        aliases: owned(kind.aliases),
        description: kind.description.to_owned(),
        columns: owned(kind.columns),
    }
}

fn encode(resource: &Resource) -> api::Resource {
    api::Resource {
        kind: resource.kind.name.to_owned(),
        id: resource.id.clone(),
        version: resource.version,
        updated: Some(to_timestamp(resource.updated_ms)),
        spec: Some(to_struct(&resource.spec)),
    }
}

//! Between apid's library and machined: what passes, passes unchanged, and is made use of.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use proto::config::v1::{ApplyRequest, SignedRequest};
use proto::resource::v1::GetRequest;
use tokio::net::UnixListener;
use tokio::sync::Mutex;

use crate::attempt::{APPLY, Genuine, METHODS, UPGRADE, attempt, forge, repeat};
use crate::call::{Messages, forward, message};
use crate::release;

const GET: &str = "/cairn.resource.v1.ResourceService/Get";
/// Begins the id of a resource that is none: behind it stands a signed change in hex, which the test hands over as if
/// it had been taken from elsewhere.
const HANDED_OVER: &str = "try-";

/// Signed requests that passed.
type Kept = Arc<Mutex<Vec<Genuine>>>;

/// Serves apid's library.
pub async fn run(listener: UnixListener) {
    let kept = Kept::default();
    while let Ok((stream, _)) = listener.accept().await {
        let kept = Arc::clone(&kept);
        let service = service_fn(move |request| pass(request, Arc::clone(&kept)));
        tokio::spawn(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
    }
}

async fn pass(request: Request<Incoming>, kept: Kept) -> Result<Response<Incoming>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if path == UPGRADE {
        return upgrade(Request::from_parts(parts, body), kept).await;
    }
    let body = body.collect().await?.to_bytes();
    let method = METHODS.into_iter().find(|method| *method == path);
    let genuine = method.and_then(|method| genuine(method, message(&body)));
    if let Some(genuine) = &genuine {
        say(forge(genuine).await);
    }
    if let Some(request) = (path == GET).then(|| handed_over(&body)).flatten() {
        say(attempt("apply", "handed over", APPLY, Some(request)).await);
    }
    let response = forward(Request::from_parts(parts, Full::new(body))).await?;
    if let Some(genuine) = genuine {
        keep(genuine, &kept).await;
    }
    Ok(response)
}

/// An upgrade: what its client sends goes on while it is answered.
async fn upgrade(request: Request<Incoming>, kept: Kept) -> Result<Response<Incoming>> {
    let (parts, body) = request.into_parts();
    let mut messages = Messages::of(body);
    let first = messages.next().await?.unwrap_or_default();
    let genuine = genuine(UPGRADE, &first);
    if let Some(genuine) = &genuine {
        say(forge(genuine).await);
    }
    let spoilt = release::spoil(first, messages);
    let response = forward(Request::from_parts(parts, spoilt)).await?;
    if let Some(genuine) = genuine {
        keep(genuine, &kept).await;
    }
    Ok(response)
}

async fn keep(genuine: Genuine, kept: &Kept) {
    let mut kept = kept.lock().await;
    kept.push(genuine);
    for genuine in kept.iter() {
        say(repeat(genuine, "seen").await);
    }
}

fn genuine(method: &'static str, message: &[u8]) -> Option<Genuine> {
    let request = ApplyRequest::decode(message).ok()?.request?;
    Some(Genuine { method, request })
}

fn handed_over(body: &Bytes) -> Option<SignedRequest> {
    let GetRequest { id, .. } = GetRequest::decode(message(body)).ok()?;
    SignedRequest::decode(hex::decode(id.strip_prefix(HANDED_OVER)?).ok()?.as_slice()).ok()
}

fn say(tried: Result<()>) {
    if let Err(error) = tried {
        tracing::error!(error = format!("{error:#}"), "an attempt could not be made");
    }
}

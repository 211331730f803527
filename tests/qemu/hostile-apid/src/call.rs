//! Calls of machined, as apid makes them: HTTP/2 on its socket, with any role.

use std::convert::Infallible;

use anyhow::{Context as _, Result};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use layout::path;
use tokio::net::UnixStream;
use tonic::{Code, Status};

/// Of a gRPC message: uncompressed, and its length.
const FRAME_BYTES: usize = 5;

/// Passes a call on.
pub async fn forward<B>(request: Request<B>) -> Result<Response<Incoming>>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = UnixStream::connect(path::MACHINED_API).await.context("machined's socket")?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.context("HTTP/2")?;
    tokio::spawn(connection);
    sender.send_request(request).await.context("the call")
}

/// Makes a call of its own, as an admin would have it made; the status at its end.
pub async fn call(method: &str, message: &[u8]) -> Result<Status> {
    let request = Request::post(format!("http://machined{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("cairn-role", "admin")
        .header("cairn-subject", "admin")
        .body(Full::new(frame(message)))?;
    let (parts, body) = forward(request).await?.into_parts();
    if let Some(status) = Status::from_header_map(&parts.headers) {
        return Ok(status);
    }
    let trailers = body.collect().await?.trailers().cloned().unwrap_or_else(HeaderMap::new);
    Ok(Status::from_header_map(&trailers).unwrap_or_else(|| Status::new(Code::Ok, "")))
}

/// The messages of a call with many, as they come.
pub struct Messages {
    body: Incoming,
    read: BytesMut,
}

impl Messages {
    pub fn of(body: Incoming) -> Self {
        Self { body, read: BytesMut::new() }
    }

    /// The next one; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some([_, length @ ..]) = self.read.first_chunk::<FRAME_BYTES>() {
                let end = FRAME_BYTES + usize::try_from(u32::from_be_bytes(*length))?;
                if self.read.len() >= end {
                    return Ok(Some(self.read.split_to(end).freeze().slice(FRAME_BYTES..)));
                }
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}

/// The message of a call with one.
pub fn message(body: &Bytes) -> &[u8] {
    body.get(FRAME_BYTES..).unwrap_or_default()
}

/// A message as it is sent.
pub fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(FRAME_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

//! A machined of cardboard: answers every method with an empty message and tells what it saw.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use apid::roles::{self, Shape};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// An empty message in gRPC framing.
pub const EMPTY_MESSAGE: &[u8] = &[0; 5];
/// Sends back what it receives while it receives it.
pub const ECHOING: &str = "/cairn.update.v1.UpdateService/Upgrade";
/// Never answered.
pub const HANGING: &str = "/cairn.machine.v1.MachineService/CheckHealth";

/// A call as machined saw it.
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body_bytes: usize,
    /// For streams: what to send. Closed when the call ends.
    pub frames: Option<mpsc::Sender<Bytes>>,
}

pub struct Machined {
    socket: PathBuf,
    pub seen: mpsc::UnboundedReceiver<Seen>,
    sender: mpsc::UnboundedSender<Seen>,
    server: Option<AbortHandle>,
}

impl Machined {
    pub fn start(socket: &Path) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let mut machined = Self { socket: socket.to_owned(), seen, sender, server: None };
        machined.restart();
        machined
    }

    pub fn restart(&mut self) {
        self.stop();
        let listener = UnixListener::bind(&self.socket).unwrap();
        self.server = Some(tokio::spawn(serve(listener, self.sender.clone())).abort_handle());
    }

    /// Ends with all its connections.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            std::fs::remove_file(&self.socket).unwrap();
        }
    }

    /// Waits for the next call.
    pub async fn next(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }
}

async fn serve(listener: UnixListener, seen: mpsc::UnboundedSender<Seen>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let seen = seen.clone();
        let service = service_fn(move |request| answer(request, seen.clone()));
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service);
        connections.spawn(connection);
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: mpsc::UnboundedSender<Seen>,
) -> Result<Response<Frames>, Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if path == ECHOING {
        let (frames, receiver) = mpsc::channel(1);
        tokio::spawn(echo(body, frames));
        return Ok(respond(receiver));
    }
    let Ok(body) = body.collect().await else { std::future::pending().await };
    let streams = roles::find(&path).is_some_and(|method| method.shape == Shape::Stream);
    let (frames, receiver) = mpsc::channel(1);
    if !streams {
        frames.try_send(Bytes::from_static(EMPTY_MESSAGE)).unwrap();
    }
    let hangs = path == HANGING;
    let call = Seen {
        path,
        headers: parts.headers,
        body_bytes: body.to_bytes().len(),
        frames: streams.then_some(frames),
    };
    // A test that does not look at calls has dropped the receiver.
    let _sent = seen.send(call);
    if hangs {
        std::future::pending::<()>().await;
    }
    Ok(respond(receiver))
}

fn respond(receiver: mpsc::Receiver<Bytes>) -> Response<Frames> {
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(Frames { receiver, ended: false }).unwrap()
}

async fn echo(mut body: Incoming, frames: mpsc::Sender<Bytes>) {
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { return };
        if frames.send(data).await.is_err() {
            return;
        }
    }
}

/// The messages of a channel, then trailers that say that all is well.
struct Frames {
    receiver: mpsc::Receiver<Bytes>,
    ended: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.receiver.poll_recv(context).map(|message| {
            Some(Ok(message.map(Frame::data).unwrap_or_else(|| {
                self.ended = true;
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                Frame::trailers(trailers)
            })))
        })
    }
}

//! The one connection to machined.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tonic::Status;

use crate::body::RequestBody;
use crate::chain::Chain;
use crate::limits::CALLS_MAX;

/// What machined may send ahead on one call: a reader that stalls holds no more than this.
const STREAM_WINDOW_BYTES: u32 = 32 * 1024;
/// All calls may stall at once without stopping another.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * CALLS_MAX as u32;
/// How much of a call's request waits to be sent.
const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// A machined that does not answer pings for this long is as good as gone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Why machined did not answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Its socket refuses.
    #[error("cannot connect to machined")]
    Connect {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke at its start.
    #[error("cannot speak HTTP/2 to machined")]
    Handshake {
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The connection broke under the call.
    #[error("machined did not answer the call")]
    Call {
        /// Why.
        #[source]
        source: hyper::Error,
    },
}

/// machined's API, connected to when first needed and again after it went away.
#[derive(Debug)]
pub struct Upstream {
    socket: PathBuf,
    sender: Mutex<Option<SendRequest<RequestBody>>>,
}

impl Upstream {
    /// Does not connect yet.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, sender: Mutex::new(None) }
    }

    /// Sends one call. A call that a dying connection never sent is sent once more on a new one.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn send(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, UpstreamError> {
        let mut error = match self.sender().await?.try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let Some(request) = error.take_message() else {
            return Err(UpstreamError::Call { source: error.into_error() });
        };
        *self.sender.lock().await = None;
        let response = self.sender().await?.send_request(request).await;
        response.map_err(|source| UpstreamError::Call { source })
    }

    async fn sender(&self) -> Result<SendRequest<RequestBody>, UpstreamError> {
        let mut slot = self.sender.lock().await;
        if let Some(sender) = slot.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let sender = self.connect().await?;
        *slot = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(&self) -> Result<SendRequest<RequestBody>, UpstreamError> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|source| UpstreamError::Connect { source })?;
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| UpstreamError::Handshake { source })?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = %Chain(&error), "connection to machined ended");
            }
        });
        Ok(sender)
    }
}

/// What a client is told when machined went away.
#[must_use]
pub fn lost() -> Status {
    Status::unavailable("machined is restarting; try again")
}

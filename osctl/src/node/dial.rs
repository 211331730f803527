//! From an address to an authenticated connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::{AlertDescription, ClientConfig};
use rustls_pki_types::{IpAddr, Ipv4Addr, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::endpoint::Endpoint;

/// What stopped a connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("cannot resolve the name")]
    Resolve(#[source] io::Error),
    /// No TCP connection.
    #[error("no connection")]
    Connect(#[source] io::Error),
    /// Connected, but not to the node.
    #[error("no secure connection")]
    Handshake(#[source] io::Error),
    /// Nothing happened in time.
    #[error("no answer within {} s", limit.as_secs())]
    Timeout {
        /// How long it was tried.
        limit: Duration,
    },
}

/// Why the node ended the connection, once it said so.
pub type Refusal = Arc<OnceLock<AlertDescription>>;

/// Connects to one endpoint.
pub async fn dial(
    endpoint: &Endpoint,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<Wire, DialError> {
    timeout(limit, connect(endpoint, config)).await.unwrap_or(Err(DialError::Timeout { limit }))
}

async fn connect(endpoint: &Endpoint, config: Arc<ClientConfig>) -> Result<Wire, DialError> {
    let addresses = lookup_host((endpoint.host.as_str(), endpoint.port)).await.map_err(DialError::Resolve)?;
    let addresses: Vec<_> = addresses.collect();
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(DialError::Connect)?;
    stream.set_nodelay(true).map_err(DialError::Connect)?;
    // rustls asks for a name; the verifier has its own idea of who the node is, and none is sent.
    let nobody = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0, 0, 0, 0])));
    let stream = TlsConnector::from(config).connect(nobody, stream).await.map_err(DialError::Handshake)?;
    Ok(Wire { stream, refusal: Refusal::default(), broken: None })
}

/// A TLS connection that remembers the alert with which the node ended it. In TLS 1.3 a node refuses a client
/// only after the client's handshake is done, and HTTP/2 does not hand such an error up.
#[derive(Debug)]
pub struct Wire {
    stream: TlsStream<TcpStream>,
    refusal: Refusal,
    /// Error of the last write, while the rest is read.
    broken: Option<io::Error>,
}

impl Wire {
    /// Where the node's alert will be found.
    pub fn refusal(&self) -> Refusal {
        Arc::clone(&self.refusal)
    }

    fn remember(&self, error: &io::Error) {
        if let Some(rustls::Error::AlertReceived(alert)) = tls_error(error) {
            // The first alert is the reason, later ones are its consequence.
            let _ = self.refusal.set(*alert);
        }
    }

    /// Holds a write's error back until everything that the node sent has been read: a node that refuses closes at
    /// once, so that writes fail while its alert still waits to be received.
    fn after_write<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match poll {
            Poll::Ready(Err(error)) => {
                self.broken = Some(error);
                self.drain(context).map(Err)
            }
            other => other,
        }
    }

    fn drain(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let mut scratch = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Ok(())) => break,
                Poll::Ready(Err(error)) => {
                    self.remember(&error);
                    break;
                }
            }
        }
        Poll::Ready(self.broken.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()))
    }
}

/// The TLS library's error inside of an I/O error.
pub fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &poll {
            self.remember(error);
        }
        poll
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken.is_some() {
            return self.drain(context).map(Err);
        }
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_write(context, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken.is_some() {
            return self.drain(context).map(Err);
        }
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.after_write(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

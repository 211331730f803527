//! One connection: handshake, identity, HTTP/2, and its end when the client's certificate no longer holds.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pki::{Identity, Refusal, Role, SubjectName, Validity};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::audit::Peer;
use crate::chain::Chain;
use crate::gateway::Gateway;
use crate::material::Material;

/// Time for the TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the first call. HTTP/2 keep-alive watches over a connection only once it has begun.
pub const FIRST_CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection whose client does not answer pings is closed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest sleep before a certificate's end is looked at again: timers do not reach the year 9999.
const EXPIRY_CHECK_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// Time for calls under way to end when the node leaves maintenance: one of them made it do so.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
const STREAMS_MAX: u32 = 64;
const FRAME_MAX_BYTES: u32 = 16 * 1024;
const HEADERS_MAX_BYTES: u32 = 16 * 1024;
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// Streams that a client may open and reset before the connection is closed (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 32;

/// Why a connection came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Took too long.
    #[error("the TLS handshake took too long")]
    Timeout,
    /// Not TLS 1.3, or no certificate that is let in.
    #[error("the TLS handshake failed")]
    Tls {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Did not ask for HTTP/2.
    #[error("the client did not offer HTTP/2")]
    NotHttp2,
    /// Trust or clock changed during the handshake.
    #[error("the client is not let in")]
    Refused {
        /// Why.
        #[source]
        source: Refusal,
    },
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The client is let in no more.
    #[error(transparent)]
    Refused(Refusal),
    /// Who may come, and what for, is another matter now.
    #[error("the node is no longer in the mode in which it let the client in")]
    OtherMode,
}

/// A connection whose client is known, as far as the node's mode asks for that.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    certificate: CertificateDer<'static>,
    peer: Arc<Peer>,
    material: watch::Receiver<Arc<Material>>,
}

impl Connection {
    /// Performs the TLS handshake and finds out who is there.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn accept(
        stream: TcpStream,
        address: SocketAddr,
        mut material: watch::Receiver<Arc<Material>>,
    ) -> Result<Self, HandshakeError> {
        let current = Arc::clone(&material.borrow_and_update());
        // Small frames should not wait for each other; without it they only come later.
        let _set = stream.set_nodelay(true);
        let acceptor = TlsAcceptor::from(Arc::clone(&current.tls));
        let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream))
            .await
            .map_err(|_| HandshakeError::Timeout)?
            .map_err(|source| HandshakeError::Tls { source })?;
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(b"h2") {
            return Err(HandshakeError::NotHttp2);
        }
        let leaf = session.peer_certificates().and_then(|chain| chain.first());
        let certificate =
            leaf.map(|leaf| leaf.clone().into_owned()).unwrap_or_else(|| CertificateDer::from(Vec::new()));
        let identity =
            judge(&certificate, address, &current).map_err(|source| HandshakeError::Refused { source })?;
        let peer = Arc::new(Peer { identity, mode: current.mode, address });
        Ok(Self { stream, certificate, peer, material })
    }

    /// Serves calls until the client goes or its certificate no longer holds.
    pub async fn serve(self, gateway: Arc<Gateway>) {
        let Self { stream, certificate, peer, material } = self;
        let called = Arc::new(AtomicBool::new(false));
        let service = {
            let (called, peer) = (Arc::clone(&called), Arc::clone(&peer));
            service_fn(move |request| {
                called.store(true, Ordering::Relaxed);
                Arc::clone(&gateway).call(Arc::clone(&peer), request)
            })
        };
        let mut connection = pin!(http2().serve_connection(TokioIo::new(stream), service));
        let mut end = pin!(end(&certificate, &peer, material));
        let (subject, address) = (&peer.identity.subject, peer.address);
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error = %Chain(&error), peer = %address, %subject, "connection ended");
                }
            }
            refusal = end.as_mut() => {
                tracing::warn!(%refusal, peer = %address, %subject, "connection closed");
                if let End::OtherMode = refusal {
                    connection.as_mut().graceful_shutdown();
                    timeout(FAREWELL_TIMEOUT, connection).await.ok();
                }
            }
            () = silence(&called) => {}
        }
    }
}

/// Returns when the time for the first call is over without one.
async fn silence(called: &AtomicBool) {
    sleep(FIRST_CALL_TIMEOUT).await;
    if called.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// The settings of HTTP/2: small buffers, bounded everything.
fn http2() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        // The wall clock may be years off.
        .auto_date_header(false)
        .max_concurrent_streams(STREAMS_MAX)
        .max_frame_size(FRAME_MAX_BYTES)
        .max_header_list_size(HEADERS_MAX_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(RESET_STREAMS_MAX)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

fn judge(
    certificate: &CertificateDer<'_>,
    address: SocketAddr,
    material: &Material,
) -> Result<Identity, Refusal> {
    match &material.clients {
        Some(clients) => pki::judge(certificate, &clients.cas, &clients.revoked, material.clock.now_s()),
        None => stranger(address),
    }
}

/// Somebody without a certificate, counted and recorded under the address.
fn stranger(address: SocketAddr) -> Result<Identity, Refusal> {
    let subject = SubjectName::parse(&address.ip().to_string()).map_err(|_| Refusal::Subject)?;
    Ok(Identity { subject, role: Role::Reader, serial: String::new(), validity: Validity::UNLIMITED })
}

/// Returns when the client is no longer let in: its certificate expired or was revoked, its CA is no longer trusted,
/// or the node left the mode in which it came.
async fn end(
    certificate: &CertificateDer<'_>,
    peer: &Peer,
    mut material: watch::Receiver<Arc<Material>>,
) -> End {
    loop {
        let current = Arc::clone(&material.borrow_and_update());
        if current.mode != peer.mode {
            return End::OtherMode;
        }
        let identity = match judge(certificate, peer.address, &current) {
            Ok(identity) => identity,
            Err(refusal) => return End::Refused(refusal),
        };
        let left = current.clock.until_past(identity.validity.not_after_s).min(EXPIRY_CHECK_INTERVAL);
        if let Ok(Err(_closed)) = timeout(left, material.changed()).await {
            // The daemon ends.
            std::future::pending::<()>().await;
        }
    }
}

//! One record per call: who, what, from where, how it ended.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderMap;
use pki::Identity;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::mode::Mode;

/// Longest method name in a record: unknown methods are the client's text.
const METHOD_MAX_CHARACTERS: usize = 128;

/// Who is at the other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// From its certificate; made up for who needs none.
    pub identity: Identity,
    /// What the node was up to when it let the peer in.
    pub mode: Mode,
    /// Where from.
    pub address: SocketAddr,
}

/// A call that is written to the log when dropped.
#[derive(Debug)]
pub struct Record {
    peer: Arc<Peer>,
    method: String,
    started: Instant,
    code: Option<Code>,
    silent: bool,
}

impl Record {
    /// Starts the record of a call.
    #[must_use]
    pub fn begin(peer: Arc<Peer>, path: &str) -> Self {
        let method = path.chars().take(METHOD_MAX_CHARACTERS).collect();
        Self { peer, method, started: Instant::now(), code: None, silent: false }
    }

    /// How the call ended; the first answer counts. Without one the client went away.
    pub fn finish(&mut self, code: Code) {
        self.code.get_or_insert(code);
    }

    /// Whether it is known how the call ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.code.is_some()
    }

    /// Takes the result from headers or trailers, if they hold one.
    pub fn finish_from(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(Status::GRPC_STATUS) {
            self.finish(Code::from_bytes(code.as_bytes()));
        }
    }

    /// Leaves the call out of the log.
    pub fn silence(&mut self) {
        self.silent = true;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.silent {
            return;
        }
        let identity = &self.peer.identity;
        tracing::info!(
            target: "audit",
            subject = identity.subject.as_str(),
            role = %identity.role,
            serial = identity.serial,
            peer = %self.peer.address,
            method = self.method,
            status = ?self.code.unwrap_or(Code::Cancelled),
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "call"
        );
    }
}

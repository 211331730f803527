//! Bodies on their way through: bounded towards machined, accounted for towards the client.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use tonic::Status;

use crate::audit::Record;
use crate::limits::Permit;

/// Longest request of all: gRPC's usual limit on a message.
pub const REQUEST_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Why a request cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// Longer than the method's limit.
    #[error("the request is longer than {max_bytes} bytes")]
    TooLong {
        /// The limit.
        max_bytes: usize,
    },
    /// The client's stream broke.
    #[error("cannot read the request")]
    Read {
        /// Why.
        #[source]
        source: hyper::Error,
    },
}

/// Told by a request's body that it was too long.
#[derive(Clone, Debug, Default)]
pub struct Overrun {
    max_bytes: usize,
    told: Arc<AtomicBool>,
}

impl Overrun {
    /// For a request of at most `max_bytes`.
    #[must_use]
    pub fn beyond(max_bytes: usize) -> Self {
        Self { max_bytes, told: Arc::default() }
    }

    /// The status to answer with when a call failed: the client's fault, or else `other`.
    #[must_use]
    pub fn or(&self, other: Status) -> Status {
        if self.told.load(Ordering::Relaxed) {
            let too_long = RequestBodyError::TooLong { max_bytes: self.max_bytes };
            Status::resource_exhausted(too_long.to_string())
        } else {
            other
        }
    }
}

/// A request's body, cut off where it grows too long.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    left_bytes: usize,
    overrun: Overrun,
}

impl RequestBody {
    /// Passes `inner` on and tells `overrun` when it is longer than that allows.
    #[must_use]
    pub fn new(inner: Incoming, overrun: Overrun) -> Self {
        Self { inner, left_bytes: overrun.max_bytes, overrun }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        let frame = match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Err(source)) => return Poll::Ready(Some(Err(RequestBodyError::Read { source }))),
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match this.left_bytes.checked_sub(length) {
            Some(left_bytes) => {
                this.left_bytes = left_bytes;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                this.overrun.told.store(true, Ordering::Relaxed);
                let max_bytes = this.overrun.max_bytes;
                Poll::Ready(Some(Err(RequestBodyError::TooLong { max_bytes })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A response's body. It carries what must last as long as the call: its audit record, its permit, its deadline.
pub struct ResponseBody {
    inner: tonic::body::Body,
    record: Record,
    deadline: Option<Pin<Box<Sleep>>>,
    overrun: Overrun,
    ended: bool,
    _permit: Option<Permit>,
}

impl ResponseBody {
    /// The rest of a call whose response `headers` are about to be sent. The call fails at `deadline`.
    #[must_use]
    pub fn new(
        inner: tonic::body::Body,
        headers: &HeaderMap,
        mut record: Record,
        deadline: Option<Pin<Box<Sleep>>>,
        overrun: Overrun,
        permit: Option<Permit>,
    ) -> Self {
        record.finish_from(headers);
        Self { inner, record, deadline, overrun, ended: false, _permit: permit }
    }

    /// Ends the call with `status` in the trailers.
    fn end_with(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.ended = true;
        self.inner = tonic::body::Body::empty();
        self.record.finish(status.code());
        let mut trailers = HeaderMap::new();
        match status.add_header(&mut trailers) {
            Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(status) => Poll::Ready(Some(Err(status))),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let late = this.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready());
        if late {
            return this.end_with(&Status::deadline_exceeded("the answer took too long"));
        }
        match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.record.finish_from(trailers);
                    this.ended = true;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => this.end_with(&this.overrun.or(crate::upstream::lost())),
            // The headers said it all.
            None if this.record.is_finished() => Poll::Ready(None),
            None => this.end_with(&crate::upstream::lost()),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

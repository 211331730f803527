//! The bytes of a part of a file as they come, never more than were asked for.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    fs::File,
    io::AsyncReadExt as _,
    time::{Instant, timeout_at},
};

use super::{Limiter, Part, SourceError, client::Answer};

/// What is read of a file at once.
const FILE_PIECE_BYTES: usize = 64 * 1024;

/// Where the bytes come from.
#[derive(Debug)]
pub(super) enum Flow {
    Http(reqwest::Response),
    File(File),
    Client(Answer),
}

/// Times that a transfer must keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// When all must be there.
    pub(super) at: Instant,
    /// How long that was from the beginning.
    pub(super) within: Duration,
}

/// A part of a file on its way.
#[derive(Debug)]
pub struct Body {
    flow: Flow,
    part: Part,
    left_bytes: u64,
    /// Bytes after the part are left alone: a server sends the whole file.
    cut: bool,
    deadline: Option<Deadline>,
    limiter: Option<Arc<Limiter>>,
}

impl Body {
    pub(super) fn new(flow: Flow, part: Part) -> Self {
        Self { flow, part, left_bytes: part.max_bytes(), cut: false, deadline: None, limiter: None }
    }

    pub(super) fn cut(self, cut: bool) -> Self {
        Self { cut, ..self }
    }

    pub(super) fn by(self, deadline: Deadline) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    pub(super) fn limited(self, limiter: Option<Arc<Limiter>>) -> Self {
        Self { limiter, ..self }
    }

    /// The next bytes; `None` at the end, which is where it was said to be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.cut && self.left_bytes == 0 {
            return Ok(None);
        }
        let Some(mut bytes) = self.piece().await? else { return self.end() };
        if let Some(limiter) = &self.limiter {
            limiter.pay(bytes.len()).await;
        }
        let left = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
        if bytes.len() > left {
            if !self.cut {
                return Err(SourceError::TooLong { max_bytes: self.part.max_bytes() });
            }
            bytes.truncate(left);
        }
        self.left_bytes -= u64::try_from(bytes.len()).unwrap_or(self.left_bytes);
        Ok(Some(bytes))
    }

    /// All of it, in memory.
    pub async fn collect(mut self) -> Result<Vec<u8>, SourceError> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    fn end(&self) -> Result<Option<Bytes>, SourceError> {
        match self.part {
            Part::Range { .. } if self.left_bytes > 0 => {
                Err(SourceError::Truncated { missing_bytes: self.left_bytes })
            }
            Part::Range { .. } | Part::Whole { .. } => Ok(None),
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, SourceError> {
        let next = self.flow.next(self.left_bytes);
        match self.deadline {
            None => next.await,
            Some(Deadline { at, within }) => {
                timeout_at(at, next).await.unwrap_or(Err(SourceError::Slow { within }))
            }
        }
    }
}

impl Flow {
    async fn next(&mut self, left_bytes: u64) -> Result<Option<Bytes>, SourceError> {
        match self {
            Self::Http(response) => {
                response.chunk().await.map_err(|error| SourceError::Broken(error.without_url()))
            }
            Self::Client(answer) => answer.next().await,
            Self::File(file) => {
                // One more than is wanted of a whole file, so that a longer one is noticed.
                let wanted = usize::try_from(left_bytes.saturating_add(1)).unwrap_or(usize::MAX);
                let mut piece = vec![0; wanted.min(FILE_PIECE_BYTES)];
                let length = file.read(&mut piece).await.map_err(SourceError::Read)?;
                piece.truncate(length);
                Ok((length > 0).then(|| piece.into()))
            }
        }
    }
}

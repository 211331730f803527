//! The library's way to files of a repository: through one mirror, bounded, and never by a URL of its own.

use std::{
    future::ready,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tough::{Transport, TransportError, TransportErrorKind, TransportStream, async_trait};
use url::Url;

use crate::update::source::{Part, ReleasePath, Source, SourceError};

/// Longest file of metadata, and longest target.
pub const FILE_MAX_BYTES: u64 = 1 << 20;

/// One mirror at a time. Its clones share which one, and what went wrong.
#[derive(Clone, Debug)]
pub struct MirrorTransport {
    source: Source,
    mirror: Arc<AtomicUsize>,
    failure: Arc<Mutex<Option<SourceError>>>,
}

impl MirrorTransport {
    /// Through this mirror of the source.
    pub fn new(source: Source, mirror: usize) -> Self {
        Self { source, mirror: Arc::new(mirror.into()), failure: Arc::default() }
    }

    /// Reads through this mirror from now on.
    pub fn turn_to(&self, mirror: usize) {
        self.mirror.store(mirror, Ordering::Relaxed);
    }

    /// Why the last file did not come, if it did not.
    pub fn take_failure(&self) -> Option<SourceError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn read(&self, url: &Url) -> Result<Vec<u8>, SourceError> {
        let path = url.path().trim_start_matches('/');
        let path = ReleasePath::new(path).map_err(|_| SourceError::NotFound(path.to_owned()))?;
        let part = Part::Whole { max_bytes: FILE_MAX_BYTES };
        let mirror = self.mirror.load(Ordering::Relaxed);
        self.source.open(mirror, &path, part).await?.collect().await
    }
}

#[async_trait]
impl Transport for MirrorTransport {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let read = self.read(&url).await;
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(content) => {
                *failure = None;
                Ok(Box::pin(futures_util::stream::once(ready(Ok(content.into())))))
            }
            Err(error) => {
                let kind = match error {
                    SourceError::NotFound(_) => TransportErrorKind::FileNotFound,
                    _ => TransportErrorKind::Other,
                };
                *failure = Some(error);
                Err(TransportError::new(kind, url))
            }
        }
    }
}

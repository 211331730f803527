//! Where a release comes from. Nothing that comes is believed: what reads a file bounds it, and its hash is checked by
//! whoever asked for it. Start reading at [`Source::open`].

mod body;
mod client;
mod folder;
mod http;
mod limit;
mod path;
mod tls;

use std::{io, time::Duration};

pub use body::Body;
pub use client::{Chunk, ClientEnd, ClientSource, Deliveries, Missing};
pub use folder::{FolderSource, VolumeError};
pub use http::{HttpSource, Timeouts};
pub use limit::Limiter;
pub use path::{PathError, ReleasePath};
pub use tls::{TlsError, client as tls_client};

/// How much of a file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it, if it is not longer.
    Whole {
        /// The most that is taken.
        max_bytes: u64,
    },
    /// Exactly these bytes.
    Range {
        /// Where they begin.
        first_byte: u64,
        /// How many.
        length_bytes: u64,
    },
}

impl Part {
    /// The most that may come.
    pub const fn max_bytes(self) -> u64 {
        match self {
            Self::Whole { max_bytes } => max_bytes,
            Self::Range { length_bytes, .. } => length_bytes,
        }
    }
}

/// Why a file, or a part of it, does not come.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no such file.
    #[error("there is no {0}")]
    NotFound(String),
    /// The client that speaks HTTP cannot be made.
    #[error("there is no HTTP client")]
    Client(#[source] reqwest::Error),
    /// A server cannot be asked.
    #[error("no answer")]
    Request(#[source] reqwest::Error),
    /// A server refuses.
    #[error("the server answers with status {0}")]
    Status(u16),
    /// A server sends other bytes than those asked for.
    #[error("the server does not send the range that was asked for")]
    Range,
    /// The answer breaks off.
    #[error("the answer breaks off")]
    Broken(#[source] reqwest::Error),
    /// More came than was asked for.
    #[error("more than {max_bytes} bytes came")]
    TooLong {
        /// What was asked for.
        max_bytes: u64,
    },
    /// Less came than was asked for.
    #[error("{missing_bytes} bytes are missing at the end")]
    Truncated {
        /// What did not come.
        missing_bytes: u64,
    },
    /// It takes too long.
    #[error("it did not come within {} s", within.as_secs())]
    Slow {
        /// The time that there was.
        within: Duration,
    },
    /// A file of a volume cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// The client that has the release has gone.
    #[error("the client is gone")]
    Gone,
    /// The client that has the release cannot read it.
    #[error("the client cannot read it: {0}")]
    ClientRead(String),
}

/// A place that has a release repository.
#[derive(Clone, Debug)]
pub enum Source {
    /// Web servers with the same content.
    Http(HttpSource),
    /// A folder of a mounted volume.
    Folder(FolderSource),
    /// Whoever asked for the upgrade.
    Client(ClientSource),
}

impl Source {
    /// How many mirrors there are; never none.
    pub fn mirrors(&self) -> usize {
        match self {
            Self::Http(http) => http.mirrors(),
            Self::Folder(_) | Self::Client(_) => 1,
        }
    }

    /// What to call a mirror. Never a secret of its URL.
    pub fn name(&self, mirror: usize) -> String {
        match self {
            Self::Http(http) => http.name(mirror),
            Self::Folder(folder) => folder.name(),
            Self::Client(_) => "the client".to_owned(),
        }
    }

    /// Begins to read a part of a file from a mirror.
    pub async fn open(&self, mirror: usize, path: &ReleasePath, part: Part) -> Result<Body, SourceError> {
        match self {
            Self::Http(http) => http.open(mirror, path, part).await,
            Self::Folder(folder) => folder.open(path, part).await,
            Self::Client(client) => client.open(path, part).await,
        }
    }
}

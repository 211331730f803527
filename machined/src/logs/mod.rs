//! Readers of logs: services, containers, the kernel.
//!
//! Each reader sends into a bounded channel and ends when its client goes. Reads are of at most [`CHUNK_BYTES`]
//! from files of bounded size, between which other tasks run.
//! `tail.rs` hands whole lines of all services to a caller that never waits. Start reading at `file.rs`.

pub mod container;
pub mod file;
pub mod kernel;
pub mod tail;

/// Longest piece that is read and sent at once.
pub const CHUNK_BYTES: usize = 32 * 1024;
/// Pieces on their way to one client: more is back-pressure on the reader.
pub const CHANNEL_PIECES: usize = 4;

/// Which lines a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Keep sending what is written from now on.
    pub follow: bool,
    /// Last lines to begin with; `None` for all.
    pub tail_lines: Option<u32>,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No such log.
    #[error("{what} has no log")]
    NotFound {
        /// Of what.
        what: String,
    },
    /// Several containers, none named.
    #[error("pod {pod} has several containers; name one of: {}", containers.join(", "))]
    Ambiguous {
        /// The pod.
        pod: String,
        /// Its containers.
        containers: Vec<String>,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

impl LogError {
    /// A read error of `path`.
    pub fn read(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Read { path: path.display().to_string(), source }
    }
}

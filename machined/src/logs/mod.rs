//! Logs: gathered from services and the kernel, kept over reboots, read again.
//!
//! [`collect`] hands every line of the services (`tail.rs`) and of the kernel (`kernel.rs`) to the [`keeper`], a thread of
//! its own that alone has the store of `crates/logstore`: on DATA, or in memory as long as there is none, and in recovery.
//! So a disk that hangs holds up logs and nothing else. [`query`] reads from it. Logs of containers stay in the kubelet's
//! files (`container.rs`, `file.rs`), and the kernel's own ring is read as it is (`kernel.rs`).
//!
//! Each reader sends into a bounded channel and ends when its client goes. Start reading at [`run`].

mod clock;
mod collect;
mod condition;
pub mod container;
mod crash;
pub mod file;
mod folder;
mod keeper;
pub mod kernel;
mod lookup;
pub mod query;
pub mod severity;
mod tail;

use std::{path::Path, sync::Arc, time::Duration};

pub use clock::Clock;
pub use collect::CRASH;
pub use crash::Crash;
pub use folder::Folder;
pub use keeper::{Bookmark, Gone, Handle, Merge};
use layout::path;
use tokio::time::sleep;

use crate::{context::Context, error_chain::error_chain};

/// After logs could not be read, or DATA could not be written.
const RETRY: Duration = Duration::from_secs(10);
/// Name of the condition.
pub const CONDITION: &str = "logs";

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

/// Gathers and keeps logs for ever. In recovery, without DATA, they stay in memory.
pub async fn run(context: Arc<Context>, has_data: bool) {
    let keep = async {
        if has_data {
            attach(&context).await;
        } else {
            condition::in_memory(&context.health);
        }
    };
    tokio::join!(collect::run(&context.logs), keep, condition::run(&context.logs, &context.health));
}

/// Moves the logs to DATA as soon as that is there, and with them what the last boot left of itself.
async fn attach(context: &Context) {
    let mut data_ready = context.data_ready.clone();
    if data_ready.wait_for(|ready| *ready).await.is_err() {
        return;
    }
    loop {
        let folder = Folder::at(Path::new(path::LOGS));
        match context.logs.ask(move |keeper| keeper.attach(folder)).await {
            Ok(Ok(())) => break,
            Ok(Err(error)) => condition::unkept(&context.health, &error_chain(&error)),
            Err(Gone) => return,
        }
        sleep(RETRY).await;
    }
    crash::take_over(&context.logs, Path::new(crash::PSTORE)).await;
}

impl LogError {
    /// A read error of `path`.
    pub fn read(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Read { path: path.display().to_string(), source }
    }
}

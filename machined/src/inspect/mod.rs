//! What the node does at this moment: processes, cgroups, the machine, mounts, sockets. Read only when somebody asks.
//!
//! `crates/procview` makes sense of the kernel's text; this reads it, within named bounds, and fills the API's messages. It keeps
//! nothing between two requests. What cannot be read is absent: a process may end, and a kernel may lack a file, at any moment.
//! Start reading at [`Inspector`].

mod cgroups;
mod mounts;
mod names;
mod processes;
mod roots;
mod sockets;
mod system;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use names::Names;
pub use processes::Wanted;
pub use roots::Roots;
use tokio::sync::Semaphore;

pub use self::{cgroups::cgroups, mounts::mounts, processes::arguments, sockets::sockets};

/// Longest time between two looks: a client waits for it, and apid for a minute at most.
pub const INTERVAL_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the look of another client. The kernel lets whoever reads arguments or proportional sizes wait for a
/// process that is stuck itself.
const TURN_MAX: Duration = Duration::from_secs(10);

/// Why nobody can look.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Another look does not end.
    #[error("another look at the node has not ended within {} s; try again", TURN_MAX.as_secs())]
    Busy,
    /// The work ended before its end.
    #[error("the look at the node broke off")]
    Broken(#[source] tokio::task::JoinError),
}

/// Looks at the node, one look at a time: the few threads for what blocks are shared with storage.
#[derive(Clone)]
pub struct Inspector {
    roots: Roots,
    turns: Arc<Semaphore>,
}

impl Inspector {
    /// For this node.
    pub fn new() -> Self {
        Self::at(Roots::default())
    }

    /// For a node whose files are elsewhere.
    pub fn at(roots: Roots) -> Self {
        Self { roots, turns: Arc::new(Semaphore::new(1)) }
    }

    /// Does work that reads.
    pub async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Roots) -> T + Send + 'static,
    ) -> Result<T, InspectError> {
        let turn = tokio::time::timeout(TURN_MAX, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(InspectError::Busy)?;
        let roots = self.roots.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work, not by who waits for it.
            let _turn = turn;
            work(&roots)
        });
        done.await.map_err(InspectError::Broken)
    }

    /// Processes.
    pub async fn processes(
        &self,
        names: Names,
        wanted: Wanted,
        interval: Option<Duration>,
    ) -> Result<proto::inspect::v1::ListProcessesResponse, InspectError> {
        let before = self.before(interval, processes::ticks).await?;
        self.look(move |roots| processes::processes(roots, &names, wanted, before)).await
    }

    /// Cgroups of services, pods and containers.
    pub async fn cgroups(
        &self,
        names: Names,
        interval: Option<Duration>,
    ) -> Result<proto::inspect::v1::ListCgroupsResponse, InspectError> {
        let before = self.before(interval, cgroups::used).await?;
        self.look(move |roots| cgroups(roots, &names, before)).await
    }

    /// The machine as a whole.
    pub async fn system(
        &self,
        interval: Option<Duration>,
    ) -> Result<proto::inspect::v1::GetSystemResponse, InspectError> {
        let before = self.before(interval, system::counters).await?;
        self.look(move |roots| system::system(roots, before)).await
    }

    /// The first of two looks, with the time between both behind it.
    async fn before<T: Send + 'static>(
        &self,
        interval: Option<Duration>,
        work: fn(&Roots) -> T,
    ) -> Result<Option<Before<T>>, InspectError> {
        let Some(interval) = interval else { return Ok(None) };
        let before = self.look(move |roots| Before { seen: work(roots), at: Instant::now() }).await?;
        tokio::time::sleep(interval).await;
        Ok(Some(before))
    }
}

/// What an earlier look saw.
pub struct Before<T> {
    /// That.
    pub seen: T,
    /// When.
    pub at: Instant,
}

impl<T> Before<T> {
    /// What was seen, and how long ago, in milliseconds; of no earlier look, nothing and 0.
    fn split(before: Option<Self>) -> (Option<T>, u32) {
        match before {
            Some(Self { seen, at }) => {
                (Some(seen), u32::try_from(at.elapsed().as_millis()).unwrap_or(u32::MAX))
            }
            None => (None, 0),
        }
    }
}

/// How many are more than fit.
fn omitted(all: usize, max: usize) -> u32 {
    u32::try_from(all.saturating_sub(max)).unwrap_or(u32::MAX)
}

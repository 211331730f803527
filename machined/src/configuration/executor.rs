//! Makes the node obey another configuration, exactly as the plan of the change says.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use config::NodeConfig;
use tokio::{sync::watch, time::timeout};

use super::services::{Services, ServicesError};
use crate::{
    follow::Settled,
    health::{CONDITIONS, Health, Status},
    kubernetes::{CONTAINERD, KUBELET},
};

/// Who serves the API, as PID 1 knows it.
pub const APID: &str = "apid";

/// For controllers to obey. Each only renders files and speaks to the kernel.
const SETTLE: Duration = Duration::from_secs(30);

/// Services that a change may restart, in the order in which that is done.
/// apid is the last: it takes the connection over which the change is watched with it.
pub const RESTARTED: [&str; 3] = [CONTAINERD, KUBELET, APID];

/// What a plan asks the node to do, and what tells whether it went well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Services that read what is rendered anew only when they start, in order.
    pub restarts: Vec<&'static str>,
    /// Conditions of all that is touched.
    pub conditions: BTreeSet<&'static str>,
}

/// Why the node does not wholly obey the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// Controllers that did not come to an end.
    #[error("{} did not take the change up within {} s", names.join(", "), SETTLE.as_secs())]
    NotSettled {
        /// Which.
        names: Vec<&'static str>,
    },
    /// A service is not restarted.
    #[error("{name} cannot be restarted")]
    Restart {
        /// Which.
        name: &'static str,
        /// Cause.
        #[source]
        source: ServicesError,
    },
    /// What is owed cannot be noted.
    #[error("cannot write {}", path.display())]
    Note {
        /// Where.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Switches configurations.
pub struct Executor<S> {
    config: watch::Sender<Arc<NodeConfig>>,
    settled: Settled,
    health: Health,
    services: S,
    owed: PathBuf,
}

impl<S: Services> Executor<S> {
    /// An executor. `owed` is a file that lives as long as a boot: services that have yet to be restarted, should
    /// machined end between rendering and restarting.
    pub fn new(
        config: watch::Sender<Arc<NodeConfig>>,
        settled: Settled,
        health: Health,
        services: S,
        owed: &Path,
    ) -> Self {
        Self { config, settled, health, services, owed: owed.to_owned() }
    }

    /// The services, and the power of the machine.
    pub fn services(&self) -> &S {
        &self.services
    }

    /// Lets controllers follow, waits until they have, then restarts what the plan names. Harmless when cut off and
    /// done again.
    pub async fn execute(
        &self,
        steps: &Steps,
        new: &Arc<NodeConfig>,
        progress: impl Fn(String),
    ) -> Result<(), ExecuteError> {
        let owed = self.owe(&steps.restarts)?;
        self.config.send_replace(Arc::clone(new));
        self.settle(new).await?;
        for name in owed {
            progress(format!("restarting {name}"));
            self.restart(name).await?;
        }
        self.forgive()
    }

    /// Restarts what an earlier life of machined owes.
    pub async fn resume(&self) -> Result<(), ExecuteError> {
        let owed = self.owed();
        if owed.is_empty() {
            return Ok(());
        }
        let config = Arc::clone(&self.config.borrow());
        self.settle(&config).await?;
        for name in owed {
            self.restart(name).await?;
        }
        self.forgive()
    }

    /// Restarts a service that is owed it without waiting for controllers. What is owed to others stays owed.
    pub async fn pay(&self, name: &'static str) -> Result<(), ExecuteError> {
        self.restart(name).await?;
        let rest: Vec<&str> = self.owed().into_iter().filter(|other| *other != name).collect();
        if rest.is_empty() { self.forgive() } else { self.note(|path| fs::write(path, rest.join("\n"))) }
    }

    async fn settle(&self, config: &Arc<NodeConfig>) -> Result<(), ExecuteError> {
        let settled = timeout(SETTLE, self.settled.on(config)).await;
        settled.map_err(|_| ExecuteError::NotSettled { names: self.settled.behind(config) })
    }

    /// The condition is not healthy from before: who keeps it speaks again when the process is another.
    async fn restart(&self, name: &'static str) -> Result<(), ExecuteError> {
        if CONDITIONS.contains(&name) {
            self.health.set(name, Status::Progressing, "Restarting", "its configuration changed");
        }
        self.services.restart(name).await.map_err(|source| ExecuteError::Restart { name, source })
    }

    /// Notes these restarts, with those of a change that was cut off before.
    pub fn owe(&self, restarts: &[&'static str]) -> Result<Vec<&'static str>, ExecuteError> {
        let mut owed = self.owed();
        owed.extend(restarts.iter().filter(|name| !owed.contains(name)).collect::<Vec<_>>());
        if !owed.is_empty() {
            self.note(|path| fs::write(path, owed.join("\n")))?;
        }
        Ok(owed)
    }

    fn owed(&self) -> Vec<&'static str> {
        let noted = fs::read_to_string(&self.owed).unwrap_or_default();
        RESTARTED.iter().copied().filter(|name| noted.lines().any(|line| line == *name)).collect()
    }

    fn forgive(&self) -> Result<(), ExecuteError> {
        self.note(|path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        })
    }

    fn note(&self, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), ExecuteError> {
        write(&self.owed).map_err(|source| ExecuteError::Note { path: self.owed.clone(), source })
    }
}

#[cfg(test)]
#[path = "executor_tests.rs"]
mod tests;

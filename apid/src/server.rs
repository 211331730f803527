//! The daemon as a whole: wait for the files, listen, confine, serve.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use crate::chain::Chain;
use crate::confine::{ConfineError, confine};
use crate::connection::Connection;
use crate::gateway::Gateway;
use crate::limits::{Connections, RefusalLog, Slot};
use crate::listen::{ListenError, Listeners};
use crate::material::Material;
use crate::notify::Supervisor;
use crate::watch::{Watch, WatchError};

/// Pause after a failure to accept, which is a lack of descriptors or memory.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Whether to give up what is not needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// On a node.
    Full,
    /// In tests that share their process.
    Off,
}

/// Where things lie and how to run.
#[derive(Debug)]
pub struct Options {
    /// Directory of the rendered files.
    pub directory: PathBuf,
    /// Address to listen on when the files name none; its port holds for those that they name.
    pub listen: SocketAddr,
    /// machined's socket.
    pub upstream: PathBuf,
    /// Whether to give up what is not needed.
    pub confinement: Confinement,
    /// Who is told that all is well.
    pub supervisor: Supervisor,
}

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Changes of the rendered files go unseen.
    #[error("cannot watch the rendered files")]
    Watch {
        /// Why.
        #[source]
        source: WatchError,
    },
    /// Nobody could connect.
    #[error("cannot be reached")]
    Listen {
        /// Why.
        #[source]
        source: ListenError,
    },
    /// Serving unconfined is not an option.
    #[error("cannot confine the process")]
    Confine {
        /// Why.
        #[source]
        source: ConfineError,
    },
}

/// A daemon that listens.
pub struct Server {
    directory: PathBuf,
    watch: Watch,
    material: watch::Sender<Arc<Material>>,
    listeners: Listeners,
    connections: Connections,
    gateway: Arc<Gateway>,
    refusals: Arc<RefusalLog>,
    supervisor: Supervisor,
    keep_alive: Interval,
}

impl Server {
    /// Waits until the rendered files are there, listens and confines the process. Connections queue from then on.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let Options { directory, listen, upstream, confinement, supervisor } = options;
        let mut keep_alive = interval(supervisor.interval());
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = Watch::new(&directory).map_err(|source| StartError::Watch { source })?;
        let mut missing = String::new();
        let material = loop {
            match Material::load(&directory, None) {
                Ok(material) => break material,
                Err(error) => say_once(&mut missing, Chain(&error).to_string()),
            }
            changed(&mut watch, &mut keep_alive, &supervisor).await?;
        };
        let listeners =
            Listeners::bind(&material.addresses, listen).map_err(|source| StartError::Listen { source })?;
        if confinement == Confinement::Full {
            confine(&directory).map_err(|source| StartError::Confine { source })?;
        }
        supervisor.ready();
        tracing::info!(addresses = ?listeners.addresses(), "serving");
        Ok(Self {
            directory,
            watch,
            material: watch::Sender::new(Arc::new(material)),
            listeners,
            connections: Connections::default(),
            gateway: Arc::new(Gateway::new(upstream)),
            refusals: Arc::new(RefusalLog::new(Instant::now())),
            supervisor,
            keep_alive,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.listeners.addresses()
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// [`StartError::Watch`].
    pub async fn serve(mut self) -> Result<std::convert::Infallible, StartError> {
        loop {
            tokio::select! {
                (slot, stream, address) = accept(&self.connections, &mut self.listeners) => {
                    self.admit(slot, stream, address);
                }
                changed = self.watch.changed() => {
                    changed.map_err(|source| StartError::Watch { source })?;
                    self.reload();
                }
                _ = self.keep_alive.tick() => self.supervisor.keep_alive(),
            }
        }
    }

    fn admit(&self, slot: Slot, stream: TcpStream, address: SocketAddr) {
        let bounds = self.material.borrow().mode.bounds();
        let Some(admission) = self.connections.admit(slot, address.ip(), bounds) else {
            report(&self.refusals, address, &"too many connections of this address");
            return;
        };
        let (material, gateway) = (self.material.subscribe(), Arc::clone(&self.gateway));
        let refusals = Arc::clone(&self.refusals);
        tokio::spawn(async move {
            match Connection::accept(stream, address, material).await {
                Ok(connection) => connection.serve(gateway).await,
                Err(error) => report(&refusals, address, &Chain(&error)),
            }
            drop(admission);
        });
    }

    fn reload(&self) {
        let clock = self.material.borrow().clock;
        match Material::load(&self.directory, Some(clock)) {
            Ok(material) => {
                tracing::info!("new certificates in use");
                self.material.send_replace(Arc::new(material));
            }
            // machined writes several files: some states between are of no use.
            Err(error) => {
                tracing::info!(error = %Chain(&error), "old certificates stay in use");
            }
        }
    }
}

/// Other directories change meanwhile: only news are worth a line.
fn say_once(last: &mut String, error: String) {
    if *last != error {
        tracing::info!(error, "waiting for machined");
        *last = error;
    }
}

/// Waits for a change of the files, telling PID 1 meanwhile that all is well.
async fn changed(
    watch: &mut Watch,
    keep_alive: &mut Interval,
    supervisor: &Supervisor,
) -> Result<(), StartError> {
    loop {
        tokio::select! {
            biased;
            _ = keep_alive.tick() => supervisor.keep_alive(),
            changed = watch.changed() => return changed.map_err(|source| StartError::Watch { source }),
        }
    }
}

/// The next connection, once there is room for it. Safe to cancel.
async fn accept(connections: &Connections, listeners: &mut Listeners) -> (Slot, TcpStream, SocketAddr) {
    loop {
        let slot = connections.slot().await;
        match listeners.accept().await {
            Ok((stream, address)) => {
                return (slot, stream, SocketAddr::new(address.ip().to_canonical(), address.port()));
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "cannot accept");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

fn report(refusals: &RefusalLog, address: SocketAddr, reason: &dyn std::fmt::Display) {
    if let Some(suppressed) = refusals.admit(Instant::now()) {
        tracing::warn!(peer = %address, %reason, suppressed, "connection refused");
    }
}

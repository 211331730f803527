//! A cluster's control plane on this node: data store, API server, controllers and scheduler as services of PID 1.
//!
//! It is made and taken away by a reboot: what a running cluster's programs hold cannot be exchanged under them. Only
//! the node's address may change while it runs; the API server is then started anew with it. Start reading at [`run`].

mod certificates;
mod render;
#[cfg(test)]
pub mod testing;

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use config::{Cluster, ControlPlane, NodeConfig};
use layout::path;
use tokio::time::sleep;

pub use self::certificates::KUBELET_ADMINS;
use self::{
    certificates::{CertificatesError, Names},
    render::{Facts, Program},
};
use super::client::{Client, ClientError, Identity};
use crate::{
    context::Context,
    error_chain::error_chain,
    files,
    health::Status,
    kubernetes::services::{self, Judge, StartError},
};

/// The condition of all of it.
pub const CONDITION: &str = "control-plane";
/// Between attempts, and between looks at an API server that is not ready.
const RETRY: Duration = Duration::from_secs(2);
/// Between looks at one that is.
const LOOK: Duration = Duration::from_secs(30);
/// The service that is told the node's address.
const API_SERVER: &str = "kube-apiserver";

/// Why it is not served.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("the cluster has no certificates")]
    Certificates(#[from] CertificatesError),
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{name} cannot be started")]
    Start {
        name: &'static str,
        #[source]
        source: StartError,
    },
}

/// Runs for ever; on a node that serves no cluster it does nothing.
pub async fn run(context: Arc<Context>) {
    let config = Arc::clone(&context.config.borrow());
    let (Some(cluster), Some(plane)) = (&config.cluster, &config.control_plane) else { return };
    context.health.set(CONDITION, Status::Progressing, "WaitingForData", "waiting for DATA to be mounted");
    let mut data_ready = context.data_ready.clone();
    if data_ready.wait_for(|ready| *ready).await.is_err() {
        return;
    }
    tokio::join!(serve(&context, &config, cluster, plane), watch(&context));
}

/// Who the node is to the API server that it serves.
pub fn client() -> Result<Client, ClientError> {
    let file = |name: &str| Path::new(path::CONTROL_PLANE).join(name);
    Client::new(
        &format!("https://127.0.0.1:{}", layout::CLUSTER_API_PORT),
        &file("ca.crt"),
        &Identity { certificate: file("node.crt"), key: file("node.key") },
    )
}

/// Starts the programs once the node has an address, and the API server again at each other one.
async fn serve(context: &Context, config: &NodeConfig, cluster: &Cluster, plane: &ControlPlane) {
    let mut address = context.address.subscribe();
    let mut served = None;
    loop {
        let now = *address.borrow_and_update();
        match now {
            None if served.is_none() => {
                let message = "waiting for the node to have an address, at which others find the cluster";
                context.health.set(CONDITION, Status::Progressing, "WaitingForAddress", message);
            }
            Some(now) if served != Some(now) => {
                let hostname = context.node.hostname(config);
                match start(context, &hostname, cluster, plane, now, served.is_some()).await {
                    Ok(()) => served = Some(now),
                    Err(error) => {
                        context.health.set(CONDITION, Status::Unhealthy, "CannotStart", error_chain(&error));
                        sleep(RETRY).await;
                        continue;
                    }
                }
            }
            // An address that is gone may come back.
            Some(_) | None => {}
        }
        if address.changed().await.is_err() {
            return;
        }
    }
}

async fn start(
    context: &Context,
    hostname: &str,
    cluster: &Cluster,
    plane: &ControlPlane,
    address: IpAddr,
    runs: bool,
) -> Result<(), ServeError> {
    let names = Names::of(hostname, address, cluster, plane);
    let folder = Path::new(path::CONTROL_PLANE);
    certificates::provide(folder, cluster, plane, &names)?;
    for (name, content) in render::files(plane) {
        let path = folder.join(name);
        files::replace(&path, content.as_bytes(), 0o600)
            .map_err(|source| ServeError::Write { path, source })?;
    }
    let database = Path::new(path::DATASTORE).parent().unwrap_or(Path::new("/"));
    for folder in [database, Path::new(render::AUDIT_FOLDER)] {
        fs::create_dir_all(folder).map_err(|source| ServeError::Write { path: folder.to_owned(), source })?;
    }
    for program in render::programs(&Facts { cluster, plane, address }) {
        let Program { name, arguments, environment } = program;
        let anew = runs && name == API_SERVER;
        let started = services::provide(&context.control, name, arguments, &environment, anew).await;
        started.map_err(|source| ServeError::Start { name, source })?;
    }
    Ok(())
}

/// Keeps the condition: what PID 1 says of the programs, then what the API server says of itself.
async fn watch(context: &Context) {
    const PROGRAMS: [&str; 4] = ["kine", API_SERVER, "kube-controller-manager", "kube-scheduler"];
    let mut judges = PROGRAMS.map(Judge::new);
    services::running(&context.store, API_SERVER).await;
    loop {
        let worst = judges.iter_mut().map(|judge| judge.now(&context.store)).max_by_key(|verdict| {
            match verdict.status {
                Status::Healthy => 0,
                Status::Progressing => 1,
                Status::Unhealthy => 2,
            }
        });
        let mut period = RETRY;
        match worst {
            Some(verdict) if verdict.status != Status::Healthy => {
                context.health.set(CONDITION, verdict.status, verdict.reason, verdict.message);
            }
            Some(_) | None => match ready().await {
                Ok(()) => {
                    context.health.set(CONDITION, Status::Healthy, "Ready", "");
                    period = LOOK;
                }
                Err(error) => {
                    let message = format!("the API server is not ready: {}", error_chain(&error));
                    context.health.set(CONDITION, Status::Progressing, "NotReady", message);
                }
            },
        }
        sleep(period).await;
    }
}

async fn ready() -> Result<(), ClientError> {
    client()?.ready().await
}

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
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use config::{Cluster, ControlPlane};
use layout::path;
use tokio::{sync::watch, time::sleep};

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
/// What the others need to be ready.
const FIRST: [&str; 2] = ["kine", API_SERVER];
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

/// Runs for ever; on a node that serves no cluster it does nothing. Tells `ready` whether the API server is.
pub async fn run(context: Arc<Context>, ready: watch::Sender<bool>) {
    let config = Arc::clone(&context.config.borrow());
    let (Some(cluster), Some(plane)) = (&config.cluster, &config.control_plane) else { return };
    context.health.set(CONDITION, Status::Progressing, "WaitingForData", "waiting for DATA to be mounted");
    let mut data_ready = context.data_ready.clone();
    if data_ready.wait_for(|ready| *ready).await.is_err() {
        return;
    }
    let hostname = context.node.hostname(&config);
    let serving = serve(&context, &hostname, cluster, plane, ready.subscribe());
    tokio::join!(serving, look(&context, &ready));
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
async fn serve(
    context: &Context,
    hostname: &str,
    cluster: &Cluster,
    plane: &ControlPlane,
    mut ready: watch::Receiver<bool>,
) {
    let mut addresses = context.address.subscribe();
    let mut served = None;
    loop {
        let now = *addresses.borrow_and_update();
        match now {
            None if served.is_none() => {
                let message = "waiting for the node to have an address, at which others find the cluster";
                context.health.set(CONDITION, Status::Progressing, "WaitingForAddress", message);
            }
            Some(address) if served != Some(address) => {
                let facts = Facts { cluster, plane, address };
                let started = async {
                    prepare(hostname, &facts)?;
                    start(context, &facts, served.is_some(), &mut ready).await
                };
                if let Err(error) = started.await {
                    context.health.set(CONDITION, Status::Unhealthy, "CannotStart", error_chain(&error));
                    sleep(RETRY).await;
                    continue;
                }
                served = Some(address);
            }
            // An address that is gone may come back.
            Some(_) | None => {}
        }
        if addresses.changed().await.is_err() {
            return;
        }
    }
}

/// Makes certificates, files and folders.
fn prepare(hostname: &str, facts: &Facts<'_>) -> Result<(), ServeError> {
    let Facts { cluster, plane, address } = *facts;
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
    Ok(())
}

/// Starts the programs; those that need an API server once it is ready.
async fn start(
    context: &Context,
    facts: &Facts<'_>,
    runs: bool,
    ready: &mut watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let message = "waiting for the API server to be ready; the first time takes longest";
    context.health.set(CONDITION, Status::Progressing, "Starting", message);
    for program in render::programs(facts) {
        let Program { name, arguments, environment } = program;
        // They end when they find no API server, and each attempt costs what that needs to start.
        if !FIRST.contains(&name) {
            // The sender ends only with the process.
            ready.wait_for(|ready| *ready).await.ok();
        }
        let anew = runs && name == API_SERVER;
        let started = services::provide(&context.control, name, arguments, &environment, anew).await;
        started.map_err(|source| ServeError::Start { name, source })?;
    }
    Ok(())
}

/// Keeps the condition: what the API server says of itself, then what PID 1 says of the programs.
async fn look(context: &Context, ready: &watch::Sender<bool>) {
    const PROGRAMS: [&str; 4] = ["kine", API_SERVER, "kube-controller-manager", "kube-scheduler"];
    let mut judges = PROGRAMS.map(Judge::new);
    let mut client = None;
    services::running(&context.store, API_SERVER).await;
    loop {
        let answer = is_ready(&mut client).await;
        ready.send_if_modified(|known| std::mem::replace(known, answer.is_ok()) != answer.is_ok());
        let verdicts = judges.iter_mut().map(|judge| judge.now(&context.store));
        let worst = verdicts.max_by_key(|verdict| match verdict.status {
            Status::Healthy => 0,
            Status::Progressing => 1,
            Status::Unhealthy => 2,
        });
        let mut period = RETRY;
        match (worst, answer) {
            (Some(verdict), _) if verdict.status == Status::Unhealthy => {
                context.health.set(CONDITION, verdict.status, verdict.reason, verdict.message);
            }
            (_, Err(error)) => {
                let message = format!("the API server is not ready: {}", error_chain(&error));
                context.health.set(CONDITION, Status::Progressing, "NotReady", message);
            }
            (Some(verdict), Ok(())) if verdict.status == Status::Progressing => {
                context.health.set(CONDITION, verdict.status, verdict.reason, verdict.message);
            }
            (Some(_) | None, Ok(())) => {
                context.health.set(CONDITION, Status::Healthy, "Ready", "");
                period = LOOK;
            }
        }
        sleep(period).await;
    }
}

/// Asks over one connection: a handshake costs a small processor more than the answer.
async fn is_ready(known: &mut Option<Client>) -> Result<(), ClientError> {
    match known {
        Some(client) => client.ready().await,
        None => known.insert(client()?).ready().await,
    }
}

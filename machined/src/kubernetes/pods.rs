//! Publishes pods as the kubelet reports them on its local socket: a watch, so an idle node stays idle.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tonic::{Status as RpcStatus, Streaming, transport::Endpoint};

use super::{
    condition, manifests,
    pod::Pods,
    rpc::pods::{WatchPodsEvent, WatchPodsRequest, pods_client::PodsClient},
};
use crate::{context::Context, error_chain::error_chain, health::Status};

/// The kubelet's PodsAPI (on by default since Kubernetes 1.37).
const SOCKET: &str = "unix:/var/lib/kubelet/pods-api/pods-api.sock";
/// Between attempts to reach the kubelet: it is starting, or away.
const RETRY: Duration = Duration::from_millis(500);
/// Between those that are refused at once, again and again.
const RETRY_MAX: Duration = Duration::from_secs(4);
/// For the kubelet to have a pod of whose manifest it was told. It looks every 20 s where inotify fails.
const ACCEPTANCE: Duration = Duration::from_secs(45);

/// Why pods are not watched.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("cannot connect to the kubelet")]
    Connect(#[source] tonic::transport::Error),
    #[error("the kubelet does not report pods")]
    Watch(#[source] RpcStatus),
    #[error("the kubelet reports a pod that cannot be read")]
    Decode(#[source] prost::DecodeError),
    #[error("the kubelet ended the watch")]
    Ended,
}

/// Publishes for ever. `manifests` carries the time at which the static pods were given to the kubelet.
pub async fn run(context: &Context, mut manifests: watch::Receiver<Option<Instant>>) {
    let mut retry = RETRY;
    loop {
        let begun = Instant::now();
        if let Err(error) = follow(context, &mut manifests).await {
            lost(context, &error, *manifests.borrow());
        }
        // One that waits for its cluster refuses for minutes.
        retry = if begun.elapsed() < RETRY { (retry * 2).min(RETRY_MAX) } else { RETRY };
        tokio::time::sleep(retry).await;
    }
}

/// A kubelet that starts is given time; pods that nobody can see are no healthy ones.
fn lost(context: &Context, error: &WatchError, given: Option<Instant>) {
    if given.is_some_and(|given| given.elapsed() >= ACCEPTANCE) {
        let message = format!("pods run on, but their state is unknown: {}", error_chain(error));
        context.health.set("pods", Status::Progressing, "PodsUnknown", message);
    }
}

async fn follow(
    context: &Context,
    manifests: &mut watch::Receiver<Option<Instant>>,
) -> Result<(), WatchError> {
    let mut events = watch_pods().await?;
    let mut pods = Pods::default();
    let mut complete = false;
    loop {
        let given = *manifests.borrow_and_update();
        let deadline = given.map(|given| given + ACCEPTANCE).filter(|deadline| *deadline > Instant::now());
        tokio::select! {
            event = events.message() => {
                let event = event.map_err(WatchError::Watch)?.ok_or(WatchError::Ended)?;
                complete = pods.apply(&event).map_err(WatchError::Decode)?;
                if complete {
                    context.store.replace_all(pods.all().into_iter().map(|pod| (condition::id(&pod), pod)));
                }
            }
            () = until(deadline) => {}
            changed = manifests.changed() => if changed.is_err() { return Err(WatchError::Ended) },
        }
        if complete {
            judge(context, &pods, *manifests.borrow());
        }
    }
}

async fn watch_pods() -> Result<Streaming<WatchPodsEvent>, WatchError> {
    let channel = Endpoint::from_static(SOCKET).connect().await.map_err(WatchError::Connect)?;
    let response = PodsClient::new(channel).watch_pods(WatchPodsRequest {}).await;
    Ok(response.map_err(WatchError::Watch)?.into_inner())
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn judge(context: &Context, known: &Pods, given: Option<Instant>) {
    let pods = known.all();
    let overdue = given.is_some_and(|given| given.elapsed() >= ACCEPTANCE);
    let config = Arc::clone(&context.config.borrow());
    let hostname = context.node.hostname(&config);
    let missing = condition::missing(&config.static_pods, |pod| {
        known.has(&pod.namespace, &condition::full_name(pod, &hostname), &manifests::revision(pod))
    });
    let verdict = match (missing.is_empty(), overdue) {
        (false, false) => condition::waiting(&missing),
        (false, true) | (true, _) => condition::pods(&pods, &missing),
    };
    context.health.set("pods", verdict.status, verdict.reason, verdict.message);
}

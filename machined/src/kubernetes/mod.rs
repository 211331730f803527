//! Kubernetes on one node: renders the configuration of containerd, the kubelet and CNI, has PID 1 start both, gives
//! containerd its images and the kubelet its static pods, and publishes what they say.
//!
//! Everything rendered lies on /run and is made anew each boot. The node's address is no part of it: the kubelet
//! finds it under the node's name in /etc/hosts, which the address controller keeps, so that neither a node without
//! network has to wait nor a new lease restarts the kubelet. Start reading at [`run`].

mod archive;
mod condition;
mod containerd;
mod images;
mod manifests;
mod member;
mod oci;
mod pki;
mod pod;
mod pods;
mod prepare;
#[cfg(test)]
mod real_tests;
mod registry;
mod render;
mod rpc;
pub mod services;

use std::{path::Path, sync::Arc, time::Duration};

use config::NodeConfig;
use layout::path;
use tokio::{sync::watch, time::Instant};

pub use condition::{POD_FAILING, PODS_STARTING};
pub use member::{membership, server as cluster_server};
pub use prepare::{PrepareError, pod_network};
pub use render::POD_BRIDGE;
pub use services::{CONTAINERD, KUBELET};

use crate::{context::Context, error_chain::error_chain, follow::Follower, health::Status};

/// Between attempts at what stands in the way of starting at all.
const RETRY: Duration = Duration::from_secs(10);

/// Archives of images, those of the OS first.
const IMAGE_FOLDERS: [&str; 2] = [path::PRELOADED_IMAGES, path::IMPORTED_IMAGES];
/// Those of a node that serves a cluster.
const CLUSTER_IMAGE_FOLDERS: [&str; 3] =
    [path::PRELOADED_IMAGES, path::CLUSTER_IMAGES, path::IMPORTED_IMAGES];

/// Runs for ever.
pub async fn run(context: Arc<Context>) {
    for name in [services::CONTAINERD, services::KUBELET, "images", "pods"] {
        context.health.set(name, Status::Progressing, "WaitingForData", "waiting for DATA to be mounted");
    }
    let mut data_ready = context.data_ready.clone();
    if data_ready.wait_for(|ready| *ready).await.is_err() {
        // The sender ends only with the process.
        return;
    }
    let mut follower = context.follower("kubernetes");
    start(&context, &mut follower).await;
    let (given, manifests) = watch::channel(None);
    let (tried, images_tried) = watch::channel(false);
    tokio::join!(
        services::watch_containerd(&context),
        services::watch_kubelet(&context),
        pods::run(&context, manifests),
        provide_images(&context, &tried),
        follow(&context, follower, images_tried, &given),
    );
}

/// Renders, then starts containerd and the kubelet.
async fn start(context: &Context, follower: &mut Follower) {
    loop {
        let config = follower.current();
        let error = match prepare(context, &config).await {
            Ok(()) => match services::start(&context.control, &config).await {
                Ok(()) => return,
                Err(error) => error_chain(&error),
            },
            Err(error) => error,
        };
        context.health.set(services::KUBELET, Status::Unhealthy, "CannotStart", error);
        tokio::time::sleep(RETRY).await;
    }
}

async fn prepare(context: &Context, config: &Arc<NodeConfig>) -> Result<(), String> {
    let (hostname, config) = (context.node.hostname(config), Arc::clone(config));
    match tokio::task::spawn_blocking(move || prepare::prepare(&hostname, &config)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error_chain(&error)),
        Err(error) => Err(error_chain(&error)),
    }
}

/// Renders for each configuration, and gives its pods to the kubelet. Pods wait for images: one whose image is not
/// there yet would wait for the kubelet's back-off. Which service reads what is rendered anew, and so is restarted,
/// the plan of the change says.
async fn follow(
    context: &Context,
    mut follower: Follower,
    mut images_tried: watch::Receiver<bool>,
    given: &watch::Sender<Option<Instant>>,
) {
    let mut former: Option<Arc<NodeConfig>> = None;
    loop {
        let config = follower.current();
        if let Err(error) = prepare(context, &config).await {
            context.health.set(services::KUBELET, Status::Unhealthy, "NotRendered", error);
        }
        let is_given = |former: &Arc<NodeConfig>| {
            former.static_pods == config.static_pods && former.hostname == config.hostname
        };
        if *images_tried.borrow_and_update() && !former.as_ref().is_some_and(is_given) {
            former = give_pods(context, &config, given).await.then(|| Arc::clone(&config));
        }
        follower.settle(&config);
        tokio::select! {
            () = follower.changed() => {}
            tried = images_tried.changed() => if tried.is_err() { return },
        }
    }
}

/// Imports images until there is nothing left to try. After the first attempt pods are given even if it failed, since
/// an image may be there or be pulled.
async fn provide_images(context: &Context, tried: &watch::Sender<bool>) {
    loop {
        services::running(&context.store, services::CONTAINERD).await;
        let again = import(context).await;
        tried.send_replace(true);
        if !again {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Imports images; returns whether it is worth another attempt.
async fn import(context: &Context) -> bool {
    let serves = context.config.borrow().control_plane.is_some();
    let folders = if serves { &CLUSTER_IMAGE_FOLDERS[..] } else { &IMAGE_FOLDERS };
    let outcome = images::import(&context.store, Path::new(path::CONTAINERD), folders).await;
    let (message, again) = match outcome {
        Ok(images::Outcome { failed: 0, .. }) => {
            context.health.set("images", Status::Healthy, "Imported", "");
            return false;
        }
        Ok(outcome) => (
            format!("{} given images are not imported; see `osctl get images`", outcome.failed),
            outcome.transient > 0,
        ),
        Err(error) => (error_chain(&error), true),
    };
    context.health.set("images", Status::Unhealthy, "ImportFailed", message);
    again
}

/// Gives the kubelet its pods; returns whether it has them.
async fn give_pods(context: &Context, config: &NodeConfig, given: &watch::Sender<Option<Instant>>) -> bool {
    let pods = config.static_pods.clone();
    let written =
        tokio::task::spawn_blocking(move || manifests::write(Path::new(path::MANIFESTS), &pods)).await;
    let error = match written {
        Ok(Ok(())) => {
            context.health.set("pods", Status::Progressing, "PodsPending", "waiting for the kubelet");
            given.send_replace(Some(Instant::now()));
            return true;
        }
        Ok(Err(error)) => error_chain(&error),
        Err(error) => error_chain(&error),
    };
    context.health.set("pods", Status::Unhealthy, "ManifestsNotWritten", error);
    false
}

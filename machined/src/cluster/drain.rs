//! Taking leave of a cluster's pods before the node reboots into another release, and coming back afterwards.
//!
//! The node cordons itself and evicts its own pods, which is all that its certificate lets it do. It owns the cordon by
//! server-side apply: when it gives it up, one that an admin has set besides stays.

use std::{sync::Arc, time::Duration};

use config::NodeConfig;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::client::{Client, ClientError};
use crate::{context::Context, error_chain::error_chain, update::Drain};

/// Between looks at the pods that are still there.
const LOOK: Duration = Duration::from_secs(1);
/// Attempts that fail before the node reboots all the same: a cluster that is away keeps no release back.
const ATTEMPTS_MAX: u32 = 30;
/// Between attempts to give the cordon up.
const RETRY: Duration = Duration::from_secs(5);

/// A node as its cluster's member, if it is one.
pub struct Member(pub Arc<Context>);

impl Drain for Member {
    async fn drain(&self) {
        let config = Arc::clone(&self.0.config.borrow());
        if !is_drained(&config) {
            return;
        }
        let name = self.0.node.hostname(&config);
        // Of pods that stay, the bound is the caller's.
        for _ in 0..ATTEMPTS_MAX {
            match leave(&name).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(error = error_chain(&error), "the node is not drained yet"),
            }
            sleep(LOOK).await;
        }
        tracing::warn!("the node reboots without its cluster's knowledge");
    }
}

/// A control plane takes its own API server along: there is nobody left who could start its pods elsewhere.
fn is_drained(config: &NodeConfig) -> bool {
    config.cluster.is_some() && config.control_plane.is_none()
}

/// Gives up the cordon of an upgrade, once the cluster can be asked.
pub async fn come_back(context: &Context) {
    let config = Arc::clone(&context.config.borrow());
    if !is_drained(&config) {
        return;
    }
    let name = context.node.hostname(&config);
    super::member_certificate().await;
    loop {
        match give_up(&name).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(error = error_chain(&error), "a cordon is not given up yet"),
        }
        sleep(RETRY).await;
    }
}

async fn give_up(name: &str) -> Result<(), ClientError> {
    let client = super::as_kubelet()?;
    match client.get(&path(name)).await {
        Ok(node) if node["spec"]["unschedulable"] == true => {
            client.apply(&path(name), &cordon(&node["metadata"], false)).await
        }
        Ok(_) => Ok(()),
        // A node that is new to the cluster has no cordon.
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Cordons the node, then evicts its pods until none is left.
async fn leave(name: &str) -> Result<(), ClientError> {
    let client = super::as_kubelet()?;
    let node = client.get(&path(name)).await?;
    client.apply(&path(name), &cordon(&node["metadata"], true)).await?;
    loop {
        let pods = client.get(&format!("/api/v1/pods?fieldSelector=spec.nodeName={name}")).await?;
        let leaving: Vec<(&str, &str)> = leaving(&pods).collect();
        if leaving.is_empty() {
            return Ok(());
        }
        for (namespace, pod) in leaving {
            evict(&client, namespace, pod).await?;
        }
        sleep(LOOK).await;
    }
}

async fn evict(client: &Client, namespace: &str, pod: &str) -> Result<(), ClientError> {
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    });
    match client.create(&format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction"), &eviction).await {
        // A disruption budget holds it back; it is asked again.
        Err(ClientError::Refused { status: StatusCode::TOO_MANY_REQUESTS, message }) => {
            tracing::info!(namespace, pod, message, "a pod is not evicted yet");
            Ok(())
        }
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

fn path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

/// What the node wants of itself. With its UID: without one, a node that is not there would be made, and the kubelet,
/// which registers it with its labels and resources, would find it registered.
fn cordon(metadata: &Value, unschedulable: bool) -> Value {
    let metadata = json!({"name": metadata["name"], "uid": metadata["uid"]});
    let mut node = json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata});
    if unschedulable {
        node["spec"] = json!({"unschedulable": true});
    }
    node
}

/// Namespaces and names of the pods that go elsewhere: not those of the node itself, of DaemonSets, and that have ended.
fn leaving(pods: &Value) -> impl Iterator<Item = (&str, &str)> {
    let stays = |pod: &Value| {
        let owners = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let mut owners = owners.map(|owner| &owner["kind"]);
        let is_static = pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string();
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        is_static || owners.any(|kind| kind == "DaemonSet") || matches!(phase, "Succeeded" | "Failed")
    };
    let items = pods["items"].as_array().into_iter().flatten();
    items.filter(move |pod| !stays(pod)).filter_map(|pod| {
        let metadata = &pod["metadata"];
        metadata["namespace"].as_str().zip(metadata["name"].as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::control_plane::testing::{cluster, plane};

    #[test]
    fn pods_that_can_run_elsewhere_leave() {
        let pod = |name: &str, more: Value| {
            let mut pod =
                json!({"metadata": {"namespace": "shop", "name": name}, "status": {"phase": "Running"}});
            if let (Some(pod), Some(more)) = (pod["metadata"].as_object_mut(), more.as_object()) {
                pod.extend(more.clone());
            }
            pod
        };
        let mut ended = pod("ended", json!({}));
        ended["status"]["phase"] = "Succeeded".into();
        let pods = json!({"items": [
            pod("web", json!({"ownerReferences": [{"kind": "ReplicaSet"}]})),
            pod("alone", json!({})),
            pod("agent", json!({"ownerReferences": [{"kind": "DaemonSet"}]})),
            pod("hello-node", json!({"annotations": {"kubernetes.io/config.mirror": "x"}})),
            ended,
        ]});
        assert_eq!(leaving(&pods).collect::<Vec<_>>(), [("shop", "web"), ("shop", "alone")]);
    }

    #[test]
    fn only_a_member_that_serves_no_cluster_is_drained() {
        let mut config = NodeConfig::default();
        assert!(!is_drained(&config));
        config.cluster = Some(cluster("A"));
        assert!(is_drained(&config));
        config.control_plane = Some(plane("x"));
        assert!(!is_drained(&config));
    }

    #[test]
    fn giving_the_cordon_up_names_no_field_and_no_node_is_made() {
        let metadata = json!({"name": "node", "uid": "17", "labels": {"site": "harbour"}});
        let cordoned = cordon(&metadata, true);
        assert_eq!(cordoned["spec"]["unschedulable"], true);
        assert_eq!(cordoned["metadata"], json!({"name": "node", "uid": "17"}));
        assert!(cordon(&metadata, false).get("spec").is_none());
    }
}

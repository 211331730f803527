//! kube-proxy as a service of PID 1, on every node that connects its pods itself: it calls itself as the kubelet, whose
//! certificate it waits for.

use std::{path::Path, sync::Arc, time::Duration};

use config::{NodeConfig, PodNetwork};
use layout::path;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    context::Context,
    error_chain::error_chain,
    files,
    health::Status,
    kubernetes::{
        POD_BRIDGE,
        services::{self, Judge},
    },
};

/// Its name in PID 1's table, and its condition.
const KUBE_PROXY: &str = "kube-proxy";
/// Its configuration.
const CONFIG: &str = "/run/cairn/cluster/kube-proxy.json";
/// Between attempts to start it.
const RETRY: Duration = Duration::from_secs(1);
/// Collected early; the limit makes a leak seen before the service's own ends it.
const ENVIRONMENT: [(&str, &str); 2] = [("GOGC", "50"), ("GOMEMLIMIT", "128MiB")];

/// Runs for ever; on a node without a cluster, or whose cluster brings its own network, it does nothing.
pub async fn run(context: Arc<Context>) {
    let config = Arc::clone(&context.config.borrow());
    if !config.cluster.as_ref().is_some_and(|cluster| cluster.pod_network == PodNetwork::Cairn) {
        return;
    }
    context.health.set(
        KUBE_PROXY,
        Status::Progressing,
        "WaitingForCertificate",
        "waiting for the cluster to give the kubelet a certificate",
    );
    super::member_certificate().await;
    let hostname = context.node.hostname(&config);
    while let Err(error) = start(&context, &config, &hostname).await {
        context.health.set(KUBE_PROXY, Status::Unhealthy, "CannotStart", error);
        sleep(RETRY).await;
    }
    let mut judge = Judge::new(KUBE_PROXY);
    let mut changes = context.store.subscribe();
    loop {
        changes.borrow_and_update();
        let verdict = judge.now(&context.store);
        context.health.set(KUBE_PROXY, verdict.status, verdict.reason, verdict.message);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn start(context: &Context, config: &NodeConfig, hostname: &str) -> Result<(), String> {
    files::replace(Path::new(CONFIG), render(config, hostname).as_bytes(), 0o600)
        .map_err(|error| error.to_string())?;
    let arguments = vec![format!("--config={CONFIG}")];
    let started = services::provide(&context.control, KUBE_PROXY, arguments, &ENVIRONMENT, false).await;
    started.map_err(|error| error_chain(&error))
}

/// KubeProxyConfiguration, as JSON. Pure.
fn render(config: &NodeConfig, hostname: &str) -> String {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": path::KUBELET_KUBECONFIG},
        "hostnameOverride": hostname,
        "mode": "nftables",
        "clusterCIDR": config.control_plane.as_ref().map(|plane| plane.pod_subnet.to_string()).unwrap_or_default(),
        "detectLocalMode": "BridgeInterface",
        "detectLocal": {"bridgeInterface": POD_BRIDGE},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        // Zero leaves the kernel's settings of connection tracking alone: they are the configuration's (kind Sysctl).
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
    });
    format!("{config:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_loopback_and_leaves_kernel_settings_alone() {
        let config: serde_json::Value =
            serde_json::from_str(&render(&NodeConfig::default(), "node")).unwrap();
        for field in ["healthzBindAddress", "metricsBindAddress"] {
            assert!(config[field].as_str().unwrap().starts_with("127.0.0.1:"), "{field}");
        }
        assert_eq!((&config["mode"], &config["conntrack"]["maxPerCore"]), (&json!("nftables"), &json!(0)));
        assert_eq!(config["hostnameOverride"], "node");
    }
}

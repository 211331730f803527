//! Configuration of containerd, the kubelet and CNI, as text. Pure: what depends on the node is an argument.

use config::{NodeConfig, POD_SUBNET};
use layout::path;
use serde_json::{Value, json};

use super::member;

/// Holds the namespaces of each pod.
pub const PAUSE_IMAGE: &str = "localhost/cairn/pause:1";
/// Bridge of the pod network.
pub const POD_BRIDGE: &str = "cairn0";
/// Certificates of the kubelet's own API.
pub const KUBELET_PKI: &str = "/run/cairn/kubernetes/pki";
/// Per-registry configuration (hosts.toml) for containerd.
pub const REGISTRIES: &str = "/run/cairn/containerd/certs.d";
/// CAs that pulls trust: the image's own and the configuration's.
pub const TRUSTED_CAS: &str = "/run/cairn/certificates.pem";
/// Where the kubelet says whether it is well.
pub const KUBELET_HEALTH_PORT: u16 = 10248;

/// Which address has which pod. Not on DATA: no sandbox outlives a boot, but after a power cut its reservation would,
/// and nobody would ever return it.
const POD_ADDRESSES: &str = "/run/cairn/cni/networks";
/// For containerd, the kubelet, a few shims and ours.
const OWN_MEMORY: &str = "192Mi";
/// For a cluster's programs besides.
const SERVING_MEMORY: &str = "640Mi";
/// The node that holds the data store renews its lease every 30 s, a quarter of this, not every 10 s: each is a write to
/// flash, and whoever would miss the node is on it.
const SERVING_LEASE_SECONDS: u32 = 120;
/// Cgroup of the shims; PID 1 makes it.
const SHIM_CGROUP: &str = "/podruntime/shims";

/// containerd's plugins that nothing here uses, each of which would cost memory, a probe at start or a folder below
/// the read-only /opt.
const UNUSED_PLUGINS: [&str; 7] = [
    "io.containerd.differ.v1.erofs",
    "io.containerd.internal.v1.opt",
    "io.containerd.monitor.container.v1.restart",
    "io.containerd.mount-handler.v1.erofs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.native",
];

/// containerd's and the kubelet's heaps are small beside what they touch once at start; a tighter collector gives that
/// back and costs little, as both allocate little when idle. No GOMEMLIMIT: a limit below what many pods need would
/// make them collect without end instead of growing.
pub const GO_ENVIRONMENT: [(&str, &str); 2] = [("GOGC", "50"), ("SSL_CERT_FILE", TRUSTED_CAS)];

/// containerd's config.toml.
pub fn containerd() -> String {
    let disabled: Vec<String> = UNUSED_PLUGINS.iter().map(|name| format!("'{name}'")).collect();
    format!(
        "version = 4
root = '/var/lib/containerd'
state = '/run/containerd'
imports = []
disabled_plugins = [{disabled}]

[plugins.'io.containerd.server.v1.grpc']
  address = '{socket}'

[plugins.'io.containerd.nri.v1.nri']
  disable = true

# Power cuts: a layer is on the disk before the record that says so.
[plugins.'io.containerd.service.v1.diff-service']
  sync_fs = true

[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  image_pull_with_sync_fs = true
  # Each collection walks the writable layer of every container.
  stats_collect_period = 60
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = '{PAUSE_IMAGE}'
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = '{REGISTRIES}'

[plugins.'io.containerd.cri.v1.runtime']
  cdi_spec_dirs = ['/run/cdi']
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['/opt/cni/bin', '{cni_bin}']
    conf_dir = '{cni_config}'
    use_internal_loopback = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    # The name of the built-in default, so that there is no second runtime with a program that is not here.
    default_runtime_name = 'runc'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = 'io.containerd.runc.v2'
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = '{crun}'
        SystemdCgroup = false
        ShimCgroup = '{SHIM_CGROUP}'
",
        disabled = disabled.join(", "),
        socket = path::CONTAINERD,
        cni_bin = path::CNI_BIN,
        cni_config = path::CNI_CONFIG,
        crun = path::CRUN,
    )
}

/// KubeletConfiguration, as JSON (which is YAML). The configuration's own settings are laid over it, which were checked to
/// touch nothing that is Cairn's.
pub fn kubelet(node: &NodeConfig) -> String {
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "staticPodPath": path::MANIFESTS,
        "containerRuntimeEndpoint": format!("unix://{}", path::CONTAINERD),
        "resolvConf": format!("{}/resolv.conf", path::RUN_ETC),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": "/",
        "failSwapOn": false,
        "protectKernelDefaults": false,
        "makeIPTablesUtilChains": false,
        "seccompDefault": true,
        "podPidsLimit": 4096,
        "shutdownGracePeriod": "0s",
        "shutdownGracePeriodCriticalPods": "0s",
    });
    let by_itself = || json!({"registerNode": false, "podCIDR": POD_SUBNET.to_string()});
    let membership = node.cluster.as_ref().map_or_else(by_itself, member::settings);
    let resources = kubelet_resources(node.control_plane.is_some());
    let mut config = merge([config, kubelet_api(), resources, membership]);
    if node.control_plane.is_some() {
        config["nodeLeaseDurationSeconds"] = SERVING_LEASE_SECONDS.into();
    }
    for (name, value) in &node.kubelet {
        lay_over(&mut config[name.as_str()], value);
    }
    format!("{config:#}\n")
}

/// Objects field by field; anything else takes the place of what was there.
fn lay_over(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (name, value) in above {
                lay_over(below.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above.clone(),
    }
}

/// Its API: on loopback, for holders of a certificate of a CA that issues none.
fn kubelet_api() -> Value {
    let file = |name: &str| format!("{KUBELET_PKI}/{name}");
    json!({
        "enableServer": true,
        "address": "127.0.0.1",
        "port": 10250,
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": KUBELET_HEALTH_PORT,
        "enableDebuggingHandlers": false,
        "enableProfilingHandler": false,
        "enableDebugFlagsHandler": false,
        "enableSystemLogHandler": false,
        "tlsCertFile": file("server.crt"),
        "tlsPrivateKeyFile": file("server.key"),
        "tlsMinVersion": "VersionTLS13",
        "authentication": {
            "anonymous": {"enabled": false},
            // Needs an API server.
            "webhook": {"enabled": false},
            "x509": {"clientCAFile": file("ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
    })
}

/// Who may use how much. Pods are bounded as a whole; the daemons are not, so that no limit of theirs kills them.
fn kubelet_resources(serves_cluster: bool) -> Value {
    let memory = if serves_cluster { SERVING_MEMORY } else { OWN_MEMORY };
    json!({
        "enforceNodeAllocatable": ["pods"],
        "systemReserved": {"memory": memory},
        "evictionHard": {"pid.available": "5%"},
        "mergeDefaultEvictionSettings": true,
        "imageGCHighThresholdPercent": 85,
        "imageGCLowThresholdPercent": 80,
        // By age an offline node would lose what it cannot get again.
        "imageMaximumGCAge": "0s",
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 3,
    })
}

fn merge(parts: impl IntoIterator<Item = Value>) -> Value {
    let fields = parts.into_iter().filter_map(|part| match part {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    Value::Object(fields.flatten().collect())
}

/// The CNI configuration list of a pod network with these addresses. Across nodes the node masquerades itself, for a plugin
/// does not know where other pods are.
pub fn cni(subnet: &str, masquerade: bool) -> String {
    let config = json!({
        "cniVersion": "1.0.0",
        "name": "cairn",
        "plugins": [
            {
                "type": "bridge",
                "bridge": POD_BRIDGE,
                "isGateway": true,
                "ipMasq": masquerade,
                "ipMasqBackend": "nftables",
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": POD_ADDRESSES,
                    "ranges": [[{"subnet": subnet}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}},
        ],
    });
    format!("{config:#}\n")
}

#[cfg(test)]
mod tests {
    use config::{BootstrapToken, Cluster, ControlPlane, PodNetwork};

    use super::*;

    #[test]
    fn containerd_runs_crun_outside_of_its_own_cgroup() {
        let text = containerd();
        for line in [
            "version = 4",
            "disabled_plugins = ['io.containerd.differ.v1.erofs', 'io.containerd.internal.v1.opt', ",
            "sandbox = 'localhost/cairn/pause:1'",
            "BinaryName = '/usr/bin/crun'",
            "ShimCgroup = '/podruntime/shims'",
            "image_pull_with_sync_fs = true",
            "bin_dirs = ['/opt/cni/bin', '/usr/libexec/cni']",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_kubelet_listens_on_loopback_only_and_lets_nobody_in_unknown() {
        let config: Value = serde_json::from_str(&kubelet(&NodeConfig::default())).unwrap();
        assert_eq!(config["address"], "127.0.0.1");
        assert_eq!(config["healthzBindAddress"], "127.0.0.1");
        assert_eq!(config["readOnlyPort"], 0);
        assert_eq!(config["authentication"]["anonymous"]["enabled"], false);
        assert_eq!(config["authentication"]["x509"]["clientCAFile"], "/run/cairn/kubernetes/pki/ca.crt");
        assert_eq!(config["staticPodPath"], path::MANIFESTS);
        // Without the merge, naming one eviction signal would switch the default ones off.
        assert_eq!(config["mergeDefaultEvictionSettings"], true);
    }

    #[test]
    fn a_member_takes_orders_from_its_cluster_alone() {
        let cluster = Cluster {
            endpoints: Vec::new(),
            certificate_authorities: Vec::new(),
            bootstrap_token: BootstrapToken { id: "abcdef".into(), secret: "0123456789abcdef".into() },
            node_subnets: Vec::new(),
            dns: vec![[10, 96, 0, 10].into()],
            domain: "shop.local".into(),
            taints: Vec::new(),
            pod_network: PodNetwork::Cairn,
        };
        let mut node = NodeConfig { cluster: Some(cluster), ..NodeConfig::default() };
        let config: Value = serde_json::from_str(&kubelet(&node)).unwrap();
        assert_eq!((&config["registerNode"], &config["podCIDR"]), (&json!(true), &Value::Null));
        assert_eq!(config["authentication"]["anonymous"]["enabled"], false);
        assert_eq!(config["authentication"]["x509"]["clientCAFile"], path::CLUSTER_CAS);
        assert_eq!(config["authorization"]["mode"], "Webhook");
        assert_eq!(
            (&config["readOnlyPort"], &config["healthzBindAddress"]),
            (&json!(0), &json!("127.0.0.1"))
        );
        assert_eq!(
            (&config["clusterDNS"], &config["clusterDomain"]),
            (&json!(["10.96.0.10"]), &json!("shop.local"))
        );
        assert_eq!(config["systemReserved"]["memory"], "192Mi");
        node.control_plane = Some(ControlPlane {
            certificate_authority_key: String::new(),
            service_account_key: String::new(),
            encryption_key: String::new(),
            alternative_names: Vec::new(),
            pod_subnet: POD_SUBNET.prefix(),
            service_subnet: POD_SUBNET.prefix(),
        });
        let config: Value = serde_json::from_str(&kubelet(&node)).unwrap();
        assert_eq!(config["systemReserved"]["memory"], "640Mi");
    }

    #[test]
    fn settings_are_laid_over_field_by_field() {
        let settings =
            json!({"maxPods": 20, "evictionHard": {"memory.available": "5%"}, "syncFrequency": "30s"});
        let kubelet_settings = settings.as_object().unwrap().clone();
        let node = NodeConfig { kubelet: kubelet_settings, ..NodeConfig::default() };
        let config: Value = serde_json::from_str(&kubelet(&node)).unwrap();
        assert_eq!(config["maxPods"], 20);
        assert_eq!(config["syncFrequency"], "30s");
        assert_eq!(config["evictionHard"], json!({"memory.available": "5%", "pid.available": "5%"}));
    }

    #[test]
    fn addresses_of_pods_do_not_outlive_the_boot() {
        let config: Value = serde_json::from_str(&cni(&POD_SUBNET.to_string(), true)).unwrap();
        let ipam = &config["plugins"][0]["ipam"];
        assert!(ipam["dataDir"].as_str().unwrap().starts_with("/run/"));
        assert_eq!(ipam["ranges"][0][0]["subnet"], POD_SUBNET.to_string());
        assert_eq!(config["plugins"][1]["capabilities"]["portMappings"], true);
    }
}

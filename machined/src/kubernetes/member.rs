//! What makes the kubelet a member of a cluster: its kubeconfig, arguments and settings. The texts are pure; only
//! [`prepare`] writes.
//!
//! The kubelet speaks to the load balancer on loopback, by the name [`layout::CLUSTER_API_NAME`], which every API
//! server's certificate holds and /etc/hosts leads to loopback: kubeconfigs that the kubelet writes itself keep no
//! other name than the address's.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;
use config::{Cluster, NodeConfig};
use layout::path;
use serde_json::{Value, json};

use crate::files;

/// What the kubelet's certificates were asked with.
const MEMBERSHIP: &str = "/var/lib/kubelet/membership";

/// Why the kubelet cannot be a member.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// What is left of a former membership cannot be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Where the kubelet keeps what the cluster gave it.
pub struct Places<'a> {
    /// Its kubeconfig.
    pub kubeconfig: &'a Path,
    /// Folder of its certificates.
    pub certificates: &'a Path,
    /// Says which cluster and name they are of.
    pub membership: &'a Path,
}

impl Places<'static> {
    /// On a node.
    pub fn of_a_node() -> Self {
        Self {
            kubeconfig: Path::new(path::KUBELET_KUBECONFIG),
            certificates: Path::new(path::KUBELET_CERTIFICATES),
            membership: Path::new(MEMBERSHIP),
        }
    }
}

/// Writes what the kubelet needs to ask for its first certificate, and removes what another cluster, or this one under
/// another name, gave it: it would be refused with that for ever.
pub fn prepare(hostname: &str, cluster: &Cluster, places: &Places<'_>) -> Result<(), MemberError> {
    forget_former(&membership(hostname, cluster), places)?;
    write(Path::new(path::CLUSTER_CAS), &cluster.certificate_authorities.join("\n"))?;
    write(Path::new(path::BOOTSTRAP_KUBECONFIG), &bootstrap_kubeconfig(cluster))
}

/// Which cluster, and as whom.
pub fn membership(hostname: &str, cluster: &Cluster) -> String {
    let authorities = cluster.certificate_authorities.iter().map(|pem| pem.trim());
    let authorities = authorities.collect::<Vec<_>>().join("\n");
    let digest = digest::digest(&digest::SHA256, authorities.as_bytes());
    format!("{} {hostname}\n", hex::encode(digest))
}

fn forget_former(membership: &str, places: &Places<'_>) -> Result<(), MemberError> {
    if fs::read_to_string(places.membership).is_ok_and(|former| former == membership) {
        return Ok(());
    }
    let remove = |path: &Path, removed: io::Result<()>| match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(MemberError::Remove { path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    };
    remove(places.kubeconfig, fs::remove_file(places.kubeconfig))?;
    remove(places.certificates, fs::remove_dir_all(places.certificates))?;
    write(places.membership, membership)
}

fn write(path: &Path, content: &str) -> Result<(), MemberError> {
    let failed = |source| MemberError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    files::replace(path, content.as_bytes(), 0o600).map_err(failed)
}

/// By the bootstrap token.
fn bootstrap_kubeconfig(cluster: &Cluster) -> String {
    let token = &cluster.bootstrap_token;
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "cluster",
            "cluster": {"server": server(), "certificate-authority": path::CLUSTER_CAS},
        }],
        "users": [{"name": "bootstrap", "user": {"token": format!("{}.{}", token.id, token.secret)}}],
        "contexts": [{"name": "bootstrap", "context": {"cluster": "cluster", "user": "bootstrap"}}],
        "current-context": "bootstrap",
    });
    format!("{config:#}\n")
}

/// The load balancer on loopback.
pub fn server() -> String {
    format!("https://{}:{}", layout::CLUSTER_API_NAME, layout::CLUSTER_BALANCER_PORT)
}

/// Arguments besides the configuration file.
pub fn arguments(config: &NodeConfig) -> Vec<String> {
    if config.cluster.is_none() {
        return Vec::new();
    }
    let labels: Vec<String> = config.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut arguments = vec![
        format!("--bootstrap-kubeconfig={}", path::BOOTSTRAP_KUBECONFIG),
        format!("--kubeconfig={}", path::KUBELET_KUBECONFIG),
        format!("--cert-dir={}", path::KUBELET_CERTIFICATES),
    ];
    if !labels.is_empty() {
        arguments.push(format!("--node-labels={}", labels.join(",")));
    }
    arguments
}

/// Fields of KubeletConfiguration of a member, in the place of those of a node by itself.
pub fn settings(cluster: &Cluster) -> Value {
    json!({
        "registerNode": true,
        "registerWithTaints": cluster.taints.iter().map(|taint| spelled_out(taint)).collect::<Vec<_>>(),
        "podCIDR": null,
        "clusterDNS": cluster.dns,
        "clusterDomain": cluster.domain,
        "rotateCertificates": true,
        // Logs, exec and metrics come from the API server, which shows a certificate of the cluster's CA.
        "address": "0.0.0.0",
        "enableDebuggingHandlers": true,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": path::CLUSTER_CAS},
        },
        "authorization": {"mode": "Webhook"},
    })
}

/// A taint as an object; the configuration has checked it.
fn spelled_out(taint: &str) -> Value {
    let (rest, effect) = taint.rsplit_once(':').unwrap_or((taint, "NoSchedule"));
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    json!({"key": key, "value": value, "effect": effect})
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{BootstrapToken, PodNetwork};

    fn cluster(authority: &str) -> Cluster {
        Cluster {
            endpoints: Vec::new(),
            certificate_authorities: vec![authority.to_owned()],
            bootstrap_token: BootstrapToken { id: "abcdef".into(), secret: "0123456789abcdef".into() },
            node_subnets: Vec::new(),
            dns: vec![[10, 96, 0, 10].into()],
            domain: "cluster.local".into(),
            taints: vec!["role=camera:NoSchedule".into(), "spare:NoExecute".into()],
            pod_network: PodNetwork::Cairn,
        }
    }

    #[test]
    fn certificates_of_another_cluster_or_name_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let [kubeconfig, certificates, membership_file] =
            ["kubeconfig", "pki", "membership"].map(|name| folder.path().join(name));
        let places =
            Places { kubeconfig: &kubeconfig, certificates: &certificates, membership: &membership_file };
        let give = || {
            fs::create_dir_all(&certificates).unwrap();
            fs::write(&kubeconfig, "x").unwrap();
        };
        let kept = || kubeconfig.exists() && certificates.exists();
        forget_former(&membership("one", &cluster("A")), &places).unwrap();
        give();
        forget_former(&membership("one", &cluster("A\n")), &places).unwrap();
        assert!(kept(), "the same cluster and name");
        forget_former(&membership("two", &cluster("A")), &places).unwrap();
        assert!(!kubeconfig.exists() && !certificates.exists(), "another name");
        give();
        forget_former(&membership("two", &cluster("B")), &places).unwrap();
        assert!(!kubeconfig.exists() && !certificates.exists(), "another cluster");
    }

    #[test]
    fn the_token_is_in_the_kubeconfig_alone() {
        let config: Value = serde_json::from_str(&bootstrap_kubeconfig(&cluster("A"))).unwrap();
        assert_eq!(config["users"][0]["user"]["token"], "abcdef.0123456789abcdef");
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://kubernetes:7445");
        let node = NodeConfig { cluster: Some(cluster("A")), ..NodeConfig::default() };
        assert!(!arguments(&node).concat().contains("0123456789abcdef"));
        assert!(!settings(&cluster("A")).to_string().contains("0123456789abcdef"));
    }

    #[test]
    fn taints_and_labels_are_registered() {
        let settings = settings(&cluster("A"));
        assert_eq!(
            settings["registerWithTaints"],
            json!([
                {"key": "role", "value": "camera", "effect": "NoSchedule"},
                {"key": "spare", "value": "", "effect": "NoExecute"},
            ])
        );
        let labels = [("site", "harbour"), ("a", "b")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let node = NodeConfig { cluster: Some(cluster("A")), labels: labels.into(), ..NodeConfig::default() };
        assert!(arguments(&node).contains(&"--node-labels=a=b,site=harbour".to_owned()));
        assert_eq!(arguments(&NodeConfig::default()), Vec::<String>::new());
    }
}

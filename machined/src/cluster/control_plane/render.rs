//! Arguments and files of a cluster's programs, as text. Pure.

use std::net::IpAddr;

use config::{Cluster, ControlPlane};
use layout::path;
use serde_json::{Value, json};

/// Where the API server writes who changed what.
pub const AUDIT_FOLDER: &str = "/var/log/kubernetes";

/// What the programs must know.
pub struct Facts<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// How it is served.
    pub plane: &'a ControlPlane,
    /// Where other nodes find the API server.
    pub address: IpAddr,
}

/// A program as PID 1 starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its service.
    pub name: &'static str,
    /// Arguments.
    pub arguments: Vec<String>,
    /// Environment. The heap of those that are idle is collected when it has grown by half, not by its own size again; to
    /// the API server that would cost half of its start. The limit only makes them collect harder, so that a leak is seen
    /// before the service's limit of memory ends it.
    pub environment: [(&'static str, &'static str); 2],
}

/// All of them, in the order in which they need each other.
pub fn programs(facts: &Facts<'_>) -> [Program; 4] {
    let program = |name, arguments, growth, limit| Program {
        name,
        arguments,
        environment: [("GOGC", growth), ("GOMEMLIMIT", limit)],
    };
    [
        program("kine", kine(), "50", "192MiB"),
        program("kube-apiserver", api_server(facts), "100", "1GiB"),
        program("kube-controller-manager", controller_manager(facts), "50", "256MiB"),
        program("kube-scheduler", scheduler(), "50", "256MiB"),
    ]
}

fn file(flag: &str, name: &str) -> String {
    format!("--{flag}={}/{name}", path::CONTROL_PLANE)
}

fn kine() -> Vec<String> {
    vec![format!("--database={}", path::DATASTORE), format!("--socket={}", path::DATASTORE_SOCKET)]
}

fn api_server(facts: &Facts<'_>) -> Vec<String> {
    let Facts { cluster, plane, address } = facts;
    let bind = if address.is_ipv4() { "0.0.0.0" } else { "::" };
    vec![
        format!("--etcd-servers=unix://{}", path::DATASTORE_SOCKET),
        format!("--bind-address={bind}"),
        format!("--advertise-address={address}"),
        format!("--secure-port={}", layout::CLUSTER_API_PORT),
        format!("--service-cluster-ip-range={}", plane.service_subnet),
        "--tls-min-version=VersionTLS13".into(),
        file("tls-cert-file", "server.crt"),
        file("tls-private-key-file", "server.key"),
        file("client-ca-file", "ca.crt"),
        // A kubelet's own certificate is self-signed; the node's address is what the cluster was told.
        file("kubelet-client-certificate", "kubelet-client.crt"),
        file("kubelet-client-key", "kubelet-client.key"),
        "--kubelet-preferred-address-types=InternalIP,Hostname".into(),
        file("requestheader-client-ca-file", "front-proxy-ca.crt"),
        "--requestheader-allowed-names=front-proxy".into(),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        file("proxy-client-cert-file", "front-proxy.crt"),
        file("proxy-client-key-file", "front-proxy.key"),
        format!("--service-account-issuer=https://kubernetes.default.svc.{}", cluster.domain),
        file("service-account-key-file", "service-accounts.pub"),
        file("service-account-signing-key-file", "service-accounts.key"),
        "--anonymous-auth=false".into(),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--enable-bootstrap-token-auth=true".into(),
        file("admission-control-config-file", "admission.json"),
        file("encryption-provider-config", "encryption.json"),
        file("audit-policy-file", "audit.json"),
        format!("--audit-log-path={AUDIT_FOLDER}/audit.log"),
        "--audit-log-maxage=30".into(),
        "--audit-log-maxbackup=3".into(),
        "--audit-log-maxsize=8".into(),
        "--profiling=false".into(),
        // There is one API server: what tells several of each other would only write to flash, every ten seconds.
        "--endpoint-reconciler-type=master-count".into(),
        "--feature-gates=APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false".into(),
        // What one small node asks for at once; more would only take memory.
        "--max-requests-inflight=100".into(),
        "--max-mutating-requests-inflight=50".into(),
    ]
}

fn controller_manager(facts: &Facts<'_>) -> Vec<String> {
    let ControlPlane { pod_subnet, service_subnet, .. } = facts.plane;
    let mut arguments = by_kubeconfig("controller-manager");
    arguments.extend([
        "--controllers=*,bootstrap-signer-controller,token-cleaner-controller".into(),
        "--use-service-account-credentials=true".into(),
        file("cluster-signing-cert-file", "signer.crt"),
        file("cluster-signing-key-file", "signer.key"),
        file("root-ca-file", "ca.crt"),
        file("service-account-private-key-file", "service-accounts.key"),
        // Above what the node of the data store takes between two renewals of its lease.
        "--node-monitor-grace-period=90s".into(),
        "--allocate-node-cidrs=true".into(),
        format!("--cluster-cidr={pod_subnet}"),
        format!("--service-cluster-ip-range={service_subnet}"),
    ]);
    arguments
}

fn scheduler() -> Vec<String> {
    by_kubeconfig("scheduler")
}

/// What is alike. Nobody else could lead: an election would write a lease to flash every two seconds.
fn by_kubeconfig(name: &str) -> Vec<String> {
    let kubeconfig = format!("{name}.kubeconfig");
    vec![
        file("kubeconfig", &kubeconfig),
        file("authentication-kubeconfig", &kubeconfig),
        file("authorization-kubeconfig", &kubeconfig),
        "--bind-address=127.0.0.1".into(),
        "--leader-elect=false".into(),
        "--profiling=false".into(),
    ]
}

/// Files beside the certificates: name and content.
pub fn files(plane: &ControlPlane) -> Vec<(String, String)> {
    let text = |value: &Value| format!("{value:#}\n");
    let mut files = vec![
        ("encryption.json".to_owned(), text(&encryption(plane))),
        ("audit.json".to_owned(), text(&audit())),
        ("admission.json".to_owned(), text(&admission())),
    ];
    for name in ["controller-manager", "scheduler"] {
        files.push((format!("{name}.kubeconfig"), text(&kubeconfig(name))));
    }
    files
}

/// Secrets are encrypted before they are written; those from before a key was given can still be read.
fn encryption(plane: &ControlPlane) -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{
            "resources": ["secrets"],
            "providers": [
                {"secretbox": {"keys": [{"name": "1", "secret": plane.encryption_key}]}},
                {"identity": {}},
            ],
        }],
    })
}

/// Who changed what, but for what the cluster's own programs write all the time: it would wear flash out.
fn audit() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "verbs": ["get", "list", "watch"]},
            {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
            {"level": "None", "users": [
                "system:kube-controller-manager", "system:kube-scheduler", "system:apiserver", "cairn:node",
            ]},
            {"level": "None", "resources": [
                {"group": "", "resources": ["events"]},
                {"group": "events.k8s.io", "resources": ["events"]},
                {"group": "coordination.k8s.io", "resources": ["leases"]},
            ]},
            {"level": "Metadata"},
        ],
    })
}

/// Pod Security: pods that could take the node over are let in, since a cluster's own parts must be, and the one who
/// makes them is warned. Namespaces say for themselves what they enforce.
fn admission() -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{
            "name": "PodSecurity",
            "configuration": {
                "apiVersion": "pod-security.admission.config.k8s.io/v1",
                "kind": "PodSecurityConfiguration",
                "defaults": {
                    "enforce": "privileged", "enforce-version": "latest",
                    "audit": "baseline", "audit-version": "latest",
                    "warn": "baseline", "warn-version": "latest",
                },
                "exemptions": {"namespaces": ["kube-system"]},
            },
        }],
    })
}

fn kubeconfig(name: &str) -> Value {
    let file = |name: &str| format!("{}/{name}", path::CONTROL_PLANE);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": {
            "server": format!("https://127.0.0.1:{}", layout::CLUSTER_API_PORT),
            "certificate-authority": file("ca.crt"),
        }}],
        "users": [{"name": name, "user": {
            "client-certificate": file(&format!("{name}.crt")),
            "client-key": file(&format!("{name}.key")),
        }}],
        "contexts": [{"name": name, "context": {"cluster": "cluster", "user": name}}],
        "current-context": name,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cluster::control_plane::{
        certificates::{self, Names},
        testing::{cluster, plane},
    };
    use pki::{Ca, SubjectName, Validity};

    fn all() -> Vec<(&'static str, Vec<String>)> {
        let (cluster, plane) = (cluster("A"), plane("hunter2"));
        let facts = Facts { cluster: &cluster, plane: &plane, address: [192, 0, 2, 17].into() };
        programs(&facts).into_iter().map(|program| (program.name, program.arguments)).collect()
    }

    #[test]
    fn the_api_server_lets_nobody_in_unknown() {
        let (_, arguments) = all().into_iter().find(|(name, _)| *name == "kube-apiserver").unwrap();
        for wanted in [
            "--anonymous-auth=false",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--tls-min-version=VersionTLS13",
            "--profiling=false",
            "--service-cluster-ip-range=10.96.0.0/12",
            "--advertise-address=192.0.2.17",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        ] {
            assert!(arguments.iter().any(|argument| argument == wanted), "{wanted}");
        }
    }

    #[test]
    fn no_secret_is_in_an_argument_and_every_file_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::create(&SubjectName::parse("shop").unwrap(), Validity::UNLIMITED).unwrap();
        let (cluster, plane) = (cluster(&ca.certificate().to_pem()), plane(&ca.key().to_pem()));
        let names = Names::of("node", [192, 0, 2, 17].into(), &cluster, &plane);
        certificates::provide(folder.path(), &cluster, &plane, &names).unwrap();
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut there: BTreeSet<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        there.extend(files(&plane).into_iter().map(|(name, _)| name));
        for (name, arguments) in all() {
            for argument in arguments {
                assert!(
                    !argument.contains("hunter2") && !argument.contains(&plane.encryption_key),
                    "{argument}"
                );
                let Some((_, file)) = argument.split_once("/run/cairn/control-plane/") else { continue };
                assert!(file.ends_with(".sock") || there.contains(file), "{name}: {argument}");
            }
        }
    }

    #[test]
    fn secrets_are_encrypted_and_nobody_elects() {
        let encryption = encryption(&plane("x"));
        assert!(encryption["resources"][0]["providers"][0]["secretbox"].is_object());
        for name in ["kube-controller-manager", "kube-scheduler"] {
            let (_, arguments) = all().into_iter().find(|(known, _)| *known == name).unwrap();
            assert!(arguments.contains(&"--leader-elect=false".to_owned()), "{name}");
            assert!(arguments.contains(&"--bind-address=127.0.0.1".to_owned()), "{name}");
        }
    }
}

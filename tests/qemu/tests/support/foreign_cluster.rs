//! A cluster that is not Cairn's: Kubernetes' own programs as plain processes of this host, set up as their
//! documentation says, on loopback alone.

use std::{
    fs::{self, File},
    net::{IpAddr, TcpListener},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Instant,
};

use pki::{Ca, SubjectName, Template, Usage, Validity};
use serde_json::{Value, json};
use testbed::{bed::HostKubernetes, network::OPEN_HOST};

use super::{BOOT, kubectl::Kubectl};

/// Id and secret of the bootstrap token.
pub const TOKEN: (&str, &str) = ("abcdef", "0123456789abcdef");
/// What a cluster must grant to a node that connects its pods itself (docs/cluster.md).
const GRANTS: &str = include_str!("../../pods/grants.yaml");
const SERVICES: &str = "10.98.0.0/16";
const PODS: &str = "10.245.0.0/16";

/// The processes end with it.
pub struct ForeignCluster {
    folder: PathBuf,
    programs: HostKubernetes,
    ca: Ca,
    port: u16,
    api_server: Option<Child>,
    others: Vec<Child>,
}

impl ForeignCluster {
    /// Starts one, and waits until it is ready to take nodes in.
    pub fn start(programs: HostKubernetes, folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let name = SubjectName::parse("foreign").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut cluster = Self {
            folder: folder.to_owned(),
            programs,
            ca: Ca::create(&name, Validity::UNLIMITED).unwrap(),
            port,
            api_server: None,
            others: Vec::new(),
        };
        for name in ["kine", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
            symlink(&cluster.programs.kubernetes, cluster.file(name)).unwrap();
        }
        cluster.certificates();
        let files = ["--database", &cluster.path("state.db"), "--socket", &cluster.path("kine.sock")];
        let store = cluster.process("kine", &files);
        cluster.others.push(store);
        cluster.start_api_server();
        let kubectl = cluster.kubectl();
        kubectl.apply(&token().to_string());
        kubectl.apply(GRANTS);
        cluster.controllers();
        cluster
    }

    /// Its administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.programs.kubectl, &self.file("admin.kubeconfig"), self.server())
    }

    /// Its CA, in PEM.
    pub fn authority(&self) -> String {
        self.ca.certificate().to_pem()
    }

    /// Where a node in [`testbed::network::Network::Open`] finds its API server.
    pub fn endpoint(&self) -> String {
        format!("{OPEN_HOST}:{}", self.port)
    }

    /// Ends the API server alone.
    pub fn stop_api_server(&mut self) {
        if let Some(mut child) = self.api_server.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again, and waits until it is ready.
    pub fn start_api_server(&mut self) {
        let etcd = format!("--etcd-servers=unix://{}", self.path("kine.sock"));
        let port = format!("--secure-port={}", self.port);
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.path(name));
        let services = format!("--service-cluster-ip-range={SERVICES}");
        let arguments = [
            etcd,
            port,
            "--bind-address=127.0.0.1".into(),
            format!("--advertise-address={OPEN_HOST}"),
            services,
            file("tls-cert-file", "server.crt"),
            file("tls-private-key-file", "server.key"),
            file("client-ca-file", "ca.crt"),
            file("service-account-key-file", "accounts.crt"),
            file("service-account-signing-key-file", "accounts.key"),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-bootstrap-token-auth".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.api_server = Some(self.process("kube-apiserver", &arguments));
        let kubectl = self.kubectl();
        let until = Instant::now() + BOOT;
        while !kubectl.output(&["get", "--raw", "/readyz"]).status.success() {
            assert!(
                Instant::now() < until,
                "the API server is not ready: see {}",
                self.path("kube-apiserver.log")
            );
            std::thread::park_timeout(std::time::Duration::from_millis(300));
        }
    }

    fn controllers(&mut self) {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.path(name));
        let arguments = [
            file("kubeconfig", "admin.kubeconfig"),
            file("cluster-signing-cert-file", "ca.crt"),
            file("cluster-signing-key-file", "ca.key"),
            file("root-ca-file", "ca.crt"),
            file("service-account-private-key-file", "accounts.key"),
            "--controllers=*,bootstrap-signer-controller,token-cleaner-controller".into(),
            "--allocate-node-cidrs".into(),
            format!("--cluster-cidr={PODS}"),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let manager = self.process("kube-controller-manager", &arguments);
        let kubeconfig = file("kubeconfig", "admin.kubeconfig");
        let scheduler =
            self.process("kube-scheduler", &[&kubeconfig, "--leader-elect=false", "--secure-port=0"]);
        self.others.extend([manager, scheduler]);
    }

    fn certificates(&self) {
        let issue = |common_name: &str, organisation: Option<&str>, usage, names: &[&str]| {
            let template = Template {
                common_name: common_name.into(),
                organisation: organisation.map(Into::into),
                dns_names: names.iter().map(|name| (*name).to_owned()).collect(),
                addresses: if names.is_empty() { vec![] } else { vec![IpAddr::from([127, 0, 0, 1])] },
                usage,
                validity: Validity::UNLIMITED,
            };
            self.ca.issue_with_new_key(&template).unwrap()
        };
        // What kubeadm puts into it, and the address by which this host calls it.
        let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let server = issue("kube-apiserver", None, Usage::Server, &names);
        let admin = issue("kubernetes-admin", Some("system:masters"), Usage::Client, &[]);
        let accounts = issue("accounts", None, Usage::Client, &[]);
        let write = |name: &str, text: &str| fs::write(self.file(name), text).unwrap();
        write("ca.crt", &self.authority());
        write("ca.key", &self.ca.key().to_pem());
        write("server.crt", &server.certificate.to_pem());
        write("server.key", &server.key.to_pem());
        write("admin.crt", &admin.certificate.to_pem());
        write("admin.key", &admin.key.to_pem());
        write("accounts.crt", &accounts.certificate.to_pem());
        write("accounts.key", &accounts.key.to_pem());
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {
                "server": self.server(),
                "certificate-authority": self.path("ca.crt"),
            }}],
            "users": [{"name": "u", "user": {
                "client-certificate": self.path("admin.crt"),
                "client-key": self.path("admin.key"),
            }}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        write("admin.kubeconfig", &kubeconfig.to_string());
    }

    fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn process(&self, name: &str, arguments: &[&str]) -> Child {
        let log = File::options().create(true).append(true).open(self.file(&format!("{name}.log"))).unwrap();
        let errors = log.try_clone().unwrap();
        Command::new(self.file(name)).args(arguments).stdout(log).stderr(errors).spawn().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn path(&self, name: &str) -> String {
        self.file(name).to_string_lossy().into_owned()
    }
}

impl Drop for ForeignCluster {
    fn drop(&mut self) {
        for child in self.api_server.iter_mut().chain(&mut self.others) {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn token() -> Value {
    let (id, secret) = TOKEN;
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": id,
            "token-secret": secret,
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
        },
    })
}

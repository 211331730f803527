//! Certificates of a cluster's own programs: made anew each boot, kept in memory only, and so without an end that a
//! wrong clock could bring near. Nobody outside of the node ever holds one.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use config::{Cluster, ControlPlane};
use netplan::Prefix;
use pki::{Ca, CaError, IssueError, Key, KeyError, NameError, SubjectName, Template, Usage, Validity};

use crate::files;

/// Group that the API server is to its kubelets.
pub const KUBELET_ADMINS: &str = "cairn:kubelet-admins";

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The configured CA and its key.
    #[error("ControlPlane.certificateAuthorityKey and the first of Cluster.certificateAuthorities")]
    Authority(#[source] CaError),
    /// The configured key of service accounts.
    #[error("ControlPlane.serviceAccountKey")]
    ServiceAccounts(#[source] KeyError),
    /// A name is refused.
    #[error("the name of the CA of front proxies is refused")]
    Name(#[source] NameError),
    /// A certificate cannot be made.
    #[error("cannot make the certificate of {name}")]
    Issue {
        /// Whose.
        name: &'static str,
        /// Cause.
        #[source]
        source: IssueError,
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

/// Client certificates: file name, common name and organisation, as Kubernetes' RBAC knows them.
const CLIENTS: [(&str, &str, Option<&str>); 4] = [
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("kubelet-client", "kube-apiserver-kubelet-client", Some(KUBELET_ADMINS)),
    // machined itself: it applies what it grants to others.
    ("node", "cairn:node", Some("system:masters")),
];

/// Makes what is missing in `folder`. The programs that run hold what is there already when machined starts again;
/// `anew` is for a server certificate that must hold other names.
pub fn provide(
    folder: &Path,
    cluster: &Cluster,
    plane: &ControlPlane,
    names: &Names,
) -> Result<(), CertificatesError> {
    let authority = cluster.certificate_authorities.first().map(String::as_str).unwrap_or_default();
    let ca =
        Ca::from_pem(authority, &plane.certificate_authority_key).map_err(CertificatesError::Authority)?;
    let accounts = Key::from_pem(&plane.service_account_key).map_err(CertificatesError::ServiceAccounts)?;
    fs::create_dir_all(folder)
        .map_err(|source| CertificatesError::Write { path: folder.to_owned(), source })?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        files::replace(&path, text.as_bytes(), 0o600)
            .map_err(|source| CertificatesError::Write { path, source })
    };
    write("ca.crt", &cluster.certificate_authorities.join("\n"))?;
    write("signer.crt", &ca.certificate().to_pem())?;
    write("signer.key", &ca.key().to_pem())?;
    write("service-accounts.key", &accounts.to_pem())?;
    write("service-accounts.pub", &public_pem(&accounts))?;
    let issue = |ca: &Ca, file: &'static str, template: &Template| {
        let made = ca.issue_with_new_key(template);
        let made = made.map_err(|source| CertificatesError::Issue { name: file, source })?;
        write(&format!("{file}.key"), &made.key.to_pem())?;
        write(&format!("{file}.crt"), &made.certificate.to_pem())
    };
    let is_missing = |file: &str| !folder.join(format!("{file}.crt")).exists();
    for (file, common_name, organisation) in CLIENTS.into_iter().filter(|(file, ..)| is_missing(file)) {
        issue(&ca, file, &client(common_name, organisation))?;
    }
    if is_missing("front-proxy") {
        let name = SubjectName::parse("cairn-front-proxy").map_err(CertificatesError::Name)?;
        let front = Ca::create(&name, Validity::UNLIMITED)
            .map_err(|source| CertificatesError::Issue { name: "front-proxy-ca", source })?;
        write("front-proxy-ca.crt", &front.certificate().to_pem())?;
        issue(&front, "front-proxy", &client("front-proxy", None))?;
    }
    // Says what the certificate beside it was made with.
    let wanted = names.text();
    let known = fs::read_to_string(folder.join("server.names")).unwrap_or_default();
    if is_missing("server") || known != wanted {
        issue(&ca, "server", &names.template())?;
        write("server.names", &wanted)?;
    }
    Ok(())
}

/// Names and addresses by which the API server is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Names {
    /// Those of a node: its own, those of the Service in the cluster, and the configured ones.
    pub fn of(hostname: &str, address: IpAddr, cluster: &Cluster, plane: &ControlPlane) -> Self {
        let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned);
        let mut dns = Vec::from(service);
        dns.push(format!("kubernetes.default.svc.{}", cluster.domain));
        dns.extend(["localhost".to_owned(), hostname.to_owned()]);
        let mut addresses = vec![
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            address,
            first(plane.service_subnet),
        ];
        for name in &plane.alternative_names {
            match name.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => dns.push(name.clone()),
            }
        }
        dns.dedup();
        Self { dns, addresses }
    }

    fn template(&self) -> Template {
        Template {
            common_name: "kube-apiserver".to_owned(),
            organisation: None,
            dns_names: self.dns.clone(),
            addresses: self.addresses.clone(),
            usage: Usage::Server,
            validity: Validity::UNLIMITED,
        }
    }

    fn text(&self) -> String {
        format!("{self:?}\n")
    }
}

/// The address of the Service `kubernetes`.
fn first(network: Prefix) -> IpAddr {
    match network.address {
        IpAddr::V4(address) => IpAddr::V4(u32::from(address).saturating_add(1).into()),
        IpAddr::V6(address) => IpAddr::V6(u128::from(address).saturating_add(1).into()),
    }
}

fn client(common_name: &str, organisation: Option<&str>) -> Template {
    Template {
        common_name: common_name.to_owned(),
        organisation: organisation.map(str::to_owned),
        dns_names: Vec::new(),
        addresses: Vec::new(),
        usage: Usage::Client,
        validity: Validity::UNLIMITED,
    }
}

/// A public key as kube-apiserver reads it: it takes no PKCS #8 key for one.
fn public_pem(key: &Key) -> String {
    const LINE_BYTES: usize = 64;
    let encoded = STANDARD.encode(key.public_key_der());
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(LINE_BYTES)
        .map(|line| std::str::from_utf8(line).unwrap_or_default())
        .collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use pki::{Certificate, SubjectName};

    use super::*;
    use crate::cluster::control_plane::testing::{cluster, plane};

    fn authority() -> Ca {
        Ca::create(&SubjectName::parse("shop").unwrap(), Validity::UNLIMITED).unwrap()
    }

    fn provided(folder: &Path, ca: &Ca, hostname: &str) -> Result<(), CertificatesError> {
        let (cluster, plane) = (cluster(&ca.certificate().to_pem()), plane(&ca.key().to_pem()));
        let names = Names::of(hostname, [192, 0, 2, 17].into(), &cluster, &plane);
        provide(folder, &cluster, &plane, &names)
    }

    #[test]
    fn a_boot_has_one_set_and_other_names_another_server_certificate() {
        let (folder, ca) = (tempfile::tempdir().unwrap(), authority());
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        provided(folder.path(), &ca, "node").unwrap();
        let (server, client) = (read("server.crt"), read("controller-manager.crt"));
        provided(folder.path(), &ca, "node").unwrap();
        assert_eq!((read("server.crt"), read("controller-manager.crt")), (server.clone(), client.clone()));
        provided(folder.path(), &ca, "other").unwrap();
        assert_ne!(read("server.crt"), server);
        assert_eq!(read("controller-manager.crt"), client);
        for file in ["server", "node", "scheduler"] {
            let key = Key::from_pem(&read(&format!("{file}.key"))).unwrap();
            let certificate = Certificate::from_pem(&read(&format!("{file}.crt"))).unwrap();
            assert_eq!(key.public_key_der(), certificate.public_key_der(), "{file}");
        }
        assert!(read("service-accounts.pub").starts_with("-----BEGIN PUBLIC KEY-----\n"));
    }

    #[test]
    fn the_key_of_another_ca_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, other) = (authority(), authority());
        let (cluster, plane) = (cluster(&ca.certificate().to_pem()), plane(&other.key().to_pem()));
        let names = Names::of("node", [192, 0, 2, 17].into(), &cluster, &plane);
        let error = provide(folder.path(), &cluster, &plane, &names).unwrap_err();
        assert!(matches!(error, CertificatesError::Authority(CaError::Mismatch)), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_api_server_is_known_by_all_its_names() {
        let mut plane = plane("");
        plane.alternative_names = vec!["k8s.example.com".into(), "203.0.113.9".into()];
        let names = Names::of("node", [192, 0, 2, 17].into(), &cluster(""), &plane);
        for name in ["kubernetes", "kubernetes.default.svc.cluster.local", "node", "k8s.example.com"] {
            assert!(names.dns.iter().any(|known| known == name), "{name}");
        }
        for address in [[127, 0, 0, 1], [192, 0, 2, 17], [10, 96, 0, 1], [203, 0, 113, 9]] {
            assert!(names.addresses.contains(&IpAddr::from(address)), "{address:?}");
        }
    }
}

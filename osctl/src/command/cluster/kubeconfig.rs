//! `osctl kubeconfig`

use std::path::{Path, PathBuf};

use pki::{Certificate, Key, NodeId};
use prost::Message as _;
use proto::cluster::v1::{
    GetClusterRequest, GetClusterResponse, IssueAdminCertificateBody, IssueAdminCertificateRequest,
    IssueAdminCertificateResponse,
};
use proto::config::v1::ListGenerationsRequest;

use super::entry::Entry;
use super::kubeconfig_file as kubeconfig;
use crate::cli::Output;
use crate::cli::cluster::Kubeconfig;
use crate::command::sign::{self, sign};
use crate::command::{Session, generate::destination};
use crate::endpoint::Endpoint;
use crate::failure::{Failure, chain};
use crate::node::{Node, Target, Trust};
use crate::output::{self, note};
use crate::{clock, file};

const ISSUE: &str = "/cairn.cluster.v1.ClusterService/IssueAdminCertificate";
const CANNOT: &str = "cannot get a certificate of a cluster admin";
const DEFAULT_FILE: &str = "kubeconfig";

/// Where the entry goes.
enum Place {
    Stdout,
    New(PathBuf),
    Merged(PathBuf),
}

/// Has the node certify a new key, and writes a kubeconfig with both.
pub async fn kubeconfig(session: &Session, arguments: &Kubeconfig) -> Result<(), Failure> {
    let place = place(arguments)?;
    // Before the node signs anything.
    if let Place::New(path) = &place
        && !arguments.force
        && path.symlink_metadata().is_ok()
    {
        return Err(exists(path));
    }
    let target = session.target()?;
    let node = session.connect().await?;
    let cluster =
        node.call("cannot ask about the cluster", node.cluster().get_cluster(GetClusterRequest {})).await?;
    if !cluster.control_plane {
        return Err(no_control_plane(&target.name, &cluster));
    }
    let key = Key::generate().map_err(|error| Failure::error("cannot make a key").why(chain(&error)))?;
    let issued = issue(&target, &node, &key, arguments.lifetime.as_secs()).await?;
    let certificate = checked(&node, &issued.certificate_pem, &key)?;
    let server = arguments
        .server
        .clone()
        .unwrap_or_else(|| Endpoint { host: node.endpoint().host.clone(), port: layout::CLUSTER_API_PORT });
    let entry = Entry {
        name: arguments.name.clone().unwrap_or_else(|| target.name.clone()),
        server: url(&server),
        authorities_pem: bundle(&issued.certificate_authorities_pem),
        certificate_pem: issued.certificate_pem,
        key_pem: key.to_pem(),
    };
    write(&place, &entry, arguments.force)?;
    note(&format!(
        "the certificate is good until {}; nothing revokes it before",
        clock::date(certificate.validity().not_after_s)
    ));
    Ok(())
}

fn place(arguments: &Kubeconfig) -> Result<Place, Failure> {
    let to_stdout = matches!(&arguments.output, Some(Output::File(path)) if path == Path::new("-"));
    let file = destination(arguments.output.clone())?;
    match (file, arguments.merge) {
        (None, true) if to_stdout => {
            Err(Failure::usage("--merge changes a file; standard output has none to keep"))
        }
        (None, false) if to_stdout => Ok(Place::Stdout),
        (Some(path), true) => Ok(Place::Merged(path)),
        (None, true) => kubeconfig::default_path().map(Place::Merged),
        (file, false) => Ok(Place::New(file.unwrap_or_else(|| DEFAULT_FILE.into()))),
    }
}

fn no_control_plane(node: &str, cluster: &GetClusterResponse) -> Failure {
    let failure = Failure::error(format!("{node} serves no cluster"));
    match (cluster.member, cluster.endpoints.as_slice()) {
        (false, _) => failure.why("its configuration has no document Cluster").hint(
            "choose a control plane with -c, or make the node one: `osctl gen cluster`, then `osctl patch config -f control-plane.yaml`",
        ),
        (true, []) => failure.why("it is a worker").hint("choose the cluster's control plane with -c"),
        (true, endpoints) => failure.why("it is a worker").hint(format!(
            "choose the cluster's control plane with -c; it is at {}",
            endpoints.join(", ")
        )),
    }
}

async fn issue(
    target: &Target,
    node: &Node,
    key: &Key,
    lifetime_seconds: u64,
) -> Result<IssueAdminCertificateResponse, Failure> {
    let csr_der = request(target, key)?;
    let listed = node.call(CANNOT, node.config().list_generations(ListGenerationsRequest {})).await?;
    let base = sign::base(&listed.epoch, listed.base_generation)?;
    let body = IssueAdminCertificateBody { csr_der, lifetime_seconds };
    let request = Some(sign(target, ISSUE, base, body.encode_to_vec())?);
    let request = IssueAdminCertificateRequest { request };
    node.call(CANNOT, node.cluster().issue_admin_certificate(request)).await
}

/// Proves that the key is ours. The node takes nothing else from it, so the name in it is of no account.
fn request(target: &Target, key: &Key) -> Result<Vec<u8>, Failure> {
    let cannot = |why: String| Failure::error("cannot make a signing request").why(why);
    let node_id: &NodeId = match &target.trust {
        Trust::Chain { node_id, .. } => node_id,
        Trust::Fingerprint(_) | Trust::Anyone => return Err(cannot("the node is not adopted".into())),
    };
    pki::node::signing_request(key, node_id).map_err(|error| cannot(chain(&error)))
}

fn checked(node: &Node, pem: &str, key: &Key) -> Result<Certificate, Failure> {
    let failure = || Failure::error(format!("{CANNOT} on {}", node.name()));
    let certificate = Certificate::from_pem(pem).map_err(|error| failure().why(chain(&error)))?;
    if certificate.public_key_der() != key.public_key_der() {
        return Err(failure().why("the node certified another key"));
    }
    Ok(certificate)
}

/// One text of several certificates, whether or not each ends its last line.
fn bundle(certificates: &[String]) -> String {
    certificates.iter().map(|pem| format!("{}\n", pem.trim_end())).collect()
}

/// In URLs the zone of a link-local address stands behind an escaped percent sign (RFC 6874).
fn url(server: &Endpoint) -> String {
    format!("https://{}", server.to_string().replace('%', "%25"))
}

fn write(place: &Place, entry: &Entry, force: bool) -> Result<(), Failure> {
    let name = &entry.name;
    match place {
        Place::Stdout => output::write(kubeconfig::text(entry)?.as_bytes()),
        Place::New(path) => {
            let text = kubeconfig::text(entry)?;
            let written = match force {
                true => file::replace(path, text.as_str()),
                false => file::create(path, text.as_str()),
            };
            written.map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => exists(path),
                _ => Failure::error(format!("cannot write {}", path.display())).why(error),
            })?;
            let path = path.display();
            note(&format!("wrote {path}; use it with kubectl --kubeconfig {path}"));
            Ok(())
        }
        Place::Merged(path) => {
            kubeconfig::merge(path, entry, force)?;
            note(&format!("{} has {name} now; use it with kubectl --context {name}", path.display()));
            Ok(())
        }
    }
}

fn exists(path: &Path) -> Failure {
    Failure::error(format!("{} exists and is left as it is", path.display()))
        .hint("add to it with --merge, replace it with --force, or choose another file with -o")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_urls() {
        let url = |text| url(&Endpoint::parse(text, 6443).unwrap());
        assert_eq!(url("10.0.0.5"), "https://10.0.0.5:6443");
        assert_eq!(url("[2001:db8::1]:7"), "https://[2001:db8::1]:7");
        assert_eq!(url("fe80::1%eth0"), "https://[fe80::1%25eth0]:6443");
    }
}

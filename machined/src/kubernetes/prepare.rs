//! Everything that must lie on the file systems before containerd and the kubelet start.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use config::{NodeConfig, POD_SUBNET, Registry};
use layout::path;

use super::{
    member::{self, MemberError},
    pki::{self, PkiError},
    registry, render,
};
use crate::files;

/// The image's CAs (Debian's ca-certificates).
const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Where the kubelet looks for what it sends along with pulls.
const CREDENTIALS: &str = "/var/lib/kubelet/config.json";
const KUBELET_FOLDER: &str = "/var/lib/kubelet";
/// Which processors and memory the kubelet gave to which container.
const ASSIGNMENTS: [&str; 2] = ["cpu_manager_state", "memory_manager_state"];

/// CNI configuration behind the link in /etc.
const CNI_CONFIG_FILE: &str = "/run/cairn/cni/net.d/10-cairn.conflist";
/// Directories: targets of links in the read-only root, and those that are only ever looked into.
const DIRECTORIES: [&str; 4] =
    ["/var/opt/cni/bin", "/run/cairn/cni/net.d", render::REGISTRIES, path::MANIFESTS];

/// Why the node is not prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A directory cannot be made.
    #[error("cannot make {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A link cannot be made.
    #[error("cannot make the link {}", path.display())]
    Link {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
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
    /// A file cannot be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Membership in a cluster.
    #[error("the kubelet cannot be a member of the cluster")]
    Member(#[source] MemberError),
    /// Certificates.
    #[error("the kubelet has no certificates")]
    Pki(#[source] PkiError),
}

/// Makes directories, links, configuration and certificates. Needs DATA at /var; harmless when done before.
pub fn prepare(hostname: &str, config: &NodeConfig) -> Result<(), PrepareError> {
    for path in DIRECTORIES.map(Path::new) {
        make_directory(path)?;
    }
    link("/run", Path::new("/var/run"))?;
    if !Path::new(path::KUBELET_CONFIG).exists() {
        forget_assignments(Path::new(KUBELET_FOLDER))?;
    }
    write(path::KUBELET_CONFIG, &render::kubelet(config))?;
    if let Some(cluster) = &config.cluster {
        member::prepare(hostname, cluster, &member::Places::of_a_node()).map_err(PrepareError::Member)?;
    }
    if config.cluster.is_none() {
        pod_network(&POD_SUBNET.to_string(), true)?;
    }
    write(path::CONTAINERD_CONFIG, &render::containerd())?;
    write(render::TRUSTED_CAS, &trusted(&config.trusted_certificates)?)?;
    registries(&config.registries)?;
    pki::provide(Path::new(render::KUBELET_PKI), hostname).map_err(PrepareError::Pki)
}

/// Has containerd connect pods over a bridge with addresses of this subnet; it looks whenever the file changes.
/// `masquerade`: what pods send out comes from the node.
pub fn pod_network(subnet: &str, masquerade: bool) -> Result<(), PrepareError> {
    write(CNI_CONFIG_FILE, &render::cni(subnet, masquerade))
}

/// The kubelet refuses to start with other policies than those that its assignments were made with. They are of
/// containers, none of which outlives a boot.
fn forget_assignments(folder: &Path) -> Result<(), PrepareError> {
    for path in ASSIGNMENTS.map(|name| folder.join(name)) {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(PrepareError::Remove { path, source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The image's CAs, then the configuration's.
fn trusted(configured: &[String]) -> Result<String, PrepareError> {
    let path = Path::new(CA_BUNDLE);
    let own =
        fs::read_to_string(path).map_err(|source| PrepareError::Read { path: path.to_owned(), source })?;
    Ok(std::iter::once(&own).chain(configured).fold(String::new(), |mut bundle, pem| {
        bundle.push_str(pem.trim_end());
        bundle.push('\n');
        bundle
    }))
}

/// One folder for each registry; folders of registries that are no more are removed. containerd reads them at each pull.
fn registries(registries: &[Registry]) -> Result<(), PrepareError> {
    let root = Path::new(render::REGISTRIES);
    let folders = fs::read_dir(root)
        .map_err(|source| PrepareError::Read { path: root.to_owned(), source })?
        .filter_map(Result::ok);
    for folder in folders {
        if !registries.iter().any(|registry| *registry.host == *folder.file_name()) {
            fs::remove_dir_all(folder.path())
                .map_err(|source| PrepareError::Write { path: folder.path(), source })?;
        }
    }
    for registry in registries {
        let file = root.join(&registry.host).join("hosts.toml");
        write(&file.to_string_lossy(), &registry::hosts(registry))?;
    }
    write(CREDENTIALS, &registry::credentials(registries))
}

fn make_directory(path: &Path) -> Result<(), PrepareError> {
    fs::create_dir_all(path).map_err(|source| PrepareError::Directory { path: path.to_owned(), source })
}

fn link(target: &str, path: &Path) -> Result<(), PrepareError> {
    match symlink(target, path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(PrepareError::Link { path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write(path: &str, content: &str) -> Result<(), PrepareError> {
    let path = Path::new(path);
    if let Some(folder) = path.parent() {
        make_directory(folder)?;
    }
    files::replace(path, content.as_bytes(), 0o600)
        .map_err(|source| PrepareError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_assignments_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["cpu_manager_state", "config.json"] {
            fs::write(folder.path().join(name), "{}").unwrap();
        }
        forget_assignments(folder.path()).unwrap();
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["config.json"]);
    }
}

//! Everything that must lie on the file systems before containerd and the kubelet start.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use layout::path;

use super::{
    files,
    pki::{self, PkiError},
    render,
};

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
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Certificates.
    #[error("the kubelet has no certificates")]
    Pki(#[source] PkiError),
}

/// Makes directories, links, configuration and certificates. Needs DATA at /var; harmless when done before.
pub fn prepare(hostname: &str) -> Result<(), PrepareError> {
    for path in DIRECTORIES.map(Path::new) {
        make_directory(path)?;
    }
    link("/run", Path::new("/var/run"))?;
    write(path::CONTAINERD_CONFIG, &render::containerd())?;
    write(path::KUBELET_CONFIG, &render::kubelet())?;
    write(CNI_CONFIG_FILE, &render::cni())?;
    pki::provide(Path::new(render::KUBELET_PKI), hostname).map_err(PrepareError::Pki)
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

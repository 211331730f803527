//! Certificates of the kubelet's own API: made anew each boot, kept in memory only.
//!
//! The CA signs the serving certificate and is then forgotten: nobody, not even Cairn, can have a client certificate
//! that the kubelet accepts. What Cairn wants to know of the kubelet it gets from local sockets.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use pki::{Ca, IssueError, NameError, SubjectName, Template, Usage, Validity};

use crate::files;

/// Why the kubelet has no certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A name is refused.
    #[error("the name of the kubelet's CA is refused")]
    Name(#[source] NameError),
    /// A certificate cannot be made.
    #[error("cannot make the kubelet's certificates")]
    Issue(#[source] IssueError),
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

/// Makes CA certificate, serving key and serving certificate in `folder`, unless they are there: a running kubelet
/// holds them already when machined starts again.
pub fn provide(folder: &Path, hostname: &str) -> Result<(), PkiError> {
    let [ca_file, certificate_file, key_file] =
        ["ca.crt", "server.crt", "server.key"].map(|name| folder.join(name));
    if [&ca_file, &certificate_file, &key_file].iter().all(|file| file.exists()) {
        return Ok(());
    }
    let name = SubjectName::parse("cairn-kubelet").map_err(PkiError::Name)?;
    // A clock at 1970 must not keep a node from starting its pods, and the next boot makes new ones.
    let ca = Ca::create(&name, Validity::UNLIMITED).map_err(PkiError::Issue)?;
    let template = Template {
        common_name: "kubelet".to_owned(),
        organisation: None,
        dns_names: vec![hostname.to_owned(), "localhost".to_owned()],
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        usage: Usage::Server,
        validity: Validity::UNLIMITED,
    };
    let server = ca.issue_with_new_key(&template).map_err(PkiError::Issue)?;
    let write = |path: &Path, content: &str| {
        files::replace(path, content.as_bytes(), 0o600)
            .map_err(|source| PkiError::Write { path: path.to_owned(), source })
    };
    fs::create_dir_all(folder).map_err(|source| PkiError::Write { path: folder.to_owned(), source })?;
    write(&ca_file, &ca.certificate().to_pem())?;
    write(&certificate_file, &server.certificate.to_pem())?;
    write(&key_file, &server.key.to_pem())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_boot_has_one_set_and_the_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        provide(folder.path(), "node").unwrap();
        let key = folder.path().join("server.key");
        let first = fs::read(&key).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        provide(folder.path(), "node").unwrap();
        assert_eq!(fs::read(&key).unwrap(), first);
        fs::remove_file(folder.path().join("ca.crt")).unwrap();
        provide(folder.path(), "node").unwrap();
        assert_ne!(fs::read(&key).unwrap(), first, "a partial set is made anew");
        let entries = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(entries, 3, "the CA's key is nowhere");
    }
}

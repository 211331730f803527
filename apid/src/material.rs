//! What machined renders for apid: key, certificate, CAs, revocations, clock floor, addresses. Read at start and again on every change.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{AddrParseError, IpAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layout::path;
use pki::{Bundle, BundleError, RevocationError, Revocations};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ServerConfig, version};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::mode::Mode;
use crate::verifier::Verifier;

/// Longest file: the most revocations, in hex, are below it.
const FILE_MAX_BYTES: u64 = 512 * 1024;

/// Everything that a handshake needs.
#[derive(Debug)]
pub struct Material {
    /// For handshakes.
    pub tls: Arc<ServerConfig>,
    /// What the node is up to.
    pub mode: Mode,
    /// Who is let in; `None` for anybody, in maintenance only.
    pub clients: Option<Clients>,
    /// Under which certificates are judged.
    pub clock: Clock,
    /// Where to listen; none for everywhere. Of use at the start only: machined starts apid anew for others.
    pub addresses: Vec<IpAddr>,
}

/// Clients that are let in.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Their CAs.
    pub cas: Bundle,
    /// Client certificates of these that are let in no more.
    pub revoked: Revocations,
}

/// Why the files are of no use (yet).
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing, unreadable or too long.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The CA bundle is not text or holds no usable CAs.
    #[error("the CA bundle is of no use")]
    Cas {
        /// Why.
        #[source]
        source: BundleError,
    },
    /// The revocations are not what they should be.
    #[error("the list of revoked certificates is malformed")]
    Revoked {
        /// Why.
        #[source]
        source: RevocationError,
    },
    /// The addresses are none.
    #[error("the list of addresses is malformed")]
    Addresses {
        /// Why.
        #[source]
        source: AddrParseError,
    },
    /// Key or certificate are not PEM.
    #[error("the serving key or certificate is not PEM")]
    Pem {
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// `identity.json` is not what it should be.
    #[error("identity.json is malformed")]
    Identity {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Key and certificate do not fit together, or TLS cannot be set up with them.
    #[error("cannot serve with this key and certificate")]
    Tls {
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

#[derive(Deserialize)]
struct IdentityFile {
    time_floor_s: u64,
    #[serde(default)]
    mode: Mode,
}

impl Material {
    /// Reads all files in `directory`. The clock never falls below `previous`.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(directory: &Path, previous: Option<Clock>) -> Result<Self, LoadError> {
        let read = |name: &str| read(&directory.join(file_name(name)));
        let identity: IdentityFile = serde_json::from_slice(&read(path::APID_IDENTITY)?)
            .map_err(|source| LoadError::Identity { source })?;
        let clock = previous.map_or_else(
            || Clock::new(identity.time_floor_s),
            |clock| clock.raised_to(identity.time_floor_s),
        );
        let clients = clients(identity.mode, &read(path::APID_CA)?, &read(path::APID_REVOKED)?)?;
        let addresses = addresses(&read(path::APID_ADDRESSES)?)?;
        let chain = CertificateDer::pem_slice_iter(&read(path::APID_CERT)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| LoadError::Pem { source })?;
        let key = PrivateKeyDer::from_pem_slice(&read(path::APID_KEY)?)
            .map_err(|source| LoadError::Pem { source })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = verifier(clients.as_ref(), clock, &provider);
        let tls =
            server_config(chain, key, provider, verifier).map_err(|source| LoadError::Tls { source })?;
        Ok(Self { tls: Arc::new(tls), mode: identity.mode, clients, clock, addresses })
    }
}

/// A node with a configuration has CAs, or nobody is let in at all.
fn clients(mode: Mode, cas: &[u8], revoked: &[u8]) -> Result<Option<Clients>, LoadError> {
    let revoked = Revocations::parse(&String::from_utf8_lossy(revoked))
        .map_err(|source| LoadError::Revoked { source })?;
    match (mode, Bundle::from_pem(&String::from_utf8_lossy(cas))) {
        (_, Ok(cas)) => Ok(Some(Clients { cas, revoked })),
        (Mode::Maintenance, Err(BundleError::Empty)) => Ok(None),
        (Mode::Maintenance | Mode::Running, Err(source)) => Err(LoadError::Cas { source }),
    }
}

fn addresses(lines: &[u8]) -> Result<Vec<IpAddr>, LoadError> {
    let text = String::from_utf8_lossy(lines);
    let parsed = text.lines().map(str::parse).collect::<Result<_, _>>();
    parsed.map_err(|source| LoadError::Addresses { source })
}

fn verifier(
    clients: Option<&Clients>,
    clock: Clock,
    provider: &CryptoProvider,
) -> Arc<dyn ClientCertVerifier> {
    match clients.cloned() {
        Some(Clients { cas, revoked }) => {
            Arc::new(Verifier::new(cas, revoked, clock, provider.signature_verification_algorithms))
        }
        None => WebPkiClientVerifier::no_client_auth(),
    }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would bring an old verdict on the client's certificate with it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The name alone: the directory is configurable, for tests.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let read = || {
        // Room from the start: growing would leave copies of a key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        File::open(path)?.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_MAX_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(bytes)
    };
    read().map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

//! The node's key, its certificate and its ids on STATE, and what apid gets of them.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use config::NodeConfig;
use layout::path;
use pki::{
    Bundle, Certificate, CertificateError, IssueError, Key, KeyError, NameError, NodeId, Role, node,
    signed::{self, Base, Epoch, Expected, NoRandomness, SignedRefusal, SignedRequest, Trusted},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::{
    apid_files::{self, RenderError},
    storage::{StorageError, replace_file},
    trust::{Clients, Trust, TrustError},
};

const ID_BYTES: usize = 16;
/// Below STATE.
const FOLDER: &str = "identity";

/// Why the node has no identity, or cannot change it.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file of STATE cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// No random bytes.
    #[error("cannot read random bytes")]
    Random(#[source] io::Error),
    /// Requests of this start could not be told from others.
    #[error("cannot begin an epoch")]
    Epoch(#[source] NoRandomness),
    /// A file cannot be written.
    #[error("cannot keep the identity")]
    Write(#[source] StorageError),
    /// The kept node id is damaged.
    #[error("the node id on STATE is damaged")]
    NodeId(#[source] NameError),
    /// The kept key is damaged, or none can be made.
    #[error("the node has no usable key")]
    Key(#[source] KeyError),
    /// The kept certificate is damaged.
    #[error("the node's certificate is damaged")]
    Certificate(#[source] CertificateError),
    /// A certificate or request cannot be made.
    #[error("cannot make the node's certificate")]
    Issue(#[source] IssueError),
    /// The configuration lets nobody in.
    #[error("the configured clients are of no use")]
    Trust(#[source] TrustError),
    /// A client is not let in.
    #[error("the client is not let in")]
    Client(#[source] pki::Refusal),
    /// An issued certificate is not one for this node.
    #[error("the certificate is refused")]
    Refused(#[source] node::ServerRefusal),
    /// The folder of the identity cannot be made.
    #[error("cannot make {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// apid's files cannot be rendered.
    #[error("apid's files")]
    Render(#[source] RenderError),
}

/// What STATE keeps of the node's identity, whether it has a configuration or not.
pub struct Keys {
    folder: PathBuf,
    /// 128 random bits in hex.
    pub node_id: NodeId,
    /// As in /etc/machine-id.
    pub machine_id: String,
    /// The node's key.
    pub key: Key,
    certificate: Certificate,
}

impl Keys {
    /// Loads them below `state`, making what is missing.
    pub fn open(state: &Path) -> Result<Self, IdentityError> {
        let folder = state.join(FOLDER);
        fs::create_dir_all(&folder)
            .map_err(|source| IdentityError::Folder { path: folder.clone(), source })?;
        let node_id = kept(&folder.join("node-id"), random_hex)?;
        let node_id = NodeId::parse(node_id.trim()).map_err(IdentityError::NodeId)?;
        let machine_id = kept(&folder.join("machine-id"), random_hex)?;
        let key = kept(&folder.join("key.pem"), || {
            Ok(Key::generate().map_err(IdentityError::Key)?.to_pem().to_string())
        })?;
        let key = Key::from_pem(&key).map_err(IdentityError::Key)?;
        let certificate = kept(&folder.join("certificate.pem"), || {
            Ok(node::self_signed(&key, &node_id).map_err(IdentityError::Issue)?.to_pem())
        })?;
        let certificate = Certificate::from_pem(&certificate).map_err(IdentityError::Certificate)?;
        Ok(Self { machine_id: machine_id.trim().to_owned(), folder, node_id, key, certificate })
    }

    /// Writes apid's files of a node without configuration: anybody may come, or the clients of the medium's CA.
    pub fn render_maintenance(&self, medium: Option<&Bundle>, floor_s: u64) -> Result<(), IdentityError> {
        let facts = json!({"mode": "maintenance", "node_id": self.node_id.as_str(), "time_floor_s": floor_s});
        apid_files::render([
            (path::APID_ADDRESSES, ""),
            (path::APID_REVOKED, ""),
            (path::APID_CA, &medium.map(Bundle::to_pem).unwrap_or_default()),
            (path::APID_IDENTITY, &facts.to_string()),
            (path::APID_CERT, &self.certificate.to_pem()),
            (path::APID_KEY, &self.key.to_pem()),
        ])
        .map_err(IdentityError::Render)
    }
}

/// The files of an identity, for a place besides STATE. The key is in them: no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptIdentity {
    node_id: String,
    machine_id: String,
    key: Zeroizing<String>,
    certificate: String,
}

impl KeptIdentity {
    /// Lays the files out below an empty `state`.
    pub fn restore(&self, state: &Path) -> Result<(), IdentityError> {
        let folder = state.join(FOLDER);
        fs::create_dir_all(&folder)
            .map_err(|source| IdentityError::Folder { path: folder.clone(), source })?;
        let files = [
            ("node-id", self.node_id.as_str()),
            ("machine-id", &self.machine_id),
            ("key.pem", &self.key),
            ("certificate.pem", &self.certificate),
        ];
        files.into_iter().try_for_each(|(name, content)| {
            replace_file(&folder.join(name), content.as_bytes(), 0o600).map_err(IdentityError::Write)
        })
    }
}

/// The node's identity.
pub struct Identity {
    folder: PathBuf,
    node_id: NodeId,
    machine_id: String,
    key: Key,
    trust: Arc<Trust>,
    clients: Mutex<Clients>,
    certificate: watch::Sender<Certificate>,
    epoch: Epoch,
    mode: Mode,
}

/// What the node's files for apid call its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it should be.
    Running,
    /// Without STATE, from its mirror.
    Recovery,
}

impl Mode {
    /// As others read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Recovery => "recovery",
        }
    }
}

impl Identity {
    /// Loads the identity below `state`, making what is missing.
    pub fn open(state: &Path, config: &NodeConfig, trust: Arc<Trust>) -> Result<Self, IdentityError> {
        let Keys { folder, node_id, machine_id, key, certificate } = Keys::open(state)?;
        Ok(Self {
            certificate: watch::Sender::new(certificate),
            epoch: Epoch::random().map_err(IdentityError::Epoch)?,
            mode: Mode::Running,
            clients: Mutex::new(trust.clients(config).map_err(IdentityError::Trust)?),
            trust,
            machine_id,
            folder,
            node_id,
            key,
        })
    }

    /// The identity of a node in another mode.
    pub fn in_mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// What the node is up to.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// This start, which signed requests name. Kept nowhere, so that it never comes back.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its files.
    pub fn kept(&self) -> KeptIdentity {
        KeptIdentity {
            node_id: self.node_id.to_string(),
            machine_id: self.machine_id.clone(),
            key: self.key.to_pem(),
            certificate: self.certificate.borrow().to_pem(),
        }
    }

    /// The serving certificate; told of another one.
    pub fn certificates(&self) -> watch::Receiver<Certificate> {
        self.certificate.subscribe()
    }

    /// 128 random bits in hex.
    pub fn node_id(&self) -> &str {
        self.node_id.as_str()
    }

    /// As in /etc/machine-id.
    pub fn machine_id(&self) -> &str {
        &self.machine_id
    }

    /// SHA-256 of the public key (subjectPublicKeyInfo), hex.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint()
    }

    /// Lets in the clients of this configuration from now on, and no others; apid's next start serves at its addresses.
    /// The present clients stay when it is of no use.
    pub fn trust(&self, config: &NodeConfig) -> Result<(), IdentityError> {
        let clients = self.trust.clients(config).map_err(IdentityError::Trust)?;
        *self.clients.lock().unwrap_or_else(PoisonError::into_inner) = clients;
        self.render()?;
        apid_files::render_addresses(&self.addresses(config)).map_err(IdentityError::Render)
    }

    /// Whether this configuration lets anybody in.
    pub fn check(&self, config: &NodeConfig) -> Result<(), IdentityError> {
        self.trust.clients(config).map(drop).map_err(IdentityError::Trust)
    }

    /// Whether a configuration lets the client with this certificate (DER) in as an admin.
    pub fn still_admits(&self, config: &NodeConfig, client_der: &[u8]) -> Result<(), IdentityError> {
        let Clients { cas, revoked } = self.trust.clients(config).map_err(IdentityError::Trust)?;
        let client = pki::judge(client_der, &cas, &revoked, self.trust.floor_s());
        client.map(drop).map_err(IdentityError::Client)
    }

    /// The earliest time that it can be now, in seconds since 1970.
    pub fn floor_s(&self) -> u64 {
        self.trust.floor_s()
    }

    /// The CAs whose clients are let in.
    pub fn cas(&self) -> Bundle {
        self.clients().cas
    }

    /// Decides whether a signed request is obeyed now, and who made it.
    pub fn verify(
        &self,
        request: &SignedRequest,
        method: &str,
        base_generation: u64,
        role: Role,
    ) -> Result<pki::Identity, SignedRefusal> {
        let Clients { cas, revoked } = self.clients();
        let base = Base { epoch: self.epoch, generation: base_generation };
        let expected = Expected { method, node_id: &self.node_id, base, role };
        let trusted = Trusted { cas: &cas, revoked: &revoked, floor_s: self.trust.floor_s() };
        signed::verify(request, &expected, &trusted)
    }

    fn clients(&self) -> Clients {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// PKCS #10 request in DER.
    pub fn signing_request(&self) -> Result<Vec<u8>, IdentityError> {
        node::signing_request(&self.key, &self.node_id).map_err(IdentityError::Issue)
    }

    /// Whether the serving certificate was issued by a configured CA.
    pub fn is_adopted(&self) -> bool {
        let certificate = self.certificate.borrow();
        node::check_server(certificate.der(), &self.cas(), &self.node_id).is_ok()
    }

    /// Takes an issued certificate, keeps it and renders it for apid.
    pub fn install(&self, der: &[u8]) -> Result<(), IdentityError> {
        node::check_issued(der, &self.key.public_key_der(), &self.cas(), &self.node_id)
            .map_err(IdentityError::Refused)?;
        let certificate = Certificate::from_der(der).map_err(IdentityError::Certificate)?;
        replace_file(&self.folder.join("certificate.pem"), certificate.to_pem().as_bytes(), 0o600)
            .map_err(IdentityError::Write)?;
        self.certificate.send_replace(certificate);
        self.render()
    }

    /// Where the API is served under this configuration; nowhere in particular means everywhere. In recovery being
    /// reachable comes first.
    pub fn addresses(&self, config: &NodeConfig) -> BTreeSet<IpAddr> {
        match self.mode {
            Mode::Running => config.api_addresses.clone(),
            Mode::Recovery => BTreeSet::new(),
        }
    }

    /// Writes apid's files.
    pub fn render(&self) -> Result<(), IdentityError> {
        let certificate = self.certificate.borrow().to_pem();
        let Clients { cas, revoked } = self.clients();
        let facts =
            json!({"mode": self.mode.name(), "node_id": self.node_id.as_str(), "time_floor_s": self.trust.floor_s()})
                .to_string();
        apid_files::render([
            (path::APID_REVOKED, &revoked.to_string()),
            // Before the mode, which is in the identity: whoever comes in between needs a certificate already.
            (path::APID_CA, &cas.to_pem()),
            (path::APID_IDENTITY, &facts),
            (path::APID_CERT, &certificate),
            (path::APID_KEY, &self.key.to_pem()),
        ])
        .map_err(IdentityError::Render)
    }
}

/// The content of a file, made and kept when there is none.
fn kept(path: &Path, make: impl FnOnce() -> Result<String, IdentityError>) -> Result<String, IdentityError> {
    match fs::read_to_string(path) {
        Ok(content) => Ok(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let content = make()?;
            replace_file(path, content.as_bytes(), 0o600).map_err(IdentityError::Write)?;
            Ok(content)
        }
        Err(source) => Err(IdentityError::Read { path: path.to_owned(), source }),
    }
}

fn random_hex() -> Result<String, IdentityError> {
    let mut bytes = [0; ID_BYTES];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(IdentityError::Random)?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;

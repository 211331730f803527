//! A node's rendered files, apid in front of a cardboard machined, and clients.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apid::notify::Supervisor;
use apid::{Confinement, Options, Server};
use hyper_util::rt::TokioIo;
use pki::{Bundle, Ca, Credentials, Key, NodeId, Revocations, Role, SigningRequest, SubjectName, Validity};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, client::Grpc};

use crate::log;
use crate::machined::Machined;

/// Floor of the node's clock: 2096, whatever the host's clock says.
pub const FLOOR_S: u64 = 4_000_000_000;
pub const DAY_S: u64 = 24 * 3600;
const NODE: &str = "n1";
pub const REBOOT: &str = "/cairn.machine.v1.MachineService/Reboot";
pub const GET_VERSION: &str = "/cairn.machine.v1.MachineService/GetVersion";
pub const WATCH: &str = "/cairn.resource.v1.ResourceService/Watch";

/// What machined renders, in a directory of its own.
pub struct Files {
    directory: TempDir,
    pub ca: Ca,
    key: Key,
}

impl Files {
    pub fn new() -> Self {
        log::install();
        let directory = tempfile::tempdir().unwrap();
        Self { directory, ca: new_ca(), key: Key::generate().unwrap() }
    }

    pub fn apid(&self) -> PathBuf {
        self.directory.path().join("apid")
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("api.sock")
    }

    pub fn write_all(&self) {
        fs::create_dir(self.apid()).unwrap();
        self.write_identity(FLOOR_S);
        self.write_rest();
    }

    /// All but the identity.
    pub fn write_rest(&self) {
        self.write_cas(self.ca.bundle());
        self.write_certificate(&self.ca);
        self.write_revoked(&Revocations::default());
        self.write("addresses", "");
        self.write("server.key", &self.key.to_pem());
    }

    pub fn write_identity(&self, floor_s: u64) {
        self.write("identity.json", &format!(r#"{{"node_id":"{NODE}","time_floor_s":{floor_s}}}"#));
    }

    /// A node without configuration; clients need a certificate of the medium's CA, if it has one.
    pub fn write_maintenance(&self, medium: Option<&Bundle>) {
        self.write("ca.crt", &medium.map(Bundle::to_pem).unwrap_or_default());
        let facts = format!(r#"{{"mode":"maintenance","node_id":"{NODE}","time_floor_s":{FLOOR_S}}}"#);
        self.write("identity.json", &facts);
    }

    pub fn write_cas(&self, bundle: &Bundle) {
        self.write("ca.crt", &bundle.to_pem());
    }

    pub fn write_revoked(&self, revoked: &Revocations) {
        self.write("revoked", &revoked.to_string());
    }

    /// A serving certificate by `ca`; returns its DER.
    pub fn write_certificate(&self, ca: &Ca) -> Vec<u8> {
        let id = NodeId::parse(NODE).unwrap();
        let request = pki::node::signing_request(&self.key, &id).unwrap();
        let request = SigningRequest::from_der(&request).unwrap();
        let certificate = ca.issue_server(&request, &id, Validity::UNLIMITED).unwrap();
        self.write("server.crt", &certificate.to_pem());
        certificate.der().to_vec()
    }

    /// As machined does: a reader sees the old file or the new one.
    pub fn write(&self, name: &str, text: &str) {
        let staged = self.apid().join(format!(".{name}"));
        fs::write(&staged, text).unwrap();
        fs::rename(&staged, self.apid().join(name)).unwrap();
    }

    pub fn options(&self) -> Options {
        Options {
            directory: self.apid(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            upstream: self.socket(),
            confinement: Confinement::Off,
            supervisor: Supervisor::none(),
        }
    }
}

pub fn new_ca() -> Ca {
    Ca::create(&SubjectName::parse("test CA").unwrap(), Validity::UNLIMITED).unwrap()
}

/// A client certificate that is valid for a day from the floor on.
pub fn credentials(ca: &Ca, name: &str, role: Role) -> Credentials {
    credentials_for(ca, name, role, Validity::starting(FLOOR_S, DAY_S))
}

pub fn credentials_for(ca: &Ca, name: &str, role: Role, validity: Validity) -> Credentials {
    ca.issue_client(&SubjectName::parse(name).unwrap(), role, validity).unwrap()
}

/// apid on this runtime.
pub struct Rig {
    pub files: Files,
    pub machined: Machined,
    pub address: SocketAddr,
}

impl Rig {
    pub async fn start() -> Self {
        Self::start_at(FLOOR_S).await
    }

    /// With another floor under the node's clock.
    pub async fn start_at(floor_s: u64) -> Self {
        Self::start_with(|files| files.write_identity(floor_s)).await
    }

    /// With other files.
    pub async fn start_with(change: impl FnOnce(&Files)) -> Self {
        let files = Files::new();
        files.write_all();
        change(&files);
        let machined = Machined::start(&files.socket());
        let server = Server::start(files.options()).await.unwrap();
        let address = server.addresses()[0];
        tokio::spawn(server.serve());
        Self { files, machined, address }
    }

    pub fn credentials(&self, name: &str, role: Role) -> Credentials {
        credentials(&self.files.ca, name, role)
    }

    pub async fn channel(&self, credentials: &Credentials) -> Channel {
        channel(self.address, &self.files.ca, credentials).await.unwrap()
    }

    pub async fn client(&self, name: &str, role: Role) -> Channel {
        self.channel(&self.credentials(name, role)).await
    }
}

/// TLS of a client that trusts nodes of `ca`.
pub fn tls(
    ca: &Ca,
    credentials: Option<&Credentials>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.certificate().der().to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_webpki_verifier(verifier);
    let mut config = match credentials {
        None => builder.with_no_client_auth(),
        Some(Credentials { certificate, key }) => {
            let chain = vec![CertificateDer::from(certificate.der().to_vec())];
            let key = PrivateKeyDer::from_pem_slice(key.to_pem().as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

pub async fn connect(address: SocketAddr, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    // Nagle's algorithm waits by the real clock, which tests may leave far behind.
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(NodeId::parse(NODE).unwrap().dns_name()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// What the server says to who should not get in. In TLS 1.3 the client's own handshake is over by then.
pub async fn refusal(address: SocketAddr, config: ClientConfig) -> String {
    let mut stream = match connect(address, config).await {
        Ok(stream) => stream,
        Err(error) => return error.to_string(),
    };
    match stream.read_to_end(&mut Vec::new()).await {
        Ok(length) => format!("closed after {length} bytes"),
        Err(error) => error.to_string(),
    }
}

pub async fn channel(
    address: SocketAddr,
    ca: &Ca,
    credentials: &Credentials,
) -> Result<Channel, tonic::transport::Error> {
    channel_of(address, tls(ca, Some(credentials), &[&TLS13])).await
}

/// A channel over one connection with this TLS.
pub async fn channel_of(
    address: SocketAddr,
    config: ClientConfig,
) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_| {
        let config = config.clone();
        async move { connect(address, config).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://node").connect_with_connector(connector).await
}

/// Calls any unary method with an empty message.
pub async fn unary(channel: &Channel, path: &'static str) -> Result<(), Status> {
    unary_with(channel, path, tonic::Request::new(())).await
}

pub async fn unary_with(
    channel: &Channel,
    path: &'static str,
    request: tonic::Request<()>,
) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    grpc.unary(request, PathAndQuery::from_static(path), codec).await.map(|_| ())
}

/// Calls until machined is back: a call that meets its dying connection may have been heard, so apid does not
/// repeat it but says that it is unavailable.
pub async fn until_available(channel: &Channel) {
    while let Err(status) = unary(channel, GET_VERSION).await {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
}

/// Opens any stream with an empty message.
pub async fn stream(channel: &Channel, path: &'static str) -> Result<tonic::Streaming<()>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let response =
        grpc.server_streaming(tonic::Request::new(()), PathAndQuery::from_static(path), codec).await?;
    Ok(response.into_inner())
}

/// Waits for `future` while time flies. tokio's paused clock jumps to the next timer even while bytes wait to be
/// read, so that peers miss each other's keep-alives: here they get to answer within each second.
pub async fn fast_forward<T>(future: impl Future<Output = T>) -> T {
    const POLLS_PER_S: usize = 64;
    tokio::time::pause();
    let mut future = std::pin::pin!(future);
    let result = 'passed: loop {
        for _ in 0..POLLS_PER_S {
            tokio::select! {
                biased;
                result = future.as_mut() => break 'passed result,
                () = tokio::task::yield_now() => {}
            }
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    };
    tokio::time::resume();
    result
}

pub fn code(result: &Result<(), Status>) -> Code {
    result.as_ref().map_or_else(Status::code, |()| Code::Ok)
}

//! The network side of a fake node: a TLS listener whose certificate can be replaced while it runs.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;

use pki::{Bundle, Ca, Certificate, Key, NodeId, Role};
use proto::cluster::v1::cluster_service_server::ClusterServiceServer;
use proto::config::v1::config_service_server::ConfigServiceServer;
use proto::identity::v1::identity_service_server::IdentityServiceServer;
use proto::inspect::v1::inspect_service_server::InspectServiceServer;
use proto::log::v1::log_service_server::LogServiceServer;
use proto::machine::v1::machine_service_server::MachineServiceServer;
use proto::maintenance::v1::maintenance_service_server::MaintenanceServiceServer;
use proto::resource::v1::resource_service_server::ResourceServiceServer;
use proto::service::v1::service_service_server::ServiceServiceServer;
use proto::update::v1::update_service_server::UpdateServiceServer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::services::{Services, State};

/// A node that lives as long as the test process.
pub struct FakeNode {
    pub address: SocketAddr,
    pub state: Arc<Mutex<State>>,
}

impl FakeNode {
    /// A node that trusts `ca` and is not adopted.
    pub fn start(ca: &Ca, node_id: &str) -> FakeNode {
        let key = Key::generate().unwrap();
        let node_id = NodeId::parse(node_id).unwrap();
        let certificate = pki::node::self_signed(&key, &node_id).unwrap();
        let state = Arc::new(Mutex::new(State::new(node_id, key, certificate, ca.bundle().clone())));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { serve(TcpListener::from_std(listener).unwrap(), shared).await });
        });
        FakeNode { address, state }
    }

    /// The fingerprint that its console would show.
    pub fn fingerprint(&self) -> String {
        self.state.lock().unwrap().key.fingerprint()
    }

    /// Gives it another serving certificate.
    pub fn serve_with(&self, certificate: Certificate) {
        self.state.lock().unwrap().certificate = certificate;
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(accept(listener, Arc::clone(&state), sender));
    let services = Services { state };
    Server::builder()
        .add_service(ClusterServiceServer::new(services.clone()))
        .add_service(ConfigServiceServer::new(services.clone()))
        .add_service(IdentityServiceServer::new(services.clone()))
        .add_service(InspectServiceServer::new(services.clone()))
        .add_service(LogServiceServer::new(services.clone()))
        .add_service(MachineServiceServer::new(services.clone()))
        .add_service(MaintenanceServiceServer::new(services.clone()))
        .add_service(ResourceServiceServer::new(services.clone()))
        .add_service(ServiceServiceServer::new(services.clone()))
        .add_service(UpdateServiceServer::new(services))
        .serve_with_incoming(ReceiverStream::new(receiver))
        .await
        .unwrap();
}

async fn accept(
    listener: TcpListener,
    state: Arc<Mutex<State>>,
    sender: mpsc::Sender<io::Result<Connection>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, cas, strangers) = {
            let state = state.lock().unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(server_config(&state)));
            (acceptor, state.trusted().clone(), state.takes_strangers())
        };
        let sender = sender.clone();
        tokio::spawn(async move {
            // A refused handshake is what some tests are about.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let role = if strangers {
                None
            } else {
                let peer = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
                let Ok(identity) = pki::judge(&peer, &cas, &pki::Revocations::default(), 0) else { return };
                Some(identity.role)
            };
            let _ = sender.send(Ok(Connection { stream, role })).await;
        });
    }
}

fn server_config(state: &State) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = match state.takes_strangers() {
        true => WebPkiClientVerifier::no_client_auth(),
        false => WebPkiClientVerifier::builder_with_provider(roots(state.trusted()), Arc::clone(&provider))
            .build()
            .unwrap(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from(state.certificate.der().to_vec())],
            PrivateKeyDer::from_pem_slice(state.key.to_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn roots(cas: &Bundle) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for ca in cas.certificates() {
        roots.add(CertificateDer::from(ca.der().to_vec())).unwrap();
    }
    Arc::new(roots)
}

/// A connection that knows its client's role, unless anybody may come.
struct Connection {
    stream: TlsStream<TcpStream>,
    role: Option<Role>,
}

impl Connected for Connection {
    type ConnectInfo = Option<Role>;

    fn connect_info(&self) -> Option<Role> {
        self.role
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

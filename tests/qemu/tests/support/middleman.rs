//! A man in the middle: ends TLS with a certificate of his own, passes everything on, and notes what he hears.

use std::{
    io,
    sync::{Arc, Mutex},
};

use pki::{Key, NodeId, node::self_signed};
use rustls::{
    ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, split},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Sits at a port of loopback until it is dropped.
pub struct Middleman {
    pub endpoint: String,
    heard: Arc<Mutex<Vec<u8>>>,
    _runtime: Runtime,
}

impl Middleman {
    /// In front of the node at a port of loopback.
    pub fn before(port: u16) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_io().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        runtime.spawn(sit(listener, port, Arc::clone(&heard)));
        Self { endpoint, heard, _runtime: runtime }
    }

    /// What clients said to him since the last time, decrypted.
    pub fn heard(&self) -> Vec<u8> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

async fn sit(listener: TcpListener, port: u16, heard: Arc<Mutex<Vec<u8>>>) {
    let (acceptor, connector) = (TlsAcceptor::from(server()), TlsConnector::from(client()));
    while let Ok((client, _)) = listener.accept().await {
        let (acceptor, connector, heard) = (acceptor.clone(), connector.clone(), Arc::clone(&heard));
        // Each ends as its client or the node wants.
        tokio::spawn(async move { pass_on(client, port, acceptor, connector, &heard).await.ok() });
    }
}

async fn pass_on(
    client: TcpStream,
    port: u16,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    heard: &Mutex<Vec<u8>>,
) -> io::Result<()> {
    let client = acceptor.accept(client).await?;
    let name = ServerName::try_from("node").unwrap();
    let node = connector.connect(name, TcpStream::connect(("127.0.0.1", port)).await?).await?;
    let ((mut from_client, mut to_client), (mut from_node, mut to_node)) = (split(client), split(node));
    let forth = async {
        let mut part = [0; 16 * 1024];
        loop {
            let length = from_client.read(&mut part).await?;
            heard.lock().unwrap().extend(&part[..length]);
            if length == 0 {
                return Ok(());
            }
            to_node.write_all(&part[..length]).await?;
            to_node.flush().await?;
        }
    };
    tokio::select! {
        ended = forth => ended,
        ended = copy(&mut from_node, &mut to_client) => ended.map(drop),
    }
}

fn server() -> Arc<ServerConfig> {
    let key = Key::generate().unwrap();
    let certificate = self_signed(&key, &NodeId::parse("middle").unwrap()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.to_pem().as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn client() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).unwrap();
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

/// He takes whatever node there is.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

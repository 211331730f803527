//! Whether apid serves the API: it takes a connection and proves that it holds the node's key.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    version::TLS13,
};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use crate::context::Context;

/// Between attempts.
const AGAIN: Duration = Duration::from_secs(1);
/// For one: apid is on this machine.
const WITHIN: Duration = Duration::from_secs(10);

/// Where apid should serve, and with what.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its address.
    pub address: SocketAddr,
    /// The node's certificate, in PEM.
    pub certificate: PathBuf,
}

impl Served {
    /// As machined has told apid.
    pub fn on_this_node(context: &Context) -> Self {
        let addresses = context.identity.addresses(&context.config.borrow());
        let address = addresses.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
        Self { address: (address, layout::API_PORT).into(), certificate: layout::path::APID_CERT.into() }
    }

    /// Waits until it does.
    pub async fn wait(&self) {
        loop {
            let failure = match timeout(WITHIN, self.shake()).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            tracing::debug!(%failure, "the API is not served yet");
            sleep(AGAIN).await;
        }
    }

    /// A handshake as any client makes it. Whether one is let in is told after it, and does not matter here.
    async fn shake(&self) -> io::Result<()> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            TheNodesOwn { expected: certificate(&self.certificate)?, provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::from(self.address.ip());
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map(drop)
    }
}

fn certificate(path: &Path) -> io::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(&fs::read(path)?).map_err(io::Error::other)
}

/// Takes one certificate and no other.
#[derive(Debug)]
struct TheNodesOwn {
    expected: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for TheNodesOwn {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        if *end_entity == self.expected {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

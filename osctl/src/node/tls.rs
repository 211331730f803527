//! Who is believed to be the node: the certificate's chain and node id, or before adoption its fingerprint. The
//! address never counts.

use std::sync::{Arc, OnceLock};

use pairing::Fingerprint;
use pki::node::ServerRefusal;
use pki::{Bundle, Certificate, NodeId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, PeerIncompatible, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::Client;

/// How the node proves that it is the right one.
#[derive(Clone, Debug)]
pub enum Trust {
    /// A certificate of these CAs for this node.
    Chain {
        /// CAs of the fleet.
        cas: Bundle,
        /// The node.
        node_id: NodeId,
    },
    /// Any certificate for the key with this fingerprint.
    Fingerprint(Fingerprint),
    /// Any key at all. Only for a node in maintenance, which has to prove that it knows the pairing code.
    Anyone,
}

/// Why the other side is not believed to be the node.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Chain, use or name.
    #[error(transparent)]
    Certificate(ServerRefusal),
    /// Another key.
    #[error("its key has the fingerprint {seen}")]
    Fingerprint {
        /// Fingerprint of the key that was presented.
        seen: String,
    },
    /// Its certificate does not parse.
    #[error("its certificate is malformed")]
    Malformed,
}

/// Checks a node's certificate during the handshake.
#[derive(Debug)]
pub struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    certificate: OnceLock<Certificate>,
}

impl Verifier {
    /// The certificate that was accepted, if it counted and not the fingerprint alone. It is for the caller to look
    /// at its dates: an expired one is no reason to leave a node alone.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.presented().filter(|_| matches!(self.trust, Trust::Chain { .. }))
    }

    /// The certificate that was presented and accepted, whatever for.
    pub fn presented(&self) -> Option<&Certificate> {
        self.certificate.get()
    }

    fn judge(&self, der: &[u8]) -> Result<Certificate, Distrust> {
        let certificate = Certificate::from_der(der).map_err(|_| Distrust::Malformed)?;
        match &self.trust {
            Trust::Chain { cas, node_id } => {
                pki::check_server(der, cas, node_id).map_err(Distrust::Certificate)?;
            }
            Trust::Fingerprint(expected) => match certificate.fingerprint() {
                seen if expected.fits(&seen) => {}
                seen => return Err(Distrust::Fingerprint { seen }),
            },
            Trust::Anyone => {}
        }
        Ok(certificate)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = self
            .judge(end_entity)
            .map_err(|distrust| CertificateError::Other(OtherError(Arc::new(distrust))))?;
        // Only set once: a connection has one handshake.
        let _ = self.certificate.set(certificate);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The TLS configuration of one connection: TLS 1.3 with the client's certificate, nothing else.
pub fn configure(trust: Trust, client: &Client) -> Result<(Arc<ClientConfig>, Arc<Verifier>), rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        Arc::new(Verifier { trust, provider: Arc::clone(&provider), certificate: OnceLock::new() });
    let key = PrivateKeyDer::from_pem_slice(client.key.as_str().as_bytes())
        .map_err(|error| rustls::Error::General(format!("the client key is unreadable: {error}")))?;
    let chain = vec![CertificateDer::from(client.certificate.der().to_vec())];
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // The node id is nobody's business on the wire, and a node has one certificate.
    config.enable_sni = false;
    Ok((Arc::new(config), verifier))
}

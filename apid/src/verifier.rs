//! The TLS side of [`pki::judge`].

use pki::{Bundle, Refusal, Revocations};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme,
};

use crate::clock::Clock;

/// Lets in who [`pki::judge`] lets in. The time that rustls offers comes from the wall clock and is ignored.
#[derive(Debug)]
pub struct Verifier {
    cas: Bundle,
    revoked: Revocations,
    clock: Clock,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Judges by `cas`, `revoked` and `clock`, and checks signatures with `algorithms`.
    #[must_use]
    pub fn new(
        cas: Bundle,
        revoked: Revocations,
        clock: Clock,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { cas, revoked, clock, algorithms }
    }
}

impl ClientCertVerifier for Verifier {
    /// Empty: who does not know the CA need not learn its name.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match pki::judge(end_entity, &self.cas, &self.revoked, self.clock.now_s()) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => Err(alert(&refusal).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The error whose TLS alert tells the client most.
fn alert(refusal: &Refusal) -> CertificateError {
    match refusal {
        Refusal::Malformed => CertificateError::BadEncoding,
        Refusal::UnknownIssuer => CertificateError::UnknownIssuer,
        Refusal::Revoked => CertificateError::Revoked,
        Refusal::Expired { .. } | Refusal::NeverValid => CertificateError::Expired,
        Refusal::NotForClients => CertificateError::InvalidPurpose,
        Refusal::Subject | Refusal::Role => CertificateError::ApplicationVerificationFailure,
    }
}

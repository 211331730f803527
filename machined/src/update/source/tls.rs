//! TLS to a server of releases. It keeps what is fetched private; what is fetched is proven by its own signatures.
//!
//! Certificates are judged at the node's clock floor, or at the start of their validity when that is later: a clock
//! that is behind shuts no server out.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore,
    SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

/// The image's CAs (Debian's ca-certificates).
const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Certificates of a chain, each of which may begin later than the one before.
const CHAIN_MAX: usize = 8;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The image's CAs.
    #[error("cannot read {CA_BUNDLE}")]
    Bundle(#[source] io::Error),
    /// No CA is of any use.
    #[error("there is no CA to judge servers by")]
    Verifier(#[source] VerifierBuilderError),
    /// The library does not take its own versions.
    #[error("there is no TLS")]
    Versions(#[source] RustlsError),
}

/// TLS that trusts the image's CAs and these, at this time in seconds since 1970.
pub fn client(trusted: &[String], now_s: u64) -> Result<ClientConfig, TlsError> {
    let bundle = fs::read(Path::new(CA_BUNDLE)).map_err(TlsError::Bundle)?;
    let mut roots = RootCertStore::empty();
    for pem in std::iter::once(bundle.as_slice()).chain(trusted.iter().map(String::as_bytes)) {
        // What cannot be read is not trusted; a broken one among the configured was refused with the configuration.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    }
    with(roots, now_s)
}

fn with(roots: RootCertStore, now_s: u64) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = AtFloor::new(roots, now_s, &provider)?;
    let builder = builder(provider)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Versions)
}

/// Judges as webpki does, but at a time of its own.
#[derive(Debug)]
struct AtFloor {
    inner: Arc<WebPkiServerVerifier>,
    floor: UnixTime,
}

impl AtFloor {
    fn new(roots: RootCertStore, floor_s: u64, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let inner = inner.build().map_err(TlsError::Verifier)?;
        Ok(Self { inner, floor: UnixTime::since_unix_epoch(Duration::from_secs(floor_s)) })
    }
}

impl ServerCertVerifier for AtFloor {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        let judge =
            |now| self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let mut verdict = judge(self.floor);
        for _ in 0..CHAIN_MAX {
            let Err(RustlsError::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before, ..
            })) = verdict
            else {
                break;
            };
            verdict = judge(not_before);
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    /// A chain that is valid in the years 2027 and 2028, the server's certificate in 2028 only.
    struct Chain {
        ca: CertificateDer<'static>,
        server: CertificateDer<'static>,
    }

    impl Chain {
        fn new() -> Self {
            let mut ca = CertificateParams::default();
            ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (ca.not_before, ca.not_after) = (date_time_ymd(2027, 1, 1), date_time_ymd(2029, 1, 1));
            let key = KeyPair::generate().unwrap();
            let certificate = ca.self_signed(&key).unwrap();
            let issuer = Issuer::new(ca, key);
            let mut server = CertificateParams::new(vec!["mirror.example".to_owned()]).unwrap();
            (server.not_before, server.not_after) = (date_time_ymd(2028, 1, 1), date_time_ymd(2029, 1, 1));
            let server = server.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
            Self { ca: certificate.der().clone(), server: server.der().clone() }
        }

        fn judge(
            &self,
            roots: &Self,
            name: &'static str,
            year: i32,
        ) -> Result<ServerCertVerified, RustlsError> {
            let mut store = RootCertStore::empty();
            store.add(roots.ca.clone()).unwrap();
            let floor_s = date_time_ymd(year, 6, 1).unix_timestamp().try_into().unwrap();
            let verifier = AtFloor::new(store, floor_s, &Arc::new(aws_lc_rs::default_provider())).unwrap();
            let name = ServerName::try_from(name).unwrap();
            verifier.verify_server_cert(
                &self.server,
                &[],
                &name,
                &[],
                UnixTime::since_unix_epoch(Duration::ZERO),
            )
        }
    }

    #[test]
    fn a_clock_that_is_behind_shuts_no_server_out() {
        let chain = Chain::new();
        for year in [1970, 2026, 2027, 2028] {
            chain.judge(&chain, "mirror.example", year).unwrap();
        }
        assert!(chain.judge(&chain, "mirror.example", 2029).is_err(), "it has expired");
    }

    #[test]
    fn neither_other_names_nor_other_cas_pass() {
        let (chain, other) = (Chain::new(), Chain::new());
        assert!(chain.judge(&chain, "other.example", 2028).is_err());
        assert!(chain.judge(&other, "mirror.example", 2026).is_err());
    }
}

//! Certificates and bundles of trusted CAs.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;

use crate::key::fingerprint_of;
use crate::{CertificateHash, Validity, pem};

/// Most CAs in a bundle: each costs a signature check per refused handshake.
pub const CAS_MAX: usize = 16;

/// How the subjectPublicKeyInfo of an uncompressed P-256 key begins (RFC 5480 section 2).
const P256_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The text holds no `CERTIFICATE` block, or a damaged one.
    #[error("no certificate in PEM form")]
    Pem {
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// Not one X.509 certificate in DER, or more than that.
    #[error("not an X.509 certificate in DER")]
    Der,
}

/// One certificate, known to parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    public_key_der: Vec<u8>,
    validity: Validity,
}

impl Certificate {
    /// Takes one certificate in DER.
    ///
    /// # Errors
    /// [`CertificateError::Der`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let parsed = parse(der)?;
        Ok(Self {
            der: der.to_vec(),
            public_key_der: parsed.public_key().raw.to_vec(),
            validity: Validity::of(parsed.validity()),
        })
    }

    /// Reads the first `CERTIFICATE` block.
    ///
    /// # Errors
    /// [`CertificateError::Pem`], [`CertificateError::Der`].
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(text.as_bytes())
            .map_err(|source| CertificateError::Pem { source })?;
        Self::from_der(&der)
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate as a `CERTIFICATE` block.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der).to_string()
    }

    /// The subjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }

    /// SHA-256 of the subjectPublicKeyInfo in lower-case hex, as the console prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint_of(&self.public_key_der)
    }

    /// SHA-256 of the whole certificate, by which it is revoked.
    #[must_use]
    pub fn hash(&self) -> CertificateHash {
        CertificateHash::of(&self.der)
    }

    /// When it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

/// Why a text is no bundle of CAs.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A block of the text is damaged.
    #[error("certificate {number} of the CA bundle is unreadable")]
    Certificate {
        /// Counted from 1.
        number: usize,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// A certificate may not sign others.
    #[error("certificate {number} of the CA bundle is not a CA's")]
    NotCa {
        /// Counted from 1.
        number: usize,
    },
    /// A CA whose signatures nobody here takes.
    #[error("certificate {number} of the CA bundle has no ECDSA P-256 key")]
    KeyType {
        /// Counted from 1.
        number: usize,
    },
    /// No certificate at all.
    #[error("the CA bundle is empty")]
    Empty,
    /// More than [`CAS_MAX`].
    #[error("the CA bundle holds more than {CAS_MAX} certificates")]
    TooMany,
}

/// The CAs that are trusted. They are trust anchors: that they are configured is what counts, their own
/// validity is not judged, so that a wrong clock cannot lock everybody out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    certificates: Vec<Certificate>,
}

impl Bundle {
    /// Takes 1 to [`CAS_MAX`] CA certificates.
    ///
    /// # Errors
    /// [`BundleError`], except [`BundleError::Certificate`].
    pub fn new(certificates: Vec<Certificate>) -> Result<Self, BundleError> {
        if certificates.is_empty() {
            return Err(BundleError::Empty);
        }
        if certificates.len() > CAS_MAX {
            return Err(BundleError::TooMany);
        }
        for (certificate, number) in certificates.iter().zip(1..) {
            if !is_signing_ca(&certificate.der) {
                return Err(BundleError::NotCa { number });
            }
            if !certificate.public_key_der.starts_with(&P256_PREFIX) {
                return Err(BundleError::KeyType { number });
            }
        }
        Ok(Self { certificates })
    }

    /// Reads all `CERTIFICATE` blocks.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn from_pem(text: &str) -> Result<Self, BundleError> {
        let mut certificates = Vec::new();
        for (index, der) in CertificateDer::pem_slice_iter(text.as_bytes()).enumerate() {
            if index == CAS_MAX {
                return Err(BundleError::TooMany);
            }
            let certificate = der
                .map_err(|source| CertificateError::Pem { source })
                .and_then(|der| Certificate::from_der(&der))
                .map_err(|source| BundleError::Certificate { number: index + 1, source })?;
            certificates.push(certificate);
        }
        Self::new(certificates)
    }

    /// All certificates as PEM, in order.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.certificates.iter().map(Certificate::to_pem).collect()
    }

    /// The certificates in order.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether one of the CAs signed `certificate` itself: there are no intermediates.
    pub(crate) fn signed(&self, certificate: &X509Certificate<'_>) -> bool {
        self.certificates.iter().filter_map(|ca| parse(&ca.der).ok()).any(|ca| {
            ca.subject().as_raw() == certificate.issuer().as_raw()
                && certificate.verify_signature(Some(ca.public_key())).is_ok()
        })
    }
}

/// Exactly one certificate, nothing after it, and no second way to write the part that no signature covers
/// (RFC 5280 section 4.1.1.2: both algorithm fields are the same).
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate))
            if certificate.signature_algorithm == certificate.tbs_certificate.signature
                && certificate.signature_value.unused_bits == 0 =>
        {
            Ok(certificate)
        }
        Ok(_) | Err(_) => Err(CertificateError::Der),
    }
}

/// Whether a critical extension (RFC 5280 section 4.2) is one that this crate does not judge.
pub(crate) fn has_unknown_critical_extension(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().any(|extension| {
        extension.critical
            && !matches!(
                extension.parsed_extension(),
                ParsedExtension::BasicConstraints(_)
                    | ParsedExtension::KeyUsage(_)
                    | ParsedExtension::ExtendedKeyUsage(_)
                    | ParsedExtension::SubjectAlternativeName(_)
            )
    })
}

fn is_signing_ca(der: &[u8]) -> bool {
    let Ok(certificate) = parse(der) else { return false };
    let signs = match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    certificate.is_ca() && signs && !has_unknown_critical_extension(&certificate)
}

//! Certificate authorities and what they issue.

use std::net::IpAddr;

use aws_lc_rs::rand;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;

use crate::{
    Bundle, BundleError, Certificate, CertificateError, Key, KeyError, NodeId, Role, SigningRequest,
    SubjectName, Validity,
};

/// RFC 5280 allows 20 bytes; 16 random ones never meet.
const SERIAL_BYTES: usize = 16;

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A name is not ASCII.
    #[error("a name is not fit for a certificate")]
    Name {
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The end lies after the year 9999.
    #[error("the validity ends after the year 9999")]
    Validity,
    /// The public key is not ECDSA P-256.
    #[error("the public key is not an ECDSA P-256 key")]
    PublicKey,
    /// No new key for a client.
    #[error("cannot make the client's key")]
    Key {
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The random generator failed.
    #[error("no random serial number")]
    Serial,
    /// The library failed to encode or to sign.
    #[error("cannot encode and sign the certificate")]
    Encode {
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// What was just signed does not parse.
    #[error("cannot read back the issued certificate")]
    Read {
        /// Why.
        #[source]
        source: CertificateError,
    },
}

/// Why there is no CA.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The key is missing or damaged.
    #[error("cannot read the CA's key")]
    Key {
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The certificate is missing or damaged.
    #[error("cannot read the CA's certificate")]
    Certificate {
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// The certificate is a leaf.
    #[error("the CA's certificate cannot sign")]
    NotCa {
        /// Why.
        #[source]
        source: BundleError,
    },
    /// They do not belong together.
    #[error("the CA's key and certificate do not belong together")]
    Mismatch,
}

/// What a leaf certificate is for: its only extended key usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// serverAuth.
    Server,
    /// clientAuth.
    Client,
}

/// Everything that goes into a leaf certificate but its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Subject: common name.
    pub common_name: String,
    /// Subject: organisation; a client's role or Kubernetes group.
    pub organisation: Option<String>,
    /// Alternative names.
    pub dns_names: Vec<String>,
    /// Alternative addresses.
    pub addresses: Vec<IpAddr>,
    /// What it is for.
    pub usage: Usage,
    /// When it is valid.
    pub validity: Validity,
}

impl Template {
    /// A node's serving certificate.
    pub(crate) fn server(node_id: &NodeId, validity: Validity) -> Self {
        Self {
            common_name: node_id.as_str().to_owned(),
            organisation: None,
            dns_names: vec![node_id.dns_name()],
            addresses: Vec::new(),
            usage: Usage::Server,
            validity,
        }
    }

    pub(crate) fn to_params(&self) -> Result<CertificateParams, IssueError> {
        let mut params = base_params(&self.common_name, self.validity)?;
        if let Some(organisation) = &self.organisation {
            params.distinguished_name.push(DnType::OrganizationName, organisation.as_str());
        }
        for name in &self.dns_names {
            let name = name.as_str().try_into().map_err(|source| IssueError::Name { source })?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.subject_alt_names.extend(self.addresses.iter().copied().map(SanType::IpAddress));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match self.usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        Ok(params)
    }
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Credentials {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: Key,
}

/// A certificate authority: it signs leaves directly and never another CA.
#[derive(Debug)]
pub struct Ca {
    key: Key,
    bundle: Bundle,
    certificate: Certificate,
}

impl Ca {
    /// Makes a new key and a self-signed CA certificate for it.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn create(common_name: &SubjectName, validity: Validity) -> Result<Self, IssueError> {
        let key = Key::generate().map_err(|source| IssueError::Key { source })?;
        let mut params = base_params(common_name.as_str(), validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let signed = params.self_signed(key.pair()).map_err(|source| IssueError::Encode { source })?;
        let certificate =
            Certificate::from_der(signed.der()).map_err(|source| IssueError::Read { source })?;
        // Only a defect of the encoder could make this certificate no CA's.
        let bundle = Bundle::new(vec![certificate.clone()])
            .map_err(|_| IssueError::Read { source: CertificateError::Der })?;
        Ok(Self { key, bundle, certificate })
    }

    /// Takes a CA from its certificate and key, both PEM.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, CaError> {
        let key = Key::from_pem(key).map_err(|source| CaError::Key { source })?;
        let certificate =
            Certificate::from_pem(certificate).map_err(|source| CaError::Certificate { source })?;
        if certificate.public_key_der() != key.public_key_der() {
            return Err(CaError::Mismatch);
        }
        let bundle = Bundle::new(vec![certificate.clone()]).map_err(|source| CaError::NotCa { source })?;
        Ok(Self { key, bundle, certificate })
    }

    /// The CA's certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The CA's key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// A bundle that trusts this CA alone.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Makes a key and a certificate for a client of the node API.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue_client(
        &self,
        subject: &SubjectName,
        role: Role,
        validity: Validity,
    ) -> Result<Credentials, IssueError> {
        self.issue_with_new_key(&Template {
            common_name: subject.as_str().to_owned(),
            organisation: Some(role.organisation().to_owned()),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            usage: Usage::Client,
            validity,
        })
    }

    /// Issues a node's serving certificate: serverAuth only, named after the node id, with the key of the
    /// request and nothing else from it.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue_server(
        &self,
        request: &SigningRequest,
        node_id: &NodeId,
        validity: Validity,
    ) -> Result<Certificate, IssueError> {
        self.issue(&Template::server(node_id, validity), request.public_key_der())
    }

    /// Issues a certificate for a new key.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue_with_new_key(&self, template: &Template) -> Result<Credentials, IssueError> {
        let key = Key::generate().map_err(|source| IssueError::Key { source })?;
        let certificate = self.issue(template, &key.public_key_der())?;
        Ok(Credentials { certificate, key })
    }

    /// Issues a certificate for the subjectPublicKeyInfo `public_key_der`, which must be P-256.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue(&self, template: &Template, public_key_der: &[u8]) -> Result<Certificate, IssueError> {
        self.sign(template.to_params()?, public_key_der)
    }

    pub(crate) fn sign(
        &self,
        mut params: CertificateParams,
        public_key_der: &[u8],
    ) -> Result<Certificate, IssueError> {
        let public_key = SubjectPublicKeyInfo::from_der(public_key_der).map_err(|_| IssueError::PublicKey)?;
        if public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(IssueError::PublicKey);
        }
        params.use_authority_key_identifier_extension = true;
        let authority = CertificateDer::from(self.certificate.der());
        let signed = Issuer::from_ca_cert_der(&authority, self.key.pair())
            .and_then(|issuer| params.signed_by(&public_key, &issuer))
            .map_err(|source| IssueError::Encode { source })?;
        Certificate::from_der(signed.der()).map_err(|source| IssueError::Read { source })
    }
}

fn base_params(common_name: &str, validity: Validity) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    validity.to_rcgen(&mut params).ok_or(IssueError::Validity)?;
    params.serial_number = Some(random_serial()?);
    params.key_identifier_method = KeyIdMethod::Sha256;
    Ok(params)
}

fn random_serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0; SERIAL_BYTES];
    rand::fill(&mut bytes).map_err(|_| IssueError::Serial)?;
    // Positive and of full length (RFC 5280 section 4.1.2.2).
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

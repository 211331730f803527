//! A node's serving certificate: self-signed, requested, issued, checked.

use rcgen::{CertificateParams, SanType};
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::ca::{IssueError, Template};
use crate::certificate::{has_unknown_critical_extension, parse};
use crate::key::fingerprint_of;
use crate::{Bundle, Certificate, Key, NodeId, Validity};

/// The certificate that a node serves until it is adopted. It is valid from 1970 to 9999: only its
/// fingerprint authenticates it.
///
/// # Errors
/// [`IssueError`].
pub fn self_signed(key: &Key, node_id: &NodeId) -> Result<Certificate, IssueError> {
    let params = Template::server(node_id, Validity::UNLIMITED).to_params()?;
    let signed = params.self_signed(key.pair()).map_err(|source| IssueError::Encode { source })?;
    Certificate::from_der(signed.der()).map_err(|source| IssueError::Read { source })
}

/// The node's signing request: PKCS #10 in DER (RFC 2986). Its signature proves possession of the key; the
/// name in it is for people, [`crate::Ca::issue_server`] copies nothing but the key.
///
/// # Errors
/// [`IssueError::Encode`], [`IssueError::Name`].
pub fn signing_request(key: &Key, node_id: &NodeId) -> Result<Vec<u8>, IssueError> {
    let name = node_id.dns_name();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name.as_str());
    let san = name.try_into().map_err(|source| IssueError::Name { source })?;
    params.subject_alt_names.push(SanType::DnsName(san));
    let request = params.serialize_request(key.pair()).map_err(|source| IssueError::Encode { source })?;
    Ok(request.der().to_vec())
}

/// Why a signing request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not one PKCS #10 request in DER.
    #[error("not a PKCS #10 signing request in DER")]
    Malformed,
    /// The request is not signed with the key that it carries.
    #[error("the signing request is not signed with its own key")]
    Signature,
}

/// A signing request whose sender holds the private key. Only the public key is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningRequest {
    public_key_der: Vec<u8>,
}

impl SigningRequest {
    /// Reads a PKCS #10 request in DER and checks its signature.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(RequestError::Malformed);
        };
        request.verify_signature().map_err(|_| RequestError::Signature)?;
        Ok(Self { public_key_der: request.certification_request_info.subject_pki.raw.to_vec() })
    }

    /// The subjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }

    /// SHA-256 of the subjectPublicKeyInfo in lower-case hex; must equal the fingerprint of the connection.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint_of(&self.public_key_der)
    }
}

/// Why a certificate is not one of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerRefusal {
    /// Not one X.509 certificate in DER.
    #[error("the certificate is malformed")]
    Malformed,
    /// No CA of the bundle signed it.
    #[error("the certificate is not signed by a configured CA")]
    UnknownIssuer,
    /// It carries another public key.
    #[error("the certificate is for another key than this node's")]
    WrongKey,
    /// A CA, or for more than serverAuth, or with a critical extension that nobody here judges.
    #[error("the certificate is not for serving only")]
    NotServerOnly,
    /// Its names are not exactly the node's.
    #[error("the certificate does not name this node alone")]
    WrongName,
}

/// What a node checks before it serves with a certificate that an admin issued.
///
/// # Errors
/// [`ServerRefusal`].
pub fn check_issued(
    der: &[u8],
    public_key_der: &[u8],
    cas: &Bundle,
    node_id: &NodeId,
) -> Result<Validity, ServerRefusal> {
    let validity = check_server(der, cas, node_id)?;
    let certificate = parse(der).map_err(|_| ServerRefusal::Malformed)?;
    if certificate.public_key().raw != public_key_der {
        return Err(ServerRefusal::WrongKey);
    }
    Ok(validity)
}

/// What a client checks of the node that it talks to: chain, use and node id. The address is no part of it, and
/// the validity is returned, not judged: an expired node certificate deserves a warning only.
///
/// # Errors
/// [`ServerRefusal`], except [`ServerRefusal::WrongKey`].
pub fn check_server(der: &[u8], cas: &Bundle, node_id: &NodeId) -> Result<Validity, ServerRefusal> {
    let certificate = parse(der).map_err(|_| ServerRefusal::Malformed)?;
    if !cas.signed(&certificate) {
        return Err(ServerRefusal::UnknownIssuer);
    }
    if !is_server_only(&certificate) {
        return Err(ServerRefusal::NotServerOnly);
    }
    if !names_only(&certificate, &node_id.dns_name()) {
        return Err(ServerRefusal::WrongName);
    }
    Ok(Validity::of(certificate.validity()))
}

fn is_server_only(certificate: &X509Certificate<'_>) -> bool {
    let Ok(Some(usage)) = certificate.extended_key_usage() else { return false };
    let usage = usage.value;
    let others = usage.any
        || usage.client_auth
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    let leaf = matches!(certificate.basic_constraints(), Ok(constraints)
        if constraints.as_ref().is_none_or(|constraints| !constraints.value.ca));
    usage.server_auth && !others && leaf && !has_unknown_critical_extension(certificate)
}

fn names_only(certificate: &X509Certificate<'_>, dns_name: &str) -> bool {
    matches!(certificate.subject_alternative_name(), Ok(Some(names))
        if matches!(names.value.general_names.as_slice(), [GeneralName::DNSName(name)] if *name == dns_name))
}

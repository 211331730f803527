//! Who a client is, and whether it is let in.

use x509_parser::certificate::X509Certificate;
use x509_parser::x509::AttributeTypeAndValue;

use crate::certificate::{has_unknown_critical_extension, parse};
use crate::revocation::forms;
use crate::{Bundle, Revocations, Role, SubjectName, Validity};

/// A client that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The subject's common name.
    pub subject: SubjectName,
    /// From the subject's organisation.
    pub role: Role,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// When the certificate is valid.
    pub validity: Validity,
}

/// Why a client certificate is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not one X.509 certificate in DER, signed with ECDSA P-256.
    #[error("the client certificate is malformed")]
    Malformed,
    /// No CA of the bundle signed it.
    #[error("the client certificate is not signed by a CA of this node")]
    UnknownIssuer,
    /// Revoked.
    #[error("the client certificate is revoked")]
    Revoked,
    /// Expired before the floor of the node's clock.
    #[error(
        "the client certificate expired at {not_after_s} s, the node's clock is at {floor_s} s or later; issue a new one"
    )]
    Expired {
        /// Last second of the certificate.
        not_after_s: u64,
        /// The floor that it was judged at.
        floor_s: u64,
    },
    /// Its validity ends before it begins.
    #[error("the client certificate ends before it begins")]
    NeverValid,
    /// A CA, or without clientAuth, or with a critical extension that nobody here judges.
    #[error("the certificate is not meant for clients")]
    NotForClients,
    /// Not exactly one usable common name.
    #[error("the client certificate must have one common name of printable ASCII")]
    Subject,
    /// Not exactly one organisation that is a role.
    #[error("the client certificate must have one organisation: os:admin, os:operator or os:reader")]
    Role,
}

/// Decides whether a client with the leaf certificate `der` is let in, and who it is.
///
/// The certificate is judged at max(`floor_s`, notBefore): the floor is the earliest time that it can be now, so a
/// certificate that expired before it is refused for good, while a clock that lags behind locks nobody out.
///
/// # Errors
/// [`Refusal`]; the signature is checked before anything that the certificate says of itself is believed.
pub fn judge(der: &[u8], cas: &Bundle, revoked: &Revocations, floor_s: u64) -> Result<Identity, Refusal> {
    let certificate = parse(der).map_err(|_| Refusal::Malformed)?;
    let forms = forms(der, &certificate).ok_or(Refusal::Malformed)?;
    if !cas.signed(&certificate) {
        return Err(Refusal::UnknownIssuer);
    }
    if revoked.cover(&forms) {
        return Err(Refusal::Revoked);
    }
    if !is_for_clients(&certificate) {
        return Err(Refusal::NotForClients);
    }
    let validity = Validity::of(certificate.validity());
    if validity.ended_before(validity.not_before_s) {
        return Err(Refusal::NeverValid);
    }
    if validity.ended_before(floor_s) {
        return Err(Refusal::Expired { not_after_s: validity.not_after_s, floor_s });
    }
    let subject = only(certificate.subject().iter_common_name()).ok_or(Refusal::Subject)?;
    let role = only(certificate.subject().iter_organization()).ok_or(Refusal::Role)?;
    Ok(Identity {
        subject: SubjectName::parse(subject).map_err(|_| Refusal::Subject)?,
        role: Role::from_organisation(role).ok_or(Refusal::Role)?,
        serial: hex::encode(certificate.raw_serial()),
        validity,
    })
}

fn is_for_clients(certificate: &X509Certificate<'_>) -> bool {
    let extended = matches!(certificate.extended_key_usage(), Ok(Some(usage)) if usage.value.client_auth);
    let signs = match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.digital_signature(),
        Ok(None) => true,
        Err(_) => false,
    };
    // A second basicConstraints extension makes the parser's answer an error: that is no leaf either.
    let leaf = match certificate.basic_constraints() {
        Ok(constraints) => constraints.is_none_or(|constraints| !constraints.value.ca),
        Err(_) => false,
    };
    extended && signs && leaf && !has_unknown_critical_extension(certificate)
}

/// The text of the only attribute; `None` when there is none, more than one, or no text.
fn only<'a>(mut attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Option<&'a str> {
    let first = attributes.next()?;
    if attributes.next().is_some() {
        return None;
    }
    first.as_str().ok()
}

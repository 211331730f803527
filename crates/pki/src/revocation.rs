//! Client certificates that are let in no more.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;

/// Most revocations: as text they still fit a file of 300 KiB. Certificates with a short life are the better tool.
pub const REVOCATIONS_MAX: usize = 4096;
/// Bytes of a scalar of P-256.
const SCALAR_BYTES: usize = 32;
/// The order of P-256's base point (FIPS 186-4, D.1.2.3), big endian.
const ORDER: [u8; SCALAR_BYTES] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758 section 3.2).
const ECDSA_WITH_SHA256: [u8; 12] = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Why a text names no certificate, or not one more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// Not a SHA-256 in hex.
    #[error("{text:?} is not the SHA-256 of a certificate: 64 hexadecimal digits")]
    Hash {
        /// What was given.
        text: String,
    },
    /// More than [`REVOCATIONS_MAX`].
    #[error("more than {REVOCATIONS_MAX} certificates are revoked")]
    TooMany,
}

/// SHA-256 of a certificate's DER, as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateHash([u8; digest::SHA256_OUTPUT_LEN]);

impl CertificateHash {
    /// The hash of one certificate.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let mut hash = [0; digest::SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Self(hash)
    }
}

impl fmt::Display for CertificateHash {
    /// Writes 64 digits in lower case.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&hex::encode(self.0))
    }
}

impl FromStr for CertificateHash {
    type Err = RevocationError;

    /// Takes hex in any case, with or without colons.
    fn from_str(text: &str) -> Result<Self, RevocationError> {
        let mut hash = [0; digest::SHA256_OUTPUT_LEN];
        match hex::decode_to_slice(text.replace(':', ""), &mut hash) {
            Ok(()) => Ok(Self(hash)),
            Err(_) => Err(RevocationError::Hash { text: text.to_owned() }),
        }
    }
}

/// The revoked client certificates. They are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations(BTreeSet<CertificateHash>);

impl Revocations {
    /// Reads one hash per line; empty lines count for nothing.
    ///
    /// # Errors
    /// [`RevocationError`].
    pub fn parse(text: &str) -> Result<Self, RevocationError> {
        let mut revocations = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            revocations.revoke(line.parse()?)?;
        }
        Ok(revocations)
    }

    /// Adds one; says whether it is new.
    ///
    /// # Errors
    /// [`RevocationError::TooMany`].
    pub fn revoke(&mut self, hash: CertificateHash) -> Result<bool, RevocationError> {
        if self.0.len() == REVOCATIONS_MAX && !self.0.contains(&hash) {
            return Err(RevocationError::TooMany);
        }
        Ok(self.0.insert(hash))
    }

    /// Whether this hash was added.
    #[must_use]
    pub fn contains(&self, hash: &CertificateHash) -> bool {
        self.0.contains(hash)
    }

    /// All hashes in order.
    pub fn iter(&self) -> impl Iterator<Item = &CertificateHash> {
        self.0.iter()
    }

    /// Whether this very certificate is revoked, whichever of its [`forms`] is shown.
    pub(crate) fn cover(&self, forms: &[Vec<u8>; 2]) -> bool {
        !self.0.is_empty() && forms.iter().any(|der| self.0.contains(&CertificateHash::of(der)))
    }
}

impl fmt::Display for Revocations {
    /// Writes one hash per line, as [`Revocations::parse`] takes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|hash| writeln!(formatter, "{hash}"))
    }
}

/// Both ways to write a certificate so that its CA's signature holds, its own first; `None` when it is written in
/// another way than DER or signed with another algorithm than ECDSA P-256.
///
/// Whoever holds a signature (r, s) can make the signature (r, n - s) of it without the key. A revoked client that
/// shows its certificate with that signature shows other bytes, but no other certificate.
pub(crate) fn forms(der: &[u8], certificate: &X509Certificate<'_>) -> Option<[Vec<u8>; 2]> {
    let signature = certificate.signature_value.data.as_ref();
    let [SEQUENCE, length, integers @ ..] = signature else { return None };
    if usize::from(*length) != integers.len() {
        return None;
    }
    let (r, rest) = integer(integers)?;
    let (s, rest) = integer(rest)?;
    if !rest.is_empty() {
        return None;
    }
    let body: &[u8] = certificate.tbs_certificate.as_ref();
    let own = written(body, &r, &s);
    (own == der).then(|| [own, written(body, &r, &order_minus(&s))])
}

/// The first INTEGER, as a scalar, and what follows it.
fn integer(der: &[u8]) -> Option<([u8; SCALAR_BYTES], &[u8])> {
    let [INTEGER, length, rest @ ..] = der else { return None };
    let (bytes, rest) = rest.split_at_checked(usize::from(*length))?;
    let bytes = bytes.strip_prefix(&[0]).unwrap_or(bytes);
    let mut scalar = [0; SCALAR_BYTES];
    let start = SCALAR_BYTES.checked_sub(bytes.len())?;
    scalar.get_mut(start..)?.copy_from_slice(bytes);
    Some((scalar, rest))
}

/// The certificate of this body and signature, in DER.
fn written(body: &[u8], r: &[u8; SCALAR_BYTES], s: &[u8; SCALAR_BYTES]) -> Vec<u8> {
    let integers = [element(INTEGER, &unsigned(r)), element(INTEGER, &unsigned(s))].concat();
    let mut bits = vec![0];
    bits.extend(element(SEQUENCE, &integers));
    element(SEQUENCE, &[body, &ECDSA_WITH_SHA256, &element(BIT_STRING, &bits)].concat())
}

/// The shortest content of a positive INTEGER.
fn unsigned(scalar: &[u8; SCALAR_BYTES]) -> Vec<u8> {
    let mut content: Vec<u8> = scalar.iter().copied().skip_while(|byte| *byte == 0).collect();
    if content.first().is_none_or(|byte| *byte >= 0x80) {
        content.insert(0, 0);
    }
    content
}

/// Tag, length and content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length: Vec<u8> = content.len().to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    let mut der = vec![tag];
    match length.as_slice() {
        [] => der.push(0),
        [short] if *short < 0x80 => der.push(*short),
        long => {
            // At most eight bytes of length.
            der.push(0x80 | long.len() as u8);
            der.extend_from_slice(long);
        }
    }
    der.extend_from_slice(content);
    der
}

/// n - `scalar`, modulo 2^256.
fn order_minus(scalar: &[u8; SCALAR_BYTES]) -> [u8; SCALAR_BYTES] {
    let mut difference = ORDER;
    let mut borrow = false;
    for (digit, subtrahend) in difference.iter_mut().zip(scalar).rev() {
        let (without, first) = digit.overflowing_sub(*subtrahend);
        let (result, second) = without.overflowing_sub(u8::from(borrow));
        *digit = result;
        borrow = first || second;
    }
    difference
}

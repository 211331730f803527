//! Private keys.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SigningKey as _};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::pem;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The random generator or the library failed.
    #[error("cannot generate a P-256 key")]
    Generate {
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The text holds no `PRIVATE KEY` block, or a damaged one.
    #[error("no PKCS #8 private key in PEM form")]
    Pem {
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The block holds something other than a P-256 key.
    #[error("the private key is not an ECDSA P-256 key")]
    NotP256 {
        /// Why.
        #[source]
        source: rcgen::Error,
    },
}

/// An ECDSA P-256 key. Its serialised form is wiped on drop and never shown.
pub struct Key {
    pair: KeyPair,
}

impl Key {
    /// Makes a new key from AWS-LC's random generator.
    ///
    /// # Errors
    /// [`KeyError::Generate`].
    pub fn generate() -> Result<Self, KeyError> {
        let pair = KeyPair::generate().map_err(|source| KeyError::Generate { source })?;
        Ok(Self { pair })
    }

    /// Reads the first `PRIVATE KEY` block (PKCS #8, RFC 5958).
    ///
    /// # Errors
    /// [`KeyError::Pem`], [`KeyError::NotP256`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let mut der =
            PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|source| KeyError::Pem { source })?;
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256);
        der.zeroize();
        Ok(Self { pair: pair.map_err(|source| KeyError::NotP256 { source })? })
    }

    /// The key as a `PRIVATE KEY` block.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::encode("PRIVATE KEY", self.pair.serialized_der())
    }

    /// The subjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_key_der(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// SHA-256 of the subjectPublicKeyInfo in lower-case hex, as the console prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint_of(&self.public_key_der())
    }

    /// ECDSA P-256 with SHA-256, ASN.1 DER.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.pair.sign(message)
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }
}

/// SHA-256 of a subjectPublicKeyInfo in lower-case hex.
#[must_use]
pub fn fingerprint_of(public_key_der: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public_key_der))
}

impl Drop for Key {
    fn drop(&mut self) {
        self.pair.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Key").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_round_trip_keeps_the_key() {
        let key = Key::generate().unwrap();
        let read = Key::from_pem(&key.to_pem()).unwrap();
        assert_eq!(read.public_key_der(), key.public_key_der());
        assert_eq!(read.fingerprint(), key.fingerprint());
        assert_eq!(key.fingerprint().len(), 64);
    }

    #[test]
    fn other_material_is_refused() {
        assert!(matches!(Key::from_pem(""), Err(KeyError::Pem { .. })));
        let cut: String = Key::generate().unwrap().to_pem().chars().take(100).collect();
        assert!(matches!(Key::from_pem(&cut), Err(KeyError::Pem { .. })));
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert!(matches!(Key::from_pem(&p384.serialize_pem()), Err(KeyError::NotP256 { .. })));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = Key::generate().unwrap();
        let shown = format!("{key:?}");
        assert!(shown.contains(&key.fingerprint()));
        assert!(!shown.contains("PRIVATE"));
    }
}

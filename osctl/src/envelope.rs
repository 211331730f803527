//! Secret bytes under a passphrase: scrypt (RFC 7914) makes the key, AES-256-GCM seals. All parameters stand in the
//! file, so that later versions may choose harder ones.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// 128 MiB of memory: about half a second, and what a guess costs an attacker.
pub const LOG_N: u8 = 17;
/// A damaged or hostile file must not take more than 1 GiB.
const LOG_N_MAX: u8 = 20;
const R: u32 = 8;
const P: u32 = 1;
const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const KDF: &str = "scrypt";
const CIPHER: &str = "aes-256-gcm";

/// Why there is no text, or no envelope.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The random generator or the library failed.
    #[error("the encryption failed")]
    Library,
    /// Made by a later osctl, or changed.
    #[error("it is encrypted in a way that this osctl does not know")]
    Unknown,
    /// Cut off or rotten.
    #[error("its encrypted part is damaged or was cut off")]
    Damaged,
    /// The file is whole, so it is the passphrase.
    #[error("the passphrase is wrong")]
    Passphrase,
}

/// The encrypted bytes as they stand in a file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Envelope {
    kdf: String,
    log_n: u8,
    salt: String,
    cipher: String,
    nonce: String,
    /// SHA-256 of `data` before base64: tells damage from a wrong passphrase.
    sha256: String,
    data: String,
}

impl fmt::Debug for Envelope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Envelope(…)")
    }
}

impl Envelope {
    /// Encrypts `content`. `log_n` is the logarithm of scrypt's cost.
    pub fn seal(content: &[u8], passphrase: &str, log_n: u8) -> Result<Envelope, EnvelopeError> {
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_LEN]);
        rand::fill(&mut salt).and_then(|()| rand::fill(&mut nonce)).map_err(|_| EnvelopeError::Library)?;
        let key = key(passphrase, &salt, log_n)?;
        let mut data = content.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(context(log_n)),
            &mut data,
        )
        .map_err(|_| EnvelopeError::Library)?;
        Ok(Envelope {
            kdf: KDF.into(),
            log_n,
            salt: STANDARD.encode(salt),
            cipher: CIPHER.into(),
            nonce: STANDARD.encode(nonce),
            sha256: sha256(&data),
            data: STANDARD.encode(data),
        })
    }

    /// Decrypts them.
    pub fn open(&self, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        if self.kdf != KDF || self.cipher != CIPHER || !(1..=LOG_N_MAX).contains(&self.log_n) {
            return Err(EnvelopeError::Unknown);
        }
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| EnvelopeError::Damaged);
        let (salt, nonce, data) = (decode(&self.salt)?, decode(&self.nonce)?, decode(&self.data)?);
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| EnvelopeError::Damaged)?;
        if salt.len() != SALT_BYTES || sha256(&data) != self.sha256 {
            return Err(EnvelopeError::Damaged);
        }
        let mut data = Zeroizing::new(data);
        let content = key(passphrase, &salt, self.log_n)?
            .open_in_place(nonce, Aad::from(context(self.log_n)), &mut data)
            .map_err(|_| EnvelopeError::Passphrase)?;
        Ok(Zeroizing::new(content.to_vec()))
    }
}

/// What the cipher binds besides the content.
fn context(log_n: u8) -> String {
    format!("cairn-envelope {KDF} {log_n} {R} {P} {CIPHER}")
}

fn key(passphrase: &str, salt: &[u8], log_n: u8) -> Result<LessSafeKey, EnvelopeError> {
    let parameters = scrypt::Params::new(log_n, R, P).map_err(|_| EnvelopeError::Unknown)?;
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    scrypt::scrypt(passphrase.as_bytes(), salt, &parameters, &mut *bytes)
        .map_err(|_| EnvelopeError::Library)?;
    UnboundKey::new(&AES_256_GCM, &*bytes).map(LessSafeKey::new).map_err(|_| EnvelopeError::Library)
}

fn sha256(data: &[u8]) -> String {
    STANDARD.encode(digest::digest(&digest::SHA256, data))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Cheap, for tests.
    const LOG_N: u8 = 4;

    #[test]
    fn opens_with_its_passphrase_only() {
        let sealed = Envelope::seal(b"a secret", "correct horse", LOG_N).unwrap();
        assert_eq!(sealed.open("correct horse").unwrap().as_slice(), b"a secret");
        assert_eq!(sealed.open("correct horsf"), Err(EnvelopeError::Passphrase));
        assert_eq!(sealed.open(""), Err(EnvelopeError::Passphrase));
        let again = Envelope::seal(b"a secret", "correct horse", LOG_N).unwrap();
        assert_ne!((&sealed.data, &sealed.salt), (&again.data, &again.salt));
        assert_eq!(format!("{sealed:?}"), "Envelope(…)");
    }

    #[test]
    fn damage_is_not_a_wrong_passphrase() {
        let damaged = |damage: fn(&mut Envelope)| {
            let mut sealed = Envelope::seal(b"a secret", "correct horse", LOG_N).unwrap();
            damage(&mut sealed);
            sealed.open("correct horse").unwrap_err()
        };
        assert_eq!(damaged(|sealed| sealed.data.truncate(8)), EnvelopeError::Damaged);
        assert_eq!(damaged(|sealed| sealed.data.clear()), EnvelopeError::Damaged);
        assert_eq!(damaged(|sealed| sealed.salt.clear()), EnvelopeError::Damaged);
        assert_eq!(damaged(|sealed| sealed.nonce.truncate(4)), EnvelopeError::Damaged);
        assert_eq!(damaged(|sealed| sealed.sha256.clear()), EnvelopeError::Damaged);
        assert_eq!(damaged(|sealed| sealed.cipher.clear()), EnvelopeError::Unknown);
        assert_eq!(damaged(|sealed| sealed.kdf = "argon2id".into()), EnvelopeError::Unknown);
        assert_eq!(damaged(|sealed| sealed.log_n = 0), EnvelopeError::Unknown);
        assert_eq!(damaged(|sealed| sealed.log_n = LOG_N_MAX + 1), EnvelopeError::Unknown);
        // A cheaper cost cannot be slipped in: it makes another key.
        assert_eq!(damaged(|sealed| sealed.log_n = LOG_N - 1), EnvelopeError::Passphrase);
    }

    #[test]
    fn the_costs_of_the_day_are_affordable() {
        let sealed = Envelope::seal(b"a secret", "correct horse", super::LOG_N).unwrap();
        assert_eq!(sealed.open("correct horse").unwrap().as_slice(), b"a secret");
    }

    proptest! {
        #[test]
        fn any_content_survives(text: String, passphrase: String) {
            let sealed = Envelope::seal(text.as_bytes(), &passphrase, 1).unwrap();
            let yaml = serde_saphyr::to_string(&sealed).unwrap();
            let read: Envelope = serde_saphyr::from_str(&yaml).unwrap();
            let opened = read.open(&passphrase).unwrap();
            prop_assert_eq!(opened.as_slice(), text.as_bytes());
            prop_assert!(text.len() < 4 || !yaml.contains(&text));
        }
    }
}

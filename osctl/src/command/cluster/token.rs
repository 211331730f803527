//! Random secrets of a cluster.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// What bootstrap tokens are made of (Kubernetes, `BootstrapTokenPattern`).
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const ID_CHARACTERS: usize = 6;
const TOKEN_CHARACTERS: usize = ID_CHARACTERS + 1 + 16;
/// Bytes from here on would make some characters likelier than others.
const FAIR: u8 = 252;
/// The key that encrypts Secrets in the data store.
const ENCRYPTION_KEY_BYTES: usize = 32;

/// A new bootstrap token, `id.secret`.
pub fn bootstrap_token() -> Result<Zeroizing<String>, Failure> {
    let mut token = Zeroizing::new(String::with_capacity(TOKEN_CHARACTERS));
    for position in 0..TOKEN_CHARACTERS {
        token.push(if position == ID_CHARACTERS { '.' } else { character()? });
    }
    Ok(token)
}

/// A new key that encrypts Secrets, in base64.
pub fn encryption_key() -> Result<Zeroizing<String>, Failure> {
    let mut key = Zeroizing::new([0; ENCRYPTION_KEY_BYTES]);
    fill(key.as_mut())?;
    Ok(Zeroizing::new(STANDARD.encode(*key)))
}

fn character() -> Result<char, Failure> {
    loop {
        let mut byte = [0];
        fill(&mut byte)?;
        let [byte] = byte;
        let index = usize::from(byte) % ALPHABET.len();
        if let Some(character) = ALPHABET.get(index).filter(|_| byte < FAIR) {
            return Ok(char::from(*character));
        }
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), Failure> {
    rand::fill(bytes).map_err(|_| Failure::error("there are no random bytes"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn tokens_have_the_form_that_kubernetes_takes() {
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let token = bootstrap_token().unwrap();
            let (id, secret) = token.split_once('.').unwrap();
            assert_eq!((id.len(), secret.len()), (6, 16), "{}", *token);
            seen.extend(token.bytes().filter(|byte| *byte != b'.'));
        }
        // Of 4400 characters none is missed, but once in 10^52 runs.
        assert_eq!(seen, ALPHABET.iter().copied().collect());
    }

    #[test]
    fn keys_are_of_32_bytes_and_never_the_same() {
        let (one, other) = (encryption_key().unwrap(), encryption_key().unwrap());
        assert_eq!(STANDARD.decode(&*one).unwrap().len(), 32);
        assert_ne!(one, other);
    }
}

//! Proofs that one side knows the code. Each names the node's key as the other side sees it on the connection.

use aws_lc_rs::{
    digest::{SHA256, SHA256_OUTPUT_LEN, digest},
    hmac,
};

use crate::Code;

/// Bytes of the client's nonce.
pub const NONCE_BYTES: usize = 32;
const NODE: &[u8] = b"cairn-node-v1\0";
const CLIENT: &[u8] = b"cairn-pairing-v1\0";

/// SHA-256 of the subjectPublicKeyInfo of the node's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash([u8; SHA256_OUTPUT_LEN]);

impl KeyHash {
    /// The hash of a subjectPublicKeyInfo in DER.
    #[must_use]
    pub fn of(public_key_der: &[u8]) -> Self {
        Self(sha256(public_key_der))
    }
}

/// What the node answers to a client's nonce.
#[must_use]
pub fn node(code: &Code, key: &KeyHash, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
    hmac::sign(&mac_key(code), &node_message(key, nonce)).as_ref().to_vec()
}

/// Whether the node's answer shows that it knows the code. Takes the same time wherever they differ.
#[must_use]
pub fn is_of_node(proof: &[u8], code: &Code, key: &KeyHash, nonce: &[u8; NONCE_BYTES]) -> bool {
    hmac::verify(&mac_key(code), &node_message(key, nonce), proof).is_ok()
}

/// What a client sends with a configuration for the node with this key.
#[must_use]
pub fn client(code: &Code, key: &KeyHash, text: &str) -> Vec<u8> {
    hmac::sign(&mac_key(code), &client_message(key, text)).as_ref().to_vec()
}

/// Whether a client that knows the code meant this configuration for the node with this key. Takes the same time
/// wherever they differ.
#[must_use]
pub fn is_of_client(proof: &[u8], code: &Code, key: &KeyHash, text: &str) -> bool {
    hmac::verify(&mac_key(code), &client_message(key, text), proof).is_ok()
}

fn mac_key(code: &Code) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, code.symbols())
}

fn node_message(key: &KeyHash, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
    [NODE, &key.0, nonce].concat()
}

fn client_message(key: &KeyHash, text: &str) -> Vec<u8> {
    [CLIENT, &key.0, &sha256(text.as_bytes())].concat()
}

fn sha256(bytes: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(last: u8) -> Code {
        Code::from_random([0, 0, 0, 0, 0, 0, 0, last])
    }

    #[test]
    fn a_proof_is_good_for_its_code_its_key_and_its_message_alone() {
        let (key, other) = (KeyHash::of(b"node"), KeyHash::of(b"man in the middle"));
        let nonce = [7; NONCE_BYTES];
        let proof = node(&code(1), &key, &nonce);
        assert!(is_of_node(&proof, &code(1), &key, &nonce));
        assert!(!is_of_node(&proof, &code(2), &key, &nonce));
        assert!(!is_of_node(&proof, &code(1), &other, &nonce));
        assert!(!is_of_node(&proof, &code(1), &key, &[8; NONCE_BYTES]));
        assert!(!is_of_node(&proof[..31], &code(1), &key, &nonce));
        assert!(!is_of_node(&[], &code(1), &key, &nonce));

        let proof = client(&code(1), &key, "kind: Api");
        assert!(is_of_client(&proof, &code(1), &key, "kind: Api"));
        assert!(!is_of_client(&proof, &code(2), &key, "kind: Api"));
        assert!(!is_of_client(&proof, &code(1), &other, "kind: Api"));
        assert!(!is_of_client(&proof, &code(1), &key, "kind: Api "));
        assert!(!is_of_client(&[], &code(1), &key, ""));
    }

    #[test]
    fn what_the_node_proves_cannot_be_sent_back_as_a_clients_proof() {
        let key = KeyHash::of(b"node");
        let text = "kind: Api";
        let nonce = sha256(text.as_bytes());
        assert_ne!(node(&code(1), &key, &nonce), client(&code(1), &key, text));
    }

    /// The protocol is in the messages: it must not change with this code.
    #[test]
    fn proofs_are_what_the_protocol_says() {
        let code = Code::parse("0123-4567-89AB").unwrap();
        let key = KeyHash::of(b"key");
        let mac = |message: Vec<u8>| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"0123456789AB"), &message).as_ref().to_vec()
        };
        let hash = sha256(b"key");
        assert_eq!(
            node(&code, &key, &[9; 32]),
            mac([b"cairn-node-v1\0".as_slice(), &hash, &[9; 32]].concat())
        );
        let text = sha256(b"text");
        assert_eq!(
            client(&code, &key, "text"),
            mac([b"cairn-pairing-v1\0".as_slice(), &hash, &text].concat())
        );
    }
}

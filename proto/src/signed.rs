//! Signed requests as they are sent, and as `pki` signs and verifies them.

use crate::config::v1::SignedRequest;

impl From<pki::signed::SignedRequest> for SignedRequest {
    fn from(signed: pki::signed::SignedRequest) -> Self {
        Self {
            body: signed.body,
            signature: signed.signature,
            certificates_der: signed.chain,
            node_id: signed.node_id,
            base_generation: signed.base_generation,
            epoch: signed.epoch,
        }
    }
}

impl From<SignedRequest> for pki::signed::SignedRequest {
    fn from(sent: SignedRequest) -> Self {
        Self {
            body: sent.body,
            signature: sent.signature,
            chain: sent.certificates_der,
            node_id: sent.node_id,
            epoch: sent.epoch,
            base_generation: sent.base_generation,
        }
    }
}

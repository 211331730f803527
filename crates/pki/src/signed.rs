//! Changes signed by the client's key, so that machined need not believe whoever passes them on.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use crate::certificate::parse;
use crate::{Bundle, Certificate, Identity, IssueError, Key, NodeId, Refusal, Revocations, Role, judge};

/// Keeps these signatures apart from all others that the key makes.
const CONTEXT: &[u8] = b"cairn-request-v1\0";

/// A request with what proves who made it, for which node and on top of what.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// The serialised message that is meant.
    pub body: Vec<u8>,
    /// ECDSA P-256 with SHA-256, ASN.1 DER.
    pub signature: Vec<u8>,
    /// The client's certificate in DER, alone: CAs sign clients directly.
    pub chain: Vec<Vec<u8>>,
    /// The node that is meant.
    pub node_id: String,
    /// The generation that the node must run.
    pub base_generation: u64,
}

impl fmt::Debug for SignedRequest {
    /// Leaves out the body: it may hold secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SignedRequest")
            .field("body_bytes", &self.body.len())
            .field("node_id", &self.node_id)
            .field("base_generation", &self.base_generation)
            .finish_non_exhaustive()
    }
}

/// What a request must be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Full gRPC path of the method, such as `/cairn.config.v1.ConfigService/Apply`.
    pub method: &'a str,
    /// This node.
    pub node_id: &'a NodeId,
    /// The generation that runs.
    pub base_generation: u64,
    /// The weakest role that may do it.
    pub role: Role,
}

/// Whom the node trusts.
#[derive(Clone, Copy, Debug)]
pub struct Trusted<'a> {
    /// CAs of clients.
    pub cas: &'a Bundle,
    /// Client certificates that are let in no more.
    pub revoked: &'a Revocations,
    /// The earliest time that it can be now, seconds since 1970.
    pub floor_s: u64,
}

/// Why a signed request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedRefusal {
    /// Not exactly one certificate.
    #[error("a signed request carries the client's certificate alone, not {count} certificates")]
    Chain {
        /// How many it carries.
        count: usize,
    },
    /// The client is not let in.
    #[error("the signer is not let in")]
    Client {
        /// Why.
        #[source]
        source: Refusal,
    },
    /// The signature is of another key, method, body, node or generation.
    #[error("the request is not signed by the client's key for this method")]
    Signature,
    /// The signer may not do this.
    #[error("the signer is {role}, this needs {needed}")]
    Role {
        /// Role of the signer.
        role: Role,
        /// Role that is needed.
        needed: Role,
    },
    /// Signed for another node.
    #[error("the request is signed for another node")]
    Node,
    /// Signed on top of another generation: a replay, or somebody else was faster.
    #[error("the request is signed for generation {signed}, the node runs {running}")]
    Generation {
        /// The one that was signed.
        signed: u64,
        /// The one that runs.
        running: u64,
    },
}

/// Signs `body` as a request to `method` on one node that runs `base_generation`.
///
/// # Errors
/// [`IssueError::Encode`] when the library fails to sign.
pub fn sign(
    key: &Key,
    certificate: &Certificate,
    method: &str,
    node_id: &NodeId,
    base_generation: u64,
    body: Vec<u8>,
) -> Result<SignedRequest, IssueError> {
    let message = message(method, node_id.as_str(), base_generation, &body);
    let signature = key.sign(&message).map_err(|source| IssueError::Encode { source })?;
    let chain = vec![certificate.der().to_vec()];
    Ok(SignedRequest { body, signature, chain, node_id: node_id.to_string(), base_generation })
}

/// Decides whether a request is obeyed, and who made it.
///
/// # Errors
/// [`SignedRefusal`]; nothing that the request says of itself is believed before its signature holds.
pub fn verify(
    request: &SignedRequest,
    expected: &Expected<'_>,
    trusted: &Trusted<'_>,
) -> Result<Identity, SignedRefusal> {
    let [leaf] = request.chain.as_slice() else {
        return Err(SignedRefusal::Chain { count: request.chain.len() });
    };
    let identity = judge(leaf, trusted.cas, trusted.revoked, trusted.floor_s)
        .map_err(|source| SignedRefusal::Client { source })?;
    if !is_signed(request, expected.method, leaf) {
        return Err(SignedRefusal::Signature);
    }
    if !identity.role.allows(expected.role) {
        return Err(SignedRefusal::Role { role: identity.role, needed: expected.role });
    }
    if request.node_id != expected.node_id.as_str() {
        return Err(SignedRefusal::Node);
    }
    if request.base_generation != expected.base_generation {
        let (signed, running) = (request.base_generation, expected.base_generation);
        return Err(SignedRefusal::Generation { signed, running });
    }
    Ok(identity)
}

fn is_signed(request: &SignedRequest, method: &str, leaf: &[u8]) -> bool {
    let Ok(certificate) = parse(leaf) else { return false };
    let message = message(method, &request.node_id, request.base_generation, &request.body);
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, certificate.public_key().raw);
    key.verify(&message, &request.signature).is_ok()
}

/// What is signed. Neither a method nor a node id holds a NUL byte, so no two requests share a message; a request
/// whose fields do is refused, because neither equals what is expected.
pub(crate) fn message(method: &str, node_id: &str, base_generation: u64, body: &[u8]) -> Vec<u8> {
    let mut message = CONTEXT.to_vec();
    message.extend_from_slice(method.as_bytes());
    message.push(0);
    message.extend_from_slice(node_id.as_bytes());
    message.push(0);
    message.extend_from_slice(&base_generation.to_be_bytes());
    message.extend_from_slice(digest(&SHA256, body).as_ref());
    message
}

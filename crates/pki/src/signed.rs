//! Changes signed by the client's key, so that machined need not believe whoever passes them on.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::fill;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use crate::certificate::parse;
use crate::{Bundle, Certificate, Identity, IssueError, Key, NodeId, Refusal, Revocations, Role, judge};

/// Keeps these signatures apart from all others that the key makes.
const CONTEXT: &[u8] = b"cairn-request-v1\0";

/// Bytes of an [`Epoch`].
const EPOCH_BYTES: usize = 16;

/// Random bytes that a node makes at each start and tells whoever asks. Generations alone would repeat where a node
/// comes back without its STATE, or with that of a backup; with the epoch no request of an earlier start is obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch([u8; EPOCH_BYTES]);

impl Epoch {
    /// Makes one.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0; EPOCH_BYTES];
        fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    /// As it is sent.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads what a node sent; `None` when it is none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// The random generator failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no random bytes")]
pub struct NoRandomness;

/// What a request is made on top of. No two moments of a node's life between which something changed share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// This start of the node.
    pub epoch: Epoch,
    /// The last generation's number that it gave.
    pub generation: u64,
}

impl Base {
    /// Before any configuration. It needs no epoch: a node takes its first configuration once, and a reset makes it
    /// a node of another id.
    pub const FIRST: Self = Self { epoch: Epoch([0; EPOCH_BYTES]), generation: 0 };
}

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
    /// The start of the node that is meant.
    pub epoch: Vec<u8>,
    /// The generation that the node must be at.
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
    /// What the node is at.
    pub base: Base,
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
    /// Signed before this start of the node: a replay, or the node restarted in between.
    #[error("the request is signed for an earlier start of the node; read its generations again and repeat")]
    Epoch,
    /// Signed on top of another generation: a replay, or somebody else was faster.
    #[error("the request is signed for generation {signed}, the node runs {running}")]
    Generation {
        /// The one that was signed.
        signed: u64,
        /// The one that runs.
        running: u64,
    },
}

/// Signs `body` as a request to `method` on one node that is at `base`.
///
/// # Errors
/// [`IssueError::Encode`] when the library fails to sign.
pub fn sign(
    key: &Key,
    certificate: &Certificate,
    method: &str,
    node_id: &NodeId,
    base: Base,
    body: Vec<u8>,
) -> Result<SignedRequest, IssueError> {
    let Base { epoch, generation: base_generation } = base;
    let message = message(method, node_id.as_str(), epoch.as_bytes(), base_generation, &body);
    let signature = key.sign(&message).map_err(|source| IssueError::Encode { source })?;
    let chain = vec![certificate.der().to_vec()];
    let (node_id, epoch) = (node_id.to_string(), epoch.as_bytes().to_vec());
    Ok(SignedRequest { body, signature, chain, node_id, epoch, base_generation })
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
    if request.epoch != expected.base.epoch.as_bytes() {
        return Err(SignedRefusal::Epoch);
    }
    if request.base_generation != expected.base.generation {
        let (signed, running) = (request.base_generation, expected.base.generation);
        return Err(SignedRefusal::Generation { signed, running });
    }
    Ok(identity)
}

fn is_signed(request: &SignedRequest, method: &str, leaf: &[u8]) -> bool {
    let Ok(certificate) = parse(leaf) else { return false };
    let SignedRequest { body, node_id, epoch, base_generation, .. } = request;
    let message = message(method, node_id, epoch, *base_generation, body);
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, certificate.public_key().raw);
    key.verify(&message, &request.signature).is_ok()
}

/// What is signed. Neither a method nor a node id holds a NUL byte and all epochs are of one length, so no two requests
/// share a message; a request whose fields are otherwise is refused, because none equals what is expected.
pub(crate) fn message(
    method: &str,
    node_id: &str,
    epoch: &[u8],
    base_generation: u64,
    body: &[u8],
) -> Vec<u8> {
    let mut message = CONTEXT.to_vec();
    message.extend_from_slice(method.as_bytes());
    message.push(0);
    message.extend_from_slice(node_id.as_bytes());
    message.push(0);
    message.extend_from_slice(epoch);
    message.extend_from_slice(&base_generation.to_be_bytes());
    message.extend_from_slice(digest(&SHA256, body).as_ref());
    message
}

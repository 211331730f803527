//! Requests that are believed for their signature, never for who passed them on.

use pki::{
    Role,
    signed::{SignedRefusal, SignedRequest},
};
use proto::config::v1 as api;
use tonic::{Code, Status};

use crate::{error_chain::error_chain, identity::Identity};

/// Body and author of a request that an admin signed for this node as it is.
pub fn verified(
    identity: &Identity,
    request: Option<api::SignedRequest>,
    method: &str,
    base: u64,
) -> Result<(Vec<u8>, String), Status> {
    let request = SignedRequest::from(request.ok_or_else(malformed)?);
    let author = identity.verify(&request, method, base, Role::Admin).map_err(|error| refused(&error))?;
    Ok((request.body, author.subject.to_string()))
}

/// A request that is not of the protocol.
pub fn malformed() -> Status {
    Status::invalid_argument("the request carries no signed change that can be read")
}

/// Not signed by an admin, or not for this node as it is.
fn refused(error: &SignedRefusal) -> Status {
    let code = match error {
        SignedRefusal::Epoch | SignedRefusal::Generation { .. } => Code::Aborted,
        SignedRefusal::Chain { .. }
        | SignedRefusal::Client { .. }
        | SignedRefusal::Signature
        | SignedRefusal::Role { .. }
        | SignedRefusal::Node => Code::PermissionDenied,
    };
    Status::new(code, error_chain(error))
}

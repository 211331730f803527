//! Requests signed with the client's key, so that the node need not believe whoever passes them on.

use pki::{
    Key, NodeId,
    signed::{self, Base, Epoch},
};
use proto::config::v1::SignedRequest;

use crate::failure::{Failure, chain};
use crate::node::{Client, Target, Trust};

/// What a request is signed on top of, as the node tells it.
pub fn base(epoch: &[u8], generation: u64) -> Result<Base, Failure> {
    let epoch = Epoch::from_bytes(epoch)
        .ok_or_else(|| Failure::error("cannot sign the request").why("the node does not tell its epoch"))?;
    Ok(Base { epoch, generation })
}

/// Signs a request to an adopted node.
pub fn sign(target: &Target, method: &str, base: Base, body: Vec<u8>) -> Result<SignedRequest, Failure> {
    let Trust::Chain { node_id, .. } = &target.trust else {
        return Err(Failure::error("cannot sign the request").why("the node is not adopted"));
    };
    sign_for(&target.client, method, node_id, base, body)
}

/// Signs a request to any node.
pub fn sign_for(
    client: &Client,
    method: &str,
    node_id: &NodeId,
    base: Base,
    body: Vec<u8>,
) -> Result<SignedRequest, Failure> {
    let cannot = |why: String| Failure::error("cannot sign the request").why(why);
    let key = Key::from_pem(client.key().as_str()).map_err(|error| cannot(chain(&error)))?;
    let signed = signed::sign(&key, client.certificate(), method, node_id, base, body)
        .map_err(|error| cannot(chain(&error)))?;
    Ok(signed.into())
}

//! The machine configuration of a node: show, check, change, confirm, take back, reset.

mod change;
mod edit;
mod first;
mod follow;
mod reset;
mod show;

use std::io::Read as _;
use std::path::Path;

use pki::{
    Key, NodeId,
    signed::{self, Base, Epoch},
};
use proto::config::v1::{ListGenerationsResponse, SignedRequest};

use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::file;
use crate::node::{Client, Target, Trust};

pub use change::{apply, patch, rollback};
pub use edit::edit;
pub use follow::confirm;
pub use reset::reset;
pub use show::{diff, show, validate};

/// Longest configuration that is read; the node's limit is lower and it says so itself.
const TEXT_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A file's text; "-" is standard input.
fn read(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().take(TEXT_MAX_BYTES).read_to_string(&mut text).map(|_| text)
    } else {
        file::read(path)
    };
    text.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, format!("{} does not exist", path.display()))
        }
        _ => Failure::error(format!("cannot read {}", path.display())).why(error),
    })
}

/// What a request to a node is signed on top of.
fn base(listed: &ListGenerationsResponse) -> Result<Base, Failure> {
    let epoch = Epoch::from_bytes(&listed.epoch)
        .ok_or_else(|| Failure::error("cannot sign the request").why("the node does not tell its epoch"))?;
    Ok(Base { epoch, generation: listed.base_generation })
}

/// Signs a request, so that the node need not believe whoever passes it on.
fn sign(target: &Target, method: &str, base: Base, body: Vec<u8>) -> Result<SignedRequest, Failure> {
    let Trust::Chain { node_id, .. } = &target.trust else {
        return Err(Failure::error("cannot sign the request").why("the node is not adopted"));
    };
    sign_for(&target.client, method, node_id, base, body)
}

fn sign_for(
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
    Ok(SignedRequest {
        body: signed.body,
        signature: signed.signature,
        certificates_der: signed.chain,
        node_id: signed.node_id,
        epoch: signed.epoch,
        base_generation: signed.base_generation,
    })
}

//! What others on the link may know of a node with a configuration.

use std::net::IpAddr;

use ::discovery::Node;
use layout::API_PORT;

use crate::{context::Context, discovery as responder};

/// Answers for ever.
pub async fn run(context: &Context) {
    // The responder knows no other than IPv4 addresses.
    let endpoint = || match context.api_address((*context.address.borrow())?) {
        IpAddr::V4(address) => Some((address, API_PORT)),
        IpAddr::V6(_) => None,
    };
    let describe = || Node {
        id: context.node.node_id.clone(),
        name: context.hostname(),
        version: context.release.version.clone(),
        mode: context.identity.mode().name().to_owned(),
        fingerprint: context.identity.fingerprint(),
        endpoint: endpoint(),
    };
    responder::run(context.address.subscribe(), describe).await;
}

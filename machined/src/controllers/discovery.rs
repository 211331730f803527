//! What others on the link may know of a node with a configuration.

use ::discovery::Node;

use crate::{context::Context, discovery as responder};

/// Answers for ever.
pub async fn run(context: &Context) {
    let describe = || Node {
        id: context.node.node_id.clone(),
        name: context.hostname(),
        version: context.release.version.clone(),
        mode: context.identity.mode().name().to_owned(),
        fingerprint: context.identity.fingerprint(),
        endpoint: None,
    };
    responder::run(context.address.subscribe(), describe).await;
}

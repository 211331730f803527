//! Whom apid lets in: the client CAs and revocations of the configuration, rendered for it.

use std::sync::Arc;

use crate::{context::Context, error_chain::error_chain};

/// Follows the configuration for ever. What cannot be rendered leaves the former ones in force.
pub async fn run(context: &Context) {
    let mut follower = context.follower("clients");
    loop {
        let config = follower.current();
        let identity = Arc::clone(&context.identity);
        let obeyed = Arc::clone(&config);
        let rendered = tokio::task::spawn_blocking(move || identity.trust(&obeyed)).await;
        let error = match rendered {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error_chain(&error)),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = error {
            tracing::error!(error, "the configured client CAs and revocations are not in force");
        }
        follower.settle(&config);
        follower.changed().await;
    }
}

//! Kubernetes.

use std::sync::Arc;

use crate::context::Context;

/// Runs for ever.
pub async fn run(_context: Arc<Context>) {
    std::future::pending().await
}

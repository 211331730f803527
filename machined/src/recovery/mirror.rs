//! Keeps the mirror of what the node cannot do without: it follows the confirmed configuration, what it trusts, and
//! the node's certificate.

use std::sync::Arc;

use super::{Essence, EssenceError};
use crate::{
    configuration::StoreError,
    context::Context,
    error_chain::error_chain,
    storage::{Mirror, StorageError},
    trust::Trust,
};

/// Why the mirror is not as it should be.
#[derive(Debug, thiserror::Error)]
enum MirrorError {
    /// The confirmed generation.
    #[error("the confirmed generation cannot be read")]
    Generation(#[source] StoreError),
    /// What is to be mirrored.
    #[error("essence")]
    Essence(#[source] EssenceError),
    /// BOOTSTATE.
    #[error("BOOTSTATE")]
    Storage(#[source] StorageError),
}

/// Follows for ever, from the moment at which the node counts as provisioned.
pub async fn run(context: Arc<Context>, trust: Arc<Trust>, mirror: Mirror) {
    let mut data_ready = context.data_ready.clone();
    if data_ready.wait_for(|ready| *ready).await.is_err() {
        return;
    }
    let mut views = context.generations.views();
    let mut certificates = context.identity.certificates();
    let mut mirrored = None;
    loop {
        let confirmed = views.borrow_and_update().index.confirmed();
        let now = (confirmed, certificates.borrow_and_update().hash());
        // Other generations come and go.
        if mirrored.as_ref() != Some(&now) {
            match write(&context, &trust, &mirror).await {
                Ok(()) => mirrored = Some(now),
                Err(error) => tracing::error!(error, "the mirror of STATE is out of date"),
            }
        }
        let alive = tokio::select! {
            alive = views.changed() => alive,
            alive = certificates.changed() => alive,
        };
        if alive.is_err() {
            return;
        }
    }
}

async fn write(context: &Arc<Context>, trust: &Arc<Trust>, mirror: &Mirror) -> Result<(), String> {
    let (context, trust, mirror) = (Arc::clone(context), Arc::clone(trust), mirror.clone());
    let written = tokio::task::spawn_blocking(move || write_now(&context, &trust, &mirror)).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error_chain(&error)),
        Err(error) => Err(error.to_string()),
    }
}

/// Only what differs is written.
fn write_now(context: &Context, trust: &Trust, mirror: &Mirror) -> Result<(), MirrorError> {
    let confirmed = context.generations.view().index.confirmed();
    let text = context.generations.store().load(confirmed).map_err(MirrorError::Generation)?;
    let essence = Essence::of(context.identity.kept(), trust, &text).map_err(MirrorError::Essence)?;
    let content = essence.encode().map_err(MirrorError::Essence)?;
    if mirror.read().map_err(MirrorError::Storage)?.as_ref() == Some(&content) {
        return Ok(());
    }
    mirror.write(&content).map_err(MirrorError::Storage)
}

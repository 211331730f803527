//! Disks and volumes, at start and when DATA comes.

use crate::{context::Context, storage};

/// Publishes once now and once when DATA is mounted; disks that come later are the storage controller's to add.
pub async fn run(context: &Context) {
    publish(context);
    let mut data_ready = context.data_ready.clone();
    if data_ready.wait_for(|ready| *ready).await.is_ok() {
        publish(context);
    }
}

fn publish(context: &Context) {
    context.store.replace_all(storage::disks());
    context.store.replace_all(storage::volumes());
}

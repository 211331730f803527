//! Controllers that only watch and publish.

mod address;
mod clients;
mod console;
mod discovery;
mod integrity;
mod services;
mod storage;
mod watchdog;

use std::sync::Arc;

use crate::context::Context;

pub use console::run as say_troubles;

/// Runs them all for ever.
pub async fn run(context: Arc<Context>) {
    tokio::join!(
        services::run(&context),
        storage::run(&context),
        integrity::run(&context),
        address::run(&context),
        clients::run(&context),
        discovery::run(&context),
        console::run(&context.health, &context.control),
        watchdog::run(&context),
    );
}

//! Kernel settings of the configuration: sysctls and compressed swap.

mod swap;
mod swap_device;
mod sysctls;

use std::sync::Arc;

use crate::context::Context;

/// Obeys the configuration for ever.
pub async fn run(context: Arc<Context>) {
    tokio::join!(sysctls::run(&context), swap::run(&context));
}

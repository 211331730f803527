//! machined: the node's controllers.
//!
//! Brings up STATE, identity and DATA, then runs controllers that publish what they see as resources, and serves the
//! internal API on a unix socket. It must never be reachable from the network; it may crash and start again at any
//! time without a service noticing, so every step accepts that it was done before. Start reading at [`startup`].

mod api;
mod apid_files;
mod cluster;
mod config_source;
mod configuration;
mod context;
mod control_client;
mod controllers;
mod discovery;
mod error_chain;
mod etc;
mod files;
mod firewall;
mod follow;
mod foundation;
mod health;
mod identity;
mod inspect;
mod installer;
mod kubernetes;
mod logs;
mod maintenance;
mod network;
mod notify;
mod probes;
mod recovery;
mod release;
mod settings;
mod shipping;
mod startup;
mod storage;
mod store;
mod timesync;
mod trust;
mod update;
mod volumes;

use std::process::ExitCode;

fn main() -> ExitCode {
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Storage and image imports: few and short.
        .max_blocking_threads(4)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    let run =
        async { if installer::is_wanted() { Ok(installer::run().await) } else { startup::run().await } };
    match runtime.block_on(run) {
        Ok(never) => match never {},
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "machined ends");
            ExitCode::FAILURE
        }
    }
}

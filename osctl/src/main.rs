//! Command line for Cairn nodes.
//!
//! Talks to nodes over mutual TLS 1.3, to each as if it were the only one, keeps contexts in a file like kubeconfig, and makes the
//! secrets of a fleet. It must never trust an address: a node is who its certificate chain and node id say.
//! Data goes to standard output, everything else to standard error; exit codes are in [`exit`].
//! Start reading at [`cli`], then [`command`]; how a node is reached is in [`node`].

mod cli;
mod clock;
mod command;
mod contexts;
mod disk;
mod duration;
mod endpoint;
mod envelope;
mod exit;
mod failure;
mod file;
mod log_source;
mod node;
mod output;
mod passphrase;
mod pem;
mod resource;
mod secrets;
mod subnet;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use exit::Exit;
use failure::Failure;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match run(cli) {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            // A closed standard error must not change the exit code.
            let _ = write!(std::io::stderr(), "{}", failure.render());
            failure.exit().into()
        }
    }
}

fn run(cli: cli::Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error("cannot start").why(error))?;
    let result = runtime.block_on(command::run(cli));
    // A name lookup cannot be cancelled: do not wait for it.
    runtime.shutdown_background();
    result
}

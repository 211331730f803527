//! apid on a node: fixed paths, fixed port, one thread. See the library.

use std::net::{Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use apid::chain::Chain;
use apid::notify::Supervisor;
use apid::{Confinement, Options, Server};
use layout::{API_PORT, path};

fn main() -> ExitCode {
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(std::io::stdout).init();
    match run() {
        Ok(never) => match never {},
        Err(error) => {
            tracing::error!(error = %Chain(&*error), "apid ends");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<std::convert::Infallible, Box<dyn std::error::Error>> {
    let options = Options {
        directory: path::APID.into(),
        // Dual stack: IPv4 clients appear as mapped addresses.
        listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, API_PORT)),
        upstream: path::MACHINED_API.into(),
        confinement: Confinement::Full,
        supervisor: Supervisor::from_environment()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async { Server::start(options).await?.serve().await })?)
}

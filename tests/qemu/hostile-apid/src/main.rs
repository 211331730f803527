//! An apid that was taken over. To its clients it is the ordinary one, because all of that is apid's own library, and
//! it has apid's user, files and view of them. But between that library and machined sits a relay that keeps the
//! signed requests which pass, and tries by itself what it can make of them. What came of each attempt is a line of its
//! log. For the relay's socket it does without Landlock and seccomp: that can only help it.
//!
//! It stands in apid's place on a disk image of its own, for one test, and must never be in a release. Start reading
//! at [`relay`].

mod attempt;
mod call;
mod relay;
mod release;

use std::net::{Ipv6Addr, SocketAddr};

use anyhow::Result;
use apid::notify::Supervisor;
use apid::{Confinement, Options, Server};
use layout::{API_PORT, path};
use tokio::net::UnixListener;

/// Where apid's library takes the relay for machined: abstract, because every file system is read-only to apid.
const RELAY: &str = "\0relay";

fn main() -> Result<()> {
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(std::io::stdout).init();
    let options = Options {
        directory: path::APID.into(),
        listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, API_PORT)),
        upstream: RELAY.into(),
        confinement: Confinement::Off,
        supervisor: Supervisor::from_environment()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = UnixListener::bind(RELAY)?;
        tokio::spawn(relay::run(listener));
        tracing::warn!("this is the hostile apid of a test");
        match Server::start(options).await?.serve().await? {}
    })
}

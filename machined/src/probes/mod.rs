//! Whether what a change names answers. Asked once by the gate of the change, never afterwards: a node that goes offline
//! stays healthy.
//!
//! `target.rs` says what a change introduces (pure); the others ask, and return only when they are answered.

mod api_server;
mod log_server;
mod mirror;
mod name_server;
mod target;

#[cfg(test)]
mod tests;

use std::{net::Ipv4Addr, time::Duration};

use config::NodeConfig;
use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    sys::socket::SockaddrIn,
};
use tokio::time::{sleep, timeout};

use crate::network::arp;
pub use api_server::refusal as cluster_refusal;
use target::{Target, introduced};

/// For one answer. A link that negotiates anew, or a server at the far end of a satellite, takes seconds.
const WITHIN: Duration = Duration::from_secs(5);
/// Between attempts that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// Asks everything that the change introduces, at once; says what does not answer.
pub async fn run(old: &NodeConfig, new: &NodeConfig) -> Result<(), String> {
    let targets = introduced(old, new);
    let silent: Vec<String> = join_all(targets.iter().map(complaint)).await.into_iter().flatten().collect();
    if silent.is_empty() { Ok(()) } else { Err(silent.join("; ")) }
}

/// What does not answer in time.
async fn complaint(target: &Target) -> Option<String> {
    let answered = timeout(WITHIN, answers(target)).await;
    answered.is_err().then(|| target.to_string())
}

/// Waits until the target, or one of its members, answers.
async fn answers(target: &Target) {
    match target {
        Target::Gateway { link, source, address } => gateway(link, *source, *address).await,
        Target::NameServers(servers) => {
            first(servers.iter().map(|server| name_server::answers(*server))).await
        }
        Target::Mirrors { mirrors, .. } => first(mirrors.iter().map(mirror::answers)).await,
        Target::LogServer(server) => log_server::answers(server).await,
    }
}

async fn gateway(document: &str, source: Ipv4Addr, address: Ipv4Addr) {
    loop {
        // A document with a selector has another name than its link.
        let link = link_with(source).unwrap_or_else(|| document.to_owned());
        match arp::resolve(&link, source, address).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(link, %error, "cannot ask for the gateway"),
        }
        sleep(AGAIN).await;
    }
}

/// The link that has an address.
fn link_with(address: Ipv4Addr) -> Option<String> {
    let has = |found: &InterfaceAddress| {
        let own = found.address.as_ref().and_then(|own| own.as_sockaddr_in().map(SockaddrIn::ip));
        own == Some(address)
    };
    getifaddrs().ok()?.find(has).map(|found| found.interface_name)
}

async fn first(answers: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut answers: FuturesUnordered<_> = answers.collect();
    answers.next().await;
}

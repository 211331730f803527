//! What follows the node's address: /etc/hosts, and the line on the console by which an admin finds the node.

use std::{fs, io, net::IpAddr, path::Path};

use control::Request;
use layout::{API_PORT, path::RUN_ETC};

use crate::context::Context;

/// Follows the address for ever.
pub async fn run(context: &Context) {
    let mut address = context.address.subscribe();
    loop {
        let now = *address.borrow_and_update();
        if let Err(error) = write_hosts(&context.node.hostname, now) {
            tracing::error!(%error, "cannot write hosts");
        }
        if let Some(now) = now {
            announce(context, now).await;
        }
        if address.changed().await.is_err() {
            return;
        }
    }
}

async fn announce(context: &Context, address: IpAddr) {
    let host = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let line = format!("api https://{host}:{API_PORT} fingerprint {}", context.identity.fingerprint());
    if let Err(error) = context.control.request(Request::Console(line)).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "the console line is not shown");
    }
}

/// The node's own name must resolve without DNS: else the kubelet waits 10 s for each status when there is none.
fn write_hosts(hostname: &str, address: Option<IpAddr>) -> io::Result<()> {
    let own = address.map_or_else(|| "127.0.1.1".to_owned(), |address| address.to_string());
    let text = format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n{own} {hostname}\n");
    let path = Path::new(RUN_ETC).join("hosts");
    let temporary = path.with_extension("new");
    fs::write(&temporary, text)?;
    fs::rename(temporary, path)
}

//! What follows the node's name and address: /etc, and the line on the console by which an admin finds the node.

use std::net::IpAddr;

use control::Request;
use layout::API_PORT;

use crate::{context::Context, etc};

/// Follows both for ever.
pub async fn run(context: &Context) {
    let mut address = context.address.subscribe();
    let mut follower = context.follower("name");
    let mut announced = None;
    loop {
        let config = follower.current();
        let now = *address.borrow_and_update();
        let hostname = context.node.hostname(&config);
        if let Err(error) = etc::render(&hostname, &context.node.machine_id, now, config.cluster.is_some()) {
            tracing::error!(%error, "the host name is not set everywhere");
        }
        follower.settle(&config);
        let served = now.map(|now| context.api_address(now));
        if announced != served
            && let Some(served) = served
        {
            announce(context, served).await;
        }
        announced = served;
        tokio::select! {
            () = follower.changed() => {}
            alive = address.changed() => if alive.is_err() { return },
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

//! What an admin must know, on the console: where the node is, how to tell it from others, and its pairing code.

use std::{error::Error, net::IpAddr};

use control::Request;
use layout::API_PORT;
use tokio::{
    sync::watch,
    time::{Duration, sleep},
};
use zeroize::Zeroizing;

use super::{Desk, Door};
use crate::{control_client::Control, controllers, health::Health};

/// Says it for ever.
pub async fn run(desk: &Desk, address: &watch::Sender<Option<IpAddr>>, health: &Health, control: &Control) {
    tokio::join!(
        announce(desk, address.subscribe(), control),
        tell(desk.news(), control),
        expire(desk, control),
        controllers::say_troubles(health, control),
    );
}

/// The line by which the node is found, at each of its addresses.
async fn announce(desk: &Desk, mut address: watch::Receiver<Option<IpAddr>>, control: &Control) {
    loop {
        let now = *address.borrow_and_update();
        if let Some(now) = now {
            say(control, line(desk, now)).await;
        }
        if address.changed().await.is_err() {
            return;
        }
    }
}

fn line(desk: &Desk, address: IpAddr) -> Zeroizing<String> {
    let host = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let proof = match desk.door() {
        Door::Code(pairing) if pairing.left(desk.now_ms()).1 > 0 => {
            format!("code {}", pairing.code().to_text().as_str())
        }
        Door::Code(_) => "code-expired".to_owned(),
        Door::Clients(_) => "client-certificate".to_owned(),
    };
    let fingerprint = desk.fingerprint();
    Zeroizing::new(format!("maintenance https://{host}:{API_PORT} fingerprint {fingerprint} {proof}"))
}

async fn tell(mut news: watch::Receiver<String>, control: &Control) {
    while news.changed().await.is_ok() {
        let text = Zeroizing::new(format!("maintenance: {}", *news.borrow_and_update()));
        say(control, text).await;
    }
}

async fn expire(desk: &Desk, control: &Control) {
    if desk.door().medium().is_some() {
        return;
    }
    sleep(Duration::from_millis(pairing::VALID_MS.saturating_sub(desk.now_ms()))).await;
    say(control, Zeroizing::new(format!("maintenance: {}", pairing::Exhausted::Expired))).await;
}

async fn say(control: &Control, line: Zeroizing<String>) {
    if let Err(error) = control.request(Request::Console(line.to_string())).await {
        tracing::warn!(error = &error as &dyn Error, "the console line is not shown");
    }
}

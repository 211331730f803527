//! What an admin must know, on the console: where the node is, how to tell it from others, and its pairing code.

use std::{error::Error, net::IpAddr};

use control::Request;
use tokio::{
    sync::watch,
    time::{Duration, sleep},
};

use super::{
    Desk, Door,
    panel::{Admission, Sight},
};
use crate::{control_client::Control, controllers, health::Health};

/// Says it for ever.
pub async fn run(desk: &Desk, address: &watch::Sender<Option<IpAddr>>, health: &Health, control: &Control) {
    let expired = watch::Sender::new(());
    tokio::join!(
        announce(desk, address.subscribe(), expired.subscribe(), control),
        tell(desk.news(), control),
        expire(desk, &expired, control),
        controllers::say_troubles(health, control),
    );
}

/// Nothing of maintenance is on the screen any more.
pub async fn clear(control: &Control) {
    request(control, Request::Panel(Vec::new())).await;
}

/// What an admin must know, at each of the node's addresses and for as long as it is true.
async fn announce(
    desk: &Desk,
    mut address: watch::Receiver<Option<IpAddr>>,
    mut expired: watch::Receiver<()>,
    control: &Control,
) {
    let (mut news, mut said, mut shown) = (desk.news(), String::new(), None);
    loop {
        news.mark_unchanged();
        let now = *address.borrow_and_update();
        let sight = now.map(|address| sight(desk, address));
        if let Some(sight) = sight.filter(|sight| shown.as_ref() != Some(sight)) {
            if said != sight.line() {
                said = sight.line();
                request(control, Request::Console(said.clone())).await;
            }
            request(control, Request::Panel(sight.panel())).await;
            shown = Some(sight);
        }
        let is_alive = tokio::select! {
            changed = address.changed() => changed.is_ok(),
            changed = news.changed() => changed.is_ok(),
            changed = expired.changed() => changed.is_ok(),
        };
        if !is_alive {
            return;
        }
    }
}

fn sight(desk: &Desk, address: IpAddr) -> Sight {
    let admission = match desk.door() {
        Door::Code(pairing) => match pairing.left(desk.now_ms()) {
            (0, _) | (_, 0) => Admission::Spent,
            _ => Admission::Code(pairing.code().clone()),
        },
        Door::Clients(_) => Admission::Clients,
    };
    Sight { address, fingerprint: desk.fingerprint(), admission }
}

async fn tell(mut news: watch::Receiver<String>, control: &Control) {
    while news.changed().await.is_ok() {
        let line = format!("maintenance: {}", *news.borrow_and_update());
        request(control, Request::Console(line)).await;
    }
}

async fn expire(desk: &Desk, expired: &watch::Sender<()>, control: &Control) {
    if desk.door().medium().is_some() {
        return;
    }
    sleep(Duration::from_millis(pairing::VALID_MS.saturating_sub(desk.now_ms()))).await;
    request(control, Request::Console(format!("maintenance: {}", pairing::Exhausted::Expired))).await;
    expired.send_replace(());
}

async fn request(control: &Control, request: Request) {
    if let Err(error) = control.request(request).await {
        tracing::warn!(error = &error as &dyn Error, "the console does not show what it should");
    }
}

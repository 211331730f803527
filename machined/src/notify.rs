//! Messages to PID 1's notify socket (sd_notify(3)).

use std::{os::unix::net::UnixDatagram, time::Duration};

/// When PID 1 does not say how often it wants to hear.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// Says that the internal API is served.
pub fn ready() {
    send("READY=1");
}

/// Says that the runtime is alive, for ever. A blocked runtime falls silent, and PID 1 restarts machined.
pub async fn keep_alive() {
    let mut interval = tokio::time::interval(interval());
    loop {
        interval.tick().await;
        send("WATCHDOG=1");
    }
}

fn interval() -> Duration {
    let asked =
        std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok()).map(Duration::from_micros);
    asked.map_or(DEFAULT_INTERVAL, |deadline| deadline / 3)
}

fn send(message: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to(message.as_bytes(), path));
    if let Err(error) = sent {
        tracing::warn!(%error, message, "PID 1 does not hear");
    }
}

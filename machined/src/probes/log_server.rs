//! A log server takes a connection.

use config::LogDestination;
use tokio::{net::TcpStream, time::sleep};

use super::AGAIN;

/// Waits until the server takes a connection.
pub async fn answers(server: &LogDestination) {
    while let Err(error) = TcpStream::connect((server.host.as_str(), server.port)).await {
        tracing::debug!(%server, %error, "the log server does not answer yet");
        sleep(AGAIN).await;
    }
}

//! Asking what the configuration names: whether a new release does its work, and whether the node is busy.

use std::time::Duration;

use config::Probe;
use reqwest::{Client, StatusCode, redirect};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::source::{TlsError, tls_client};

/// For one answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Between attempts.
const AGAIN: Duration = Duration::from_secs(2);

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProberError {
    /// No TLS.
    #[error("TLS")]
    Tls(#[source] TlsError),
    /// The client that speaks HTTP cannot be made.
    #[error("there is no HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Asks.
#[derive(Clone, Debug)]
pub struct Prober(Client);

impl Prober {
    /// One that trusts these CAs besides the image's, at this time in seconds since 1970.
    pub fn new(trusted: &[String], now_s: u64) -> Result<Self, ProberError> {
        let tls = tls_client(trusted, now_s).map_err(ProberError::Tls)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .timeout(WITHIN)
            .build();
        client.map(Self).map_err(ProberError::Client)
    }

    /// Waits until it answers.
    pub async fn wait(&self, probe: &Probe) {
        while !self.answers(probe).await {
            sleep(AGAIN).await;
        }
    }

    async fn answers(&self, probe: &Probe) -> bool {
        match probe {
            Probe::Tcp { host, port } => {
                let connection = TcpStream::connect((host.as_str(), *port));
                matches!(timeout(WITHIN, connection).await, Ok(Ok(_)))
            }
            Probe::Http(url) => self.status(url).await.is_some_and(|status| status.is_success()),
        }
    }

    /// The first of these URLs that answers 200.
    pub async fn first_busy<'a>(&self, urls: &'a [String]) -> Option<&'a String> {
        for url in urls {
            if self.status(url).await == Some(StatusCode::OK) {
                return Some(url);
            }
        }
        None
    }

    async fn status(&self, url: &str) -> Option<StatusCode> {
        match self.0.get(url).send().await {
            Ok(answer) => Some(answer.status()),
            Err(error) => {
                tracing::debug!(%error, "a probe is not answered");
                None
            }
        }
    }
}

//! How ntpd-rs says that it stands: on a socket, the length of a JSON text (64 bits, big endian) and the text.

use std::{io, path::Path, time::Duration};

use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::UnixStream,
    time::timeout,
};

/// The daemon answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than what it says of eight servers.
const TEXT_MAX_BYTES: u64 = 256 << 10;
/// Stratum of a clock that nobody corrects (RFC 5905).
const STRATUM_NONE: u8 = 16;

/// What it says, as far as it matters.
#[derive(Clone, Debug, Deserialize)]
pub struct Observed {
    system: System,
    /// Servers that it has found, by `host:port`.
    pub sources: Vec<Source>,
}

#[derive(Clone, Debug, Deserialize)]
struct System {
    stratum: u8,
    leap_indicator: String,
}

/// A server.
#[derive(Clone, Debug, Deserialize)]
pub struct Source {
    /// Host and port as configured.
    pub name: String,
    /// Where it was found.
    pub address: String,
    /// By how much its clock is ahead of the node's, in seconds.
    pub offset: f64,
    /// Time for a question and its answer, in seconds.
    pub delay: f64,
    /// Questions in a row without an answer.
    pub unanswered_polls: u32,
    /// Tickets of a server that has proved who it is.
    pub nts_cookies: Option<usize>,
}

impl Observed {
    /// Whether the clock is corrected.
    pub fn is_synchronized(&self) -> bool {
        let is_known = !matches!(self.system.leap_indicator.as_str(), "Unknown" | "Unsynchronized");
        self.system.stratum < STRATUM_NONE && is_known
    }

    /// Whether it is, by servers alone that have proved who they are.
    pub fn is_authenticated(&self) -> bool {
        self.is_synchronized()
            && !self.sources.is_empty()
            && self.sources.iter().all(|source| source.nts_cookies.is_some())
    }
}

/// Asks the daemon.
pub async fn look() -> io::Result<Observed> {
    let asked = timeout(PATIENCE, async {
        let stream = UnixStream::connect(Path::new(layout::path::NTP_OBSERVE)).await?;
        read(stream).await
    });
    asked.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn read(mut stream: impl AsyncRead + Unpin) -> io::Result<Observed> {
    let length = stream.read_u64().await?;
    if length > TEXT_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it says too much"));
    }
    let mut text = Vec::new();
    stream.take(length).read_to_end(&mut text).await?;
    serde_json::from_slice(&text).map_err(io::Error::from)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// What version 1.9 of the daemon says.
    const SAID: &str = r#"{"program":{"version":"1.9.0","build_commit":"-","build_commit_date":"-","uptime_seconds":9.4,
        "now":{"timestamp":17187434784215838217}},"system":{"stratum":3,"reference_id":3221225985,
        "accumulated_steps_threshold":null,"precision":3.8e-6,"root_delay":0.0005,"root_variance_base_time":{"timestamp":1},
        "root_variance_base":1e-6,"root_variance_linear":0.0,"root_variance_quadratic":0.0,"root_variance_cubic":0.0,
        "leap_indicator":"NoWarning","accumulated_steps":0.0},"sources":[{"offset":-0.0021,"uncertainty":1e-4,
        "delay":0.0004,"remote_delay":0.0,"remote_uncertainty":0.0,"last_update":{"timestamp":1},"unanswered_polls":0,
        "poll_interval":4,"nts_cookies":null,"name":"192.0.2.1:123","address":"192.0.2.1:123","id":1}],"servers":[]}"#;

    pub fn observed() -> Observed {
        serde_json::from_str(SAID).unwrap()
    }

    /// The same of a clock that nobody corrects.
    pub fn lost() -> Observed {
        let mut observed = observed();
        observed.system.stratum = STRATUM_NONE;
        observed
    }

    #[tokio::test]
    async fn what_it_says_is_read() {
        let said = [&(SAID.len() as u64).to_be_bytes(), SAID.as_bytes()].concat();
        let observed = read(said.as_slice()).await.unwrap();
        assert!(observed.is_synchronized() && !observed.is_authenticated());
        assert_eq!(observed.sources[0].name, "192.0.2.1:123");
        read(&said[..said.len() - 1]).await.unwrap_err();
        read(&u64::MAX.to_be_bytes()[..]).await.unwrap_err();
        read(&b"\0\0\0"[..]).await.unwrap_err();
    }

    #[test]
    fn only_servers_that_all_proved_who_they_are_count_as_proof() {
        let mut observed = observed();
        observed.sources[0].nts_cookies = Some(8);
        assert!(observed.is_authenticated());
        observed.sources.push(super::tests::observed().sources.remove(0));
        assert!(!observed.is_authenticated());
        observed.sources.clear();
        assert!(!observed.is_authenticated());
        observed = lost();
        observed.sources[0].nts_cookies = Some(8);
        assert!(!observed.is_authenticated());
    }

    #[test]
    fn a_clock_that_nobody_corrects_is_known_as_such() {
        assert!(!lost().is_synchronized());
        let mut observed = observed();
        observed.system.leap_indicator = "Unknown".into();
        assert!(!observed.is_synchronized());
    }
}

//! Telling PID 1 that all is well: sd_notify(3)'s protocol over a datagram socket.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::chain::Chain;

/// Names the socket; a leading `@` stands for the abstract namespace.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// Microseconds without a keep-alive after which PID 1 restarts the service.
pub const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Keeps a tiny watchdog time from becoming a busy loop.
const KEEP_ALIVE_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The socket cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to the notify socket {socket:?}")]
pub struct NotifyError {
    /// Its name.
    pub socket: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The way to PID 1; silent when nobody asked to be told.
#[derive(Debug)]
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    interval: Duration,
}

impl Supervisor {
    /// Nobody is told.
    #[must_use]
    pub fn none() -> Self {
        Self { socket: None, interval: KEEP_ALIVE_INTERVAL }
    }

    /// Reads [`NOTIFY_SOCKET`] and [`WATCHDOG_USEC`].
    ///
    /// # Errors
    /// [`NotifyError`].
    pub fn from_environment() -> Result<Self, NotifyError> {
        let watchdog_us = env::var(WATCHDOG_USEC).ok().and_then(|text| text.parse().ok());
        match env::var_os(NOTIFY_SOCKET) {
            Some(name) => Self::connect(&name, watchdog_us),
            None => Ok(Self::none()),
        }
    }

    /// Connects now: once confined, apid opens no other socket.
    ///
    /// # Errors
    /// [`NotifyError`].
    pub fn connect(name: &OsStr, watchdog_us: Option<u64>) -> Result<Self, NotifyError> {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            let address = match name.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
                _ => SocketAddr::from_pathname(name)?,
            };
            socket.connect_addr(&address)?;
            Ok(socket)
        };
        let socket = connect()
            .map_err(|source| NotifyError { socket: name.to_string_lossy().into_owned(), source })?;
        let interval = watchdog_us.map_or(KEEP_ALIVE_INTERVAL, |us| Duration::from_micros(us / 2));
        Ok(Self { socket: Some(socket), interval: interval.max(KEEP_ALIVE_INTERVAL_MIN) })
    }

    /// How often to call [`Self::keep_alive`].
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Calls are served now.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The main loop still turns.
    pub fn keep_alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::warn!(error = %Chain(&error), message, "PID 1 was not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn speaks_to_paths_and_abstract_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::connect(path.as_os_str(), Some(3_000_000)).unwrap();
        assert_eq!(supervisor.interval(), Duration::from_millis(1500));
        supervisor.ready();
        supervisor.keep_alive();
        assert_eq!((heard(&by_path), heard(&by_path)), ("READY=1".into(), "WATCHDOG=1".into()));

        let name = format!("cairn-apid-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        let supervisor = Supervisor::connect(OsStr::new(&format!("@{name}")), None).unwrap();
        assert_eq!(supervisor.interval(), KEEP_ALIVE_INTERVAL);
        supervisor.ready();
        assert_eq!(heard(&by_name), "READY=1");

        assert!(Supervisor::connect(OsStr::new("/nowhere/notify"), None).is_err());
        assert_eq!(
            Supervisor::connect(path.as_os_str(), Some(0)).unwrap().interval(),
            KEEP_ALIVE_INTERVAL_MIN
        );
    }
}

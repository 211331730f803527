//! The protocol between PID 1 and machined.
//!
//! Transport: a `SOCK_SEQPACKET` unix socket (`layout::path::INIT_CONTROL` on a node), root only. A client
//! sends one [`Request`] a packet; PID 1 answers each with one [`Response`] packet, in order. After
//! [`Request::Watch`] the connection carries only [`Response::Changed`] packets: first one for each service, then one
//! for each change. Packets are postcard-encoded
//! and at most [`PACKET_MAX_BYTES`] long.
//!
//! This crate encodes and decodes. It must never do I/O, read a clock or allocate without bound.

use serde::{Deserialize, Serialize};

/// Longest packet. The full service list with generous messages is under 8 KiB.
pub const PACKET_MAX_BYTES: usize = 32 * 1024;
/// Most arguments plus environment entries that [`Request::Configure`] may carry.
pub const PARAMETERS_MAX: usize = 128;

/// Name of a service in PID 1's table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceName(pub String);

/// What a client asks of PID 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// All services; answered by [`Response::Services`].
    List,
    /// Run the service, and keep it running. Clears a spent restart budget.
    Start(ServiceName),
    /// Stop the service and leave it stopped. Essential services refuse.
    Stop(ServiceName),
    /// Stop, then start. For containerd and the kubelet only the main process: pods stay.
    Restart(ServiceName),
    /// Replace arguments and environment for the next start. Unknown services are refused.
    Configure {
        /// Which service.
        name: ServiceName,
        /// Arguments after the program's own name.
        arguments: Vec<String>,
        /// Environment, added to the table's.
        environment: Vec<(String, String)>,
    },
    /// Begin an ordered stop of the machine.
    Power(PowerAction),
    /// Turns the connection into a stream of [`Response::Changed`]; there is no other answer.
    Watch,
    /// One line for the console, e.g. address and fingerprint. Control characters are replaced.
    Console(String),
    /// Lines that stay on the console, in place of the services, until others come; none ends it. They are written to
    /// no log. Control characters are replaced.
    Panel(Vec<String>),
}

/// How the machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerAction {
    /// Reboot through the firmware.
    Reboot,
    /// Power off.
    PowerOff,
}

/// What PID 1 answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// Done, or begun.
    Ok,
    /// Refused.
    Error(ControlError),
    /// Answer to [`Request::List`].
    Services(Vec<ServiceStatus>),
    /// A service changed (watch).
    Changed(ServiceStatus),
}

/// Why PID 1 refuses a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ControlError {
    /// No such service.
    #[error("no service named {name:?}")]
    UnknownService {
        /// As asked for.
        name: String,
    },
    /// Essential services cannot be stopped.
    #[error("{name} is essential and cannot be stopped; restart it or reboot the node")]
    Essential {
        /// Which service.
        name: String,
    },
    /// The machine is going down.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The packet could not be decoded.
    #[error("malformed request")]
    Malformed,
    /// More than [`PARAMETERS_MAX`] arguments and environment entries.
    #[error("more than {PARAMETERS_MAX} arguments and environment entries")]
    TooManyParameters,
}

/// State of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServiceState {
    /// Not asked to run.
    Stopped,
    /// Waits for what it depends on.
    Waiting,
    /// Started, not ready yet.
    Starting,
    /// Ready.
    Running,
    /// Ended; will be started again after its back-off.
    Backoff,
    /// Being stopped.
    Stopping,
    /// Restart budget spent; stays down until started by hand.
    Failed,
}

/// A service as PID 1 sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Name in PID 1's table.
    pub name: ServiceName,
    /// Present state.
    pub state: ServiceState,
    /// Main process, while there is one.
    pub pid: Option<u32>,
    /// Starts after the first in this boot.
    pub restarts: u32,
    /// How the last run ended, such as "exit status 1" or "killed by SIGKILL"; empty when it never ended.
    pub last_exit: String,
    /// Milliseconds of CLOCK_BOOTTIME at the last change of state.
    pub since_boottime_ms: u64,
    /// Whether a spent restart budget reboots the machine.
    pub essential: bool,
    /// Cgroup path below the root, such as "/system/apid".
    pub cgroup: String,
}

/// A packet that does not decode, or is too long.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// Not a message of this protocol.
    #[error("packet does not decode")]
    Decode(#[source] postcard::Error),
    /// Cannot be encoded.
    #[error("message does not encode")]
    Encode(#[source] postcard::Error),
    /// Longer than [`PACKET_MAX_BYTES`].
    #[error("message of {bytes} bytes is longer than {PACKET_MAX_BYTES}")]
    TooLong {
        /// Encoded length.
        bytes: usize,
    },
}

/// Encodes a message into one packet.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, PacketError> {
    let packet = postcard::to_stdvec(message).map_err(PacketError::Encode)?;
    if packet.len() > PACKET_MAX_BYTES {
        return Err(PacketError::TooLong { bytes: packet.len() });
    }
    Ok(packet)
}

/// Decodes one packet.
pub fn decode<'a, T: Deserialize<'a>>(packet: &'a [u8]) -> Result<T, PacketError> {
    if packet.len() > PACKET_MAX_BYTES {
        return Err(PacketError::TooLong { bytes: packet.len() });
    }
    postcard::from_bytes(packet).map_err(PacketError::Decode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        let request = Request::Configure {
            name: ServiceName("kubelet".into()),
            arguments: vec!["--config=/run/x".into()],
            environment: vec![("GOGC".into(), "50".into())],
        };
        assert_eq!(decode::<Request>(&encode(&request).unwrap()).unwrap(), request);
    }

    #[test]
    fn garbage_and_oversize_are_errors() {
        assert!(matches!(decode::<Request>(&[0xff; 16]), Err(PacketError::Decode(_))));
        assert!(matches!(
            decode::<Request>(&vec![0; PACKET_MAX_BYTES + 1]),
            Err(PacketError::TooLong { .. })
        ));
        let long = Request::Console("x".repeat(PACKET_MAX_BYTES));
        assert!(matches!(encode(&long), Err(PacketError::TooLong { .. })));
    }
}

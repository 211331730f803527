//! From an error of the network, TLS or gRPC to what a user can do about it.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError};
use tonic::{Code, Status};

use pki::node::ServerRefusal;

use super::dial::{DialError, tls_error};
use super::tls::Distrust;
use crate::exit::Exit;
use crate::failure::Failure;

const IS_IT_ON: &str = "is the node on, and is its address still this one? its console shows the address; another can be given with -n";
const NEW_CERTIFICATE: &str = "mint a new one with `osctl gen client`";

/// A cause for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Exit code.
    pub exit: Exit,
    /// Why it failed.
    pub why: String,
    /// What to do.
    pub hint: String,
}

impl Fault {
    fn new(exit: Exit, why: impl Into<String>, hint: impl Into<String>) -> Fault {
        Fault { exit, why: why.into(), hint: hint.into() }
    }

    /// The failure of `what` for this cause.
    pub fn fail(self, what: impl Into<String>) -> Failure {
        let failure = Failure::new(self.exit, what).why(self.why);
        if self.hint.is_empty() { failure } else { failure.hint(self.hint) }
    }
}

/// Why there is no connection.
pub fn of_dial(error: &DialError) -> Fault {
    match error {
        DialError::Resolve(error) => Fault::new(
            Exit::Unreachable,
            format!("the name does not resolve: {}", plain(error)),
            "correct the name, or give an IP address with -n",
        ),
        DialError::Connect(error) => Fault::new(Exit::Unreachable, connect_reason(error), IS_IT_ON),
        DialError::Timeout { limit } => Fault::new(
            Exit::Unreachable,
            format!("no answer within {} s", limit.as_secs()),
            format!("{IS_IT_ON}; wait longer with --timeout"),
        ),
        DialError::Handshake(error) => match tls_error(error) {
            Some(error) => of_tls(error),
            None => Fault::new(
                Exit::Unreachable,
                format!("the connection broke while it was secured: {}", plain(error)),
                "if the node is starting or busy, try again; else something else may listen at this address",
            ),
        },
    }
}

fn connect_reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            "connection refused: the machine is on, but nothing listens there".into()
        }
        ErrorKind::HostUnreachable => "no route to the host: nobody answers at this address".into(),
        ErrorKind::NetworkUnreachable => "the network is unreachable from here".into(),
        ErrorKind::TimedOut => "no answer".into(),
        _ => plain(error),
    }
}

/// The system's words without Rust's "(os error 111)".
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}

fn of_tls(error: &rustls::Error) -> Fault {
    match error {
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => match other.0.downcast_ref() {
            Some(distrust) => of_distrust(distrust),
            None => not_a_node(error),
        },
        _ => not_a_node(error),
    }
}

fn not_a_node(error: &rustls::Error) -> Fault {
    Fault::new(
        Exit::Denied,
        format!("what answers does not speak the node's TLS 1.3: {error}"),
        "check address and port; the API listens on 50000",
    )
}

fn of_distrust(distrust: &Distrust) -> Fault {
    let (why, hint) = match distrust {
        Distrust::Certificate(ServerRefusal::UnknownIssuer) => (
            "its certificate is not signed by the CA of this context".to_owned(),
            "the node is not adopted yet (`osctl adopt`), belongs to another fleet, or this is not the node",
        ),
        Distrust::Certificate(ServerRefusal::WrongName) => (
            "another node of the fleet answers at this address".to_owned(),
            "addresses move: find the right one on the node's console and give it with -n, or choose the other context with -c",
        ),
        Distrust::Certificate(_) | Distrust::Malformed => {
            (distrust.to_string(), "this is not the node, or it must be adopted again: `osctl adopt`")
        }
        Distrust::Fingerprint { seen } => (
            format!("its key has the fingerprint {seen}, not the one that was given"),
            "compare with the node's console: a typing error, another node, or someone in between",
        ),
    };
    Fault::new(Exit::Denied, why, hint)
}

/// Why the node refused the client.
fn of_alert(alert: AlertDescription) -> Fault {
    let (why, hint) = match alert {
        AlertDescription::CertificateExpired => {
            ("the node refuses the client certificate: it has expired".to_owned(), NEW_CERTIFICATE)
        }
        AlertDescription::CertificateRevoked => {
            ("the node refuses the client certificate: it is revoked".to_owned(), NEW_CERTIFICATE)
        }
        // A CA of the same name with another key makes some nodes say DecryptError.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => (
            "the node refuses the client certificate: it does not know its CA".to_owned(),
            "use a certificate made with the secrets bundle whose CA the node was configured with",
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRequired
        | AlertDescription::AccessDenied => {
            (format!("the node refuses the client certificate ({alert:?})"), NEW_CERTIFICATE)
        }
        _ => (
            format!("the node refused the connection ({alert:?})"),
            "check that osctl and the node fit: `osctl version`",
        ),
    };
    Fault::new(Exit::Denied, why, hint)
}

/// Why a call failed; `refusal` is the alert with which the node ended the connection, if it did.
pub fn of_status(status: &Status, refusal: Option<AlertDescription>) -> Fault {
    // Only errors made on this side have a source: those that the node sends are plain codes and messages.
    if status.source().is_some() {
        return refusal.map_or_else(
            || {
                Fault::new(
                    Exit::Unreachable,
                    "the connection to the node was lost",
                    "try again; the node may be rebooting",
                )
            },
            of_alert,
        );
    }
    let message = if status.message().is_empty() { status.code().description() } else { status.message() };
    let (exit, hint) = match status.code() {
        Code::PermissionDenied => {
            (Exit::Denied, "use a context with that role (-c), or mint one with `osctl gen client --role`")
        }
        Code::Unauthenticated => (Exit::Denied, NEW_CERTIFICATE),
        Code::NotFound => (Exit::NotFound, ""),
        Code::Unavailable | Code::DeadlineExceeded => (Exit::Unreachable, "try again in a moment"),
        Code::ResourceExhausted => {
            (Exit::Error, "the node limits how much is asked of it; try again in a moment")
        }
        Code::Unimplemented => {
            (Exit::Error, "the node's release is older than this osctl; compare with `osctl version`")
        }
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss => (Exit::Error, ""),
    };
    Fault::new(exit, message, hint)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;

    use super::*;

    fn connect(kind: ErrorKind) -> Fault {
        of_dial(&DialError::Connect(io::Error::from(kind)))
    }

    fn distrust(distrust: Distrust) -> Fault {
        let error =
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(distrust))));
        of_dial(&DialError::Handshake(io::Error::new(ErrorKind::InvalidData, error)))
    }

    #[test]
    fn an_absent_node_is_unreachable_and_says_how() {
        for (kind, word) in [
            (ErrorKind::ConnectionRefused, "refused"),
            (ErrorKind::HostUnreachable, "no route"),
            (ErrorKind::NetworkUnreachable, "network"),
        ] {
            let fault = connect(kind);
            assert_eq!(fault.exit, Exit::Unreachable);
            assert!(fault.why.contains(word) && fault.hint.contains("-n"), "{fault:?}");
        }
        let fault = of_dial(&DialError::Timeout { limit: std::time::Duration::from_secs(15) });
        assert!(fault.why.contains("15 s") && fault.hint.contains("--timeout"), "{fault:?}");
        let fault = of_dial(&DialError::Resolve(io::Error::other("failed to lookup address information")));
        assert!(fault.why.starts_with("the name does not resolve"), "{fault:?}");
    }

    #[test]
    fn system_errors_lose_their_numbers() {
        assert!(!plain(&io::Error::from_raw_os_error(104)).contains("os error"));
    }

    #[test]
    fn a_stranger_is_denied_by_osctl() {
        let fault = distrust(Distrust::Certificate(ServerRefusal::UnknownIssuer));
        assert_eq!(fault.exit, Exit::Denied);
        assert!(fault.hint.contains("osctl adopt"));
        assert!(distrust(Distrust::Certificate(ServerRefusal::WrongName)).why.contains("another node"));
        let seen = "ab".repeat(32);
        assert!(distrust(Distrust::Fingerprint { seen: seen.clone() }).why.contains(&seen));
    }

    #[test]
    fn alerts_name_the_remedy() {
        let fault = of_alert(AlertDescription::CertificateExpired);
        assert_eq!(
            (fault.exit, fault.hint.as_str()),
            (Exit::Denied, "mint a new one with `osctl gen client`")
        );
        assert!(of_alert(AlertDescription::UnknownCA).why.contains("does not know its CA"));
    }

    #[test]
    fn statuses_map_to_exit_codes() {
        for (code, exit) in [
            (Code::PermissionDenied, Exit::Denied),
            (Code::Unauthenticated, Exit::Denied),
            (Code::NotFound, Exit::NotFound),
            (Code::Unavailable, Exit::Unreachable),
            (Code::DeadlineExceeded, Exit::Unreachable),
            (Code::FailedPrecondition, Exit::Error),
            (Code::Internal, Exit::Error),
        ] {
            let fault = of_status(&Status::new(code, "because"), None);
            assert_eq!((fault.exit, fault.why.as_str()), (exit, "because"), "{code:?}");
        }
        assert!(!of_status(&Status::new(Code::Internal, ""), None).why.is_empty());
    }

    #[test]
    fn a_broken_connection_is_told_from_a_refusal() {
        let broken = || Status::from_error(Box::new(io::Error::from(ErrorKind::ConnectionReset)));
        assert_eq!(of_status(&broken(), None).exit, Exit::Unreachable);
        assert_eq!(of_status(&broken(), Some(AlertDescription::UnknownCA)).exit, Exit::Denied);
    }
}

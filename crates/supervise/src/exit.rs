//! How a run of a service ended.

use std::fmt;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It returned this status.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
}

/// Why the supervisor ended a service, or never got it going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No process could be made.
    Spawn,
    /// Not ready by its start deadline.
    StartDeadline,
    /// No sign of life within its keep-alive interval.
    KeepAlive,
}

/// The end of the latest run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastExit {
    /// What the supervisor held against it; `None` when it ended by itself or when asked to.
    pub fault: Option<Fault>,
    /// How the process ended; `None` when there was none.
    pub status: Option<ExitStatus>,
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(number) => match signal_name(number) {
                Some(name) => write!(f, "killed by {name}"),
                None => write!(f, "killed by signal {number}"),
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spawn => "no process could be made",
            Self::StartDeadline => "not ready in time",
            Self::KeepAlive => "no keep-alive in time",
        })
    }
}

impl fmt::Display for LastExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.fault, self.status) {
            (Some(fault), Some(status)) => write!(f, "{fault}, {status}"),
            (Some(fault), None) => fault.fmt(f),
            (None, Some(status)) => status.fmt(f),
            (None, None) => Ok(()),
        }
    }
}

/// Names of the signals that end services in practice (signal(7), the numbers shared by x86-64 and arm64).
fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_reads_well() {
        let text = |fault, status| LastExit { fault, status }.to_string();
        assert_eq!(text(None, Some(ExitStatus::Code(1))), "exit status 1");
        assert_eq!(text(None, Some(ExitStatus::Signal(9))), "killed by SIGKILL");
        assert_eq!(text(None, Some(ExitStatus::Signal(40))), "killed by signal 40");
        assert_eq!(
            text(Some(Fault::KeepAlive), Some(ExitStatus::Signal(15))),
            "no keep-alive in time, killed by SIGTERM"
        );
        assert_eq!(text(Some(Fault::Spawn), None), "no process could be made");
    }
}

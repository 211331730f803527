//! Exit codes: part of the interface, so they never change meaning.

use std::process::ExitCode;

/// How osctl ends. `docs/osctl.md` and `--help` list the same table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed for a reason without a code of its own.
    Error = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The node did not answer.
    Unreachable = 3,
    /// The node answered and is not healthy.
    Unhealthy = 4,
    /// A certificate or a role was refused, by the node or by osctl.
    Denied = 5,
    /// What was named does not exist.
    NotFound = 6,
    /// The node took a change of its configuration, or a release, back.
    Reverted = 7,
}

impl Exit {
    /// The one with this code.
    pub fn of_code(code: u8) -> Option<Exit> {
        let all = [
            Exit::Ok,
            Exit::Error,
            Exit::Usage,
            Exit::Unreachable,
            Exit::Unhealthy,
            Exit::Denied,
            Exit::NotFound,
            Exit::Reverted,
        ];
        all.into_iter().find(|exit| *exit as u8 == code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// The table that `--help` ends with.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong command line
  3  the node cannot be reached
  4  the node is not healthy
  5  a certificate or a role was refused
  6  no such context, kind, resource, service, pod or file
  7  the node took a change of its configuration, or a release, back";

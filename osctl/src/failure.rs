//! What a user sees when a command fails: what failed, why, and what to do next.

use std::fmt::{self, Display, Write as _};
use std::io;

use crate::exit::Exit;

/// Why a command ended without success.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    what: String,
    why: Option<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure: `what` completes the sentence "error: …".
    pub fn new(exit: Exit, what: impl Into<String>) -> Failure {
        Failure { exit, what: what.into(), why: None, hint: None }
    }

    /// A failure without an exit code of its own.
    pub fn error(what: impl Into<String>) -> Failure {
        Failure::new(Exit::Error, what)
    }

    /// A wrong command line that the argument parser cannot see.
    pub fn usage(what: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, what)
    }

    /// Standard output could not be written. A reader that went away (`osctl get pods | head -1`) is no failure.
    pub fn output(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(Exit::Ok),
            _ => Failure::error("cannot write the output").why(error),
        }
    }

    /// An exit code with nothing more to say: the output already told it.
    pub fn silent(exit: Exit) -> Failure {
        Failure::new(exit, "")
    }

    /// Adds the cause.
    pub fn why(mut self, why: impl Display) -> Failure {
        self.why = Some(why.to_string());
        self
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The text for standard error; empty when there is nothing to say.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if !self.what.is_empty() {
            text = format!("error: {self}\n");
        }
        if let Some(hint) = &self.hint {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

/// An error with all its causes, for people.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_why_and_what_to_do() {
        let failure =
            Failure::new(Exit::Unreachable, "cannot reach edge-1").why("timed out").hint("is it on?");
        assert_eq!(failure.render(), "error: cannot reach edge-1: timed out\nhint: is it on?\n");
        assert_eq!(failure.exit(), Exit::Unreachable);
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_success() {
        let failure = Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.render().as_str(), failure.exit()), ("", Exit::Ok));
        let full = Failure::output(&io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.exit(), Exit::Error);
        assert!(full.render().starts_with("error: cannot write the output: "));
    }
}

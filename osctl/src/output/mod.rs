//! What goes to standard output: tables for people, JSON and YAML for programs.

mod table;
mod voice;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::failure::Failure;

pub use table::{Table, printable};
pub use voice::{Speech, Voice};

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns; may change between releases.
    Table,
    /// JSON; stable.
    Json,
    /// YAML; the same content as JSON.
    Yaml,
}

/// Prints a value in the format that was asked for; `text` makes the form for people.
pub fn print<T: Serialize>(
    format: Option<Format>,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    write(render(format.unwrap_or(Format::Table), value, text)?.as_bytes())
}

/// Prints one value of a stream: JSON on a line of its own, YAML as a document of its own.
pub fn print_item<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let rendered = match format {
        Format::Table => text(value),
        Format::Json | Format::Yaml => item(format, value)?,
    };
    write(rendered.as_bytes())
}

fn item<T: Serialize>(format: Format, value: &T) -> Result<String, Failure> {
    match format {
        Format::Yaml => Ok(format!("---\n{}", yaml(value)?)),
        Format::Json | Format::Table => {
            Ok(serde_json::to_string(value).map_err(|error| unprintable(&error))? + "\n")
        }
    }
}

fn render<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<String, Failure> {
    match format {
        Format::Table => Ok(text(value)),
        Format::Json => Ok(serde_json::to_string_pretty(value).map_err(|error| unprintable(&error))? + "\n"),
        Format::Yaml => yaml(value),
    }
}

/// A value as YAML.
pub fn yaml<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_saphyr::to_string(value).map_err(|error| unprintable(&error))
}

fn unprintable(error: &dyn std::error::Error) -> Failure {
    Failure::error("cannot encode the output").why(error)
}

/// Writes to standard output at once, or where the output of one of several nodes goes.
pub fn write(bytes: &[u8]) -> Result<(), Failure> {
    match Voice::current() {
        Some(voice) => voice.data(bytes),
        None => to_stdout(bytes),
    }
}

/// What comes before something that is shown anew: it takes the place of what was there, on terminals only.
pub fn new_page() -> &'static str {
    if io::stdout().is_terminal() && !is_one_of_several() { "\x1b[H\x1b[2J" } else { "" }
}

/// Whether several nodes are asked at once, so that nobody can be asked back and standard input is nobody's.
pub fn is_one_of_several() -> bool {
    Voice::current().is_some()
}

fn to_stdout(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Tells the user something that is not data.
pub fn note(text: &str) {
    match Voice::current() {
        Some(voice) => voice.note(text),
        None => to_stderr(&format!("{text}\n")),
    }
}

fn to_stderr(text: &str) {
    // A closed standard error must not change what a command does.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Warns the user, once about each thing however often it is met.
pub fn warn(text: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned()) {
        note(&format!("warning: {text}"));
    }
}

/// A line on standard error that shows how far a command is, on terminals only.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
}

impl Progress {
    /// Progress for this process.
    pub fn new() -> Progress {
        Progress { terminal: io::stderr().is_terminal() && !is_one_of_several() }
    }

    /// Replaces the line.
    pub fn show(&self, text: &str) {
        const CLEAR: &str = "\r\x1b[2K";
        if self.terminal {
            let _ = write!(io::stderr(), "{CLEAR}{}", table::printable(text));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show("");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn formats_hold_the_same_content() {
        let value = json!({"healthy": false, "conditions": [{"name": "network", "message": "yes: no\n", "since": null}]});
        let json = render(Format::Json, &value, |_| String::new()).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
        let yaml = render(Format::Yaml, &value, |_| String::new()).unwrap();
        assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&yaml).unwrap(), value);
        assert_eq!(render(Format::Table, &value, |_| "text".into()).unwrap(), "text");
    }
}

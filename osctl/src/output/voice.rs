//! Where output goes while several nodes are asked at once: each node's lines under its name.
//!
//! A command does not know of it. [`Voice::during`] lends a voice to its future, and what that prints goes there.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use serde_json::Value;

use super::{Format, table, to_stderr, to_stdout};
use crate::failure::Failure;

tokio::task_local! {
    static VOICE: Rc<Voice>;
}

/// How a command speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// It prints one value.
    Once,
    /// It prints values one after the other, a line each as JSON, and ends.
    Series,
    /// The same, but it has no end to wait for: lines are printed as they come.
    Stream,
    /// For another command's use: nothing is printed.
    Kept,
}

/// What one of several nodes has to say.
#[derive(Debug)]
pub struct Voice {
    /// In front of its lines, padded to the width of the longest name.
    label: String,
    context: String,
    format: Format,
    how: Speech,
    /// Data that was not printed yet.
    said: RefCell<Vec<u8>>,
}

impl Voice {
    /// For the node of a context; labels are `width` columns wide.
    pub fn new(context: &str, width: usize, format: Format, how: Speech) -> Voice {
        let label = format!("{:width$}  ", table::printable(context));
        Voice { label, context: context.to_owned(), format, how, said: RefCell::default() }
    }

    /// Runs `work`; its output goes here.
    pub async fn during<F: Future>(self: &Rc<Self>, work: F) -> F::Output {
        VOICE.scope(Rc::clone(self), work).await
    }

    /// The one whose future runs now.
    pub(super) fn current() -> Option<Rc<Voice>> {
        VOICE.try_with(Rc::clone).ok()
    }

    /// Takes data; whole lines of a command that lasts are printed.
    pub(super) fn data(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut said = self.said.borrow_mut();
        said.extend_from_slice(bytes);
        if !self.streams() {
            return Ok(());
        }
        let end = said.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines: Vec<u8> = said.drain(..end).collect();
        self.print(&lines)
    }

    /// Whether its lines are printed as they come, so that there is no document at the end.
    pub fn streams(&self) -> bool {
        self.how == Speech::Stream
    }

    /// All data, as it was printed.
    pub fn take(&self) -> Vec<u8> {
        self.said.take()
    }

    /// Tells the user something that is not data.
    pub(super) fn note(&self, text: &str) {
        if self.how == Speech::Kept {
            return;
        }
        let lines: String = text.lines().map(|line| format!("{}{line}\n", self.label)).collect();
        to_stderr(&lines);
    }

    /// What is left when the command has ended: for a table it is printed, else returned.
    pub fn end(&self) -> Result<Option<Value>, Failure> {
        let said = self.said.take();
        if self.format == Format::Table || self.streams() {
            return self.print(&said).map(|()| None);
        }
        Ok((!said.is_empty()).then(|| if self.how == Speech::Series { series(&said) } else { value(&said) }))
    }

    fn print(&self, lines: &[u8]) -> Result<(), Failure> {
        let mut text = String::new();
        for line in String::from_utf8_lossy(lines).lines() {
            text.push_str(&match self.format {
                Format::Table => format!("{}{line}\n", self.label),
                format => super::item(
                    format,
                    &serde_json::json!({"context": self.context, "output": value(line.as_bytes())}),
                )?,
            });
        }
        to_stdout(text.as_bytes())
    }
}

/// JSON as it is, other text as a string.
fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_else(|_| String::from_utf8_lossy(text).into())
}

/// A list of each line's value.
fn series(text: &[u8]) -> Value {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_a_string() {
        assert_eq!(value(b"{\"a\": 1}\n"), serde_json::json!({"a": 1}));
        assert_eq!(series(b"{\"a\": 1}\n{\"a\": 2}\n"), serde_json::json!([{"a": 1}, {"a": 2}]));
        assert_eq!(series(b"{\"a\": 1}\n"), serde_json::json!([{"a": 1}]));
        assert_eq!(value(b"kind: Machine\n"), serde_json::json!("kind: Machine\n"));
    }

    #[tokio::test]
    async fn output_is_kept_until_the_end_and_only_within() {
        let voice = Rc::new(Voice::new("edge-1", 6, Format::Json, Speech::Once));
        voice
            .during(async {
                super::super::write(b"{\"healthy\":").unwrap();
                super::super::write(b"true}\n").unwrap();
            })
            .await;
        assert!(Voice::current().is_none());
        assert_eq!(voice.end().unwrap(), Some(serde_json::json!({"healthy": true})));
        assert_eq!(voice.end().unwrap(), None);
    }
}

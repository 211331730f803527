//! One command on several nodes at once: `-c edge-1,edge-2`, `-c @group`, `-c @all`.
//!
//! The nodes are independent: a slow or a dead one holds up no other, and what each said stands under its name.

use std::rc::Rc;

use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;
use serde_json::Value;

use super::{Session, one};
use crate::cli::{Command, Global};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, Speech, Voice, note};

/// Nodes that are asked at the same time: enough to hide a slow uplink, few enough for the open files of a laptop.
pub const AT_ONCE: usize = 16;

/// What one node said.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    context: String,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answers {
    items: Vec<Answer>,
}

/// The contexts that `-c` names, if those are several.
pub fn chosen(session: &Session, command: &Command) -> Result<Option<Vec<String>>, Failure> {
    let Some(words) = session.global.context.as_deref().filter(|_| command.is_for_nodes()) else {
        return Ok(None);
    };
    let contexts = session.contexts()?.load()?;
    let Some(names) = contexts.several(words)? else { return Ok(None) };
    if !command.may_have_several() {
        return Err(Failure::usage(format!("this command takes one node at a time, not {words}")));
    }
    if !session.global.endpoints.is_empty() {
        return Err(Failure::usage("-n gives the address of one node, but -c names several"));
    }
    Ok(Some(names))
}

/// Runs the command on each of them.
pub async fn run(session: &Session, command: Command, names: Vec<String>) -> Result<(), Failure> {
    let format = session.format().unwrap_or(Format::Table);
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let (how, count) = (command.speech(), names.len());
    let at_once = session.global.parallel.map_or(AT_ONCE, std::num::NonZero::get);
    let asked = names.into_iter().map(|name| {
        let voice = Rc::new(Voice::new(&name, width, format, how));
        ask(session.global.clone(), command.clone(), name, voice, format)
    });
    let mut answering = stream::iter(asked).buffer_unordered(at_once);
    let mut answers = Vec::new();
    while let Some(answer) = answering.next().await {
        answers.push(answer?);
    }
    answers.sort_by(|a, b| a.context.cmp(&b.context));
    let failed: Vec<_> = answers.iter().filter(|answer| answer.exit_code != Exit::Ok as u8).collect();
    let names: Vec<_> = failed.iter().map(|answer| answer.context.as_str()).collect();
    let summary = format!("{} of {count}: {}", names.len(), names.join(", "));
    let exit = common(failed.iter().map(|answer| answer.exit_code));
    if format != Format::Table && how != Speech::Stream {
        output::print(Some(format), &Answers { items: answers }, |_| String::new())?;
    }
    match exit {
        None => Ok(()),
        Some(exit) => Err(Failure::new(exit, "nodes failed").why(summary)),
    }
}

/// Asks one. The error is this computer's: its standard output is gone.
async fn ask(
    mut global: Global,
    command: Command,
    name: String,
    voice: Rc<Voice>,
    format: Format,
) -> Result<Answer, Failure> {
    global.context = Some(name.clone());
    // What the node said is put together as JSON and printed as what was asked for.
    if format == Format::Yaml {
        global.print_json();
    }
    let result = voice.during(one(&Session { global }, command)).await;
    let output = voice.end()?;
    let Err(failure) = result else {
        return Ok(Answer { context: name, exit_code: Exit::Ok as u8, output, error: None });
    };
    let text = failure.render();
    // Otherwise it is in the document at the end.
    let is_said_now = format == Format::Table || voice.streams();
    if is_said_now && !text.is_empty() {
        voice.during(async { note(text.trim_end()) }).await;
    }
    let error = Some(failure.to_string()).filter(|text| !text.is_empty());
    Ok(Answer { context: name, exit_code: failure.exit() as u8, output, error })
}

/// The code that all failures share, else that of failures without one of their own.
fn common(mut codes: impl Iterator<Item = u8>) -> Option<Exit> {
    let first = codes.next()?;
    let is_shared = codes.all(|code| code == first);
    Some(Exit::of_code(first).filter(|_| is_shared).unwrap_or(Exit::Error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_one_that_all_failures_share() {
        assert_eq!(common([].into_iter()), None);
        assert_eq!(common([3, 3].into_iter()), Some(Exit::Unreachable));
        assert_eq!(common([3, 4].into_iter()), Some(Exit::Error));
        assert_eq!(common([200].into_iter()), Some(Exit::Error));
    }
}

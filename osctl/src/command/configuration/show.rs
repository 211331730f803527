//! `osctl get config`, `osctl diff config`, `osctl validate`

use std::path::PathBuf;

use proto::config::v1::{Change, GetRequest, PlanRequest, change::Content};
use serde::Serialize;

use super::change::generations;
use super::read;
use crate::cli::configuration::Diff;
use crate::command::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::Node;
use crate::output;

#[derive(Serialize)]
struct Shown {
    generation: u64,
    text: String,
}

/// `osctl get config`
pub async fn show(session: &Session, generation: Option<u64>, effective: bool) -> Result<(), Failure> {
    let shown = get(&session.connect().await?, generation, effective).await?;
    output::print(session.format(), &shown, |shown| shown.text.clone())
}

async fn get(node: &Node, generation: Option<u64>, effective: bool) -> Result<Shown, Failure> {
    let request = GetRequest { generation: generation.unwrap_or(0), effective };
    let got = node.call("cannot get the configuration", node.config().get(request)).await?;
    Ok(Shown { generation: got.generation, text: got.text })
}

/// The text of the configuration that runs, and its generation.
pub async fn running(node: &Node) -> Result<(u64, String), Failure> {
    let shown = get(node, None, false).await?;
    Ok((shown.generation, shown.text))
}

/// `osctl diff config`
pub async fn diff(session: &Session, arguments: &Diff) -> Result<(), Failure> {
    let content = match (&arguments.file, arguments.generation) {
        (Some(file), _) => Content::Text(read(file)?),
        (None, Some(generation)) => Content::RollbackTo(generation),
        (None, None) => return Err(Failure::usage("say with what: -f FILE or --generation N")),
    };
    let node = session.connect().await?;
    let base_generation = generations(&node).await?.base_generation;
    let change = Some(Change { content: Some(content), ..Change::default() });
    let request = PlanRequest { change, base_generation };
    let planned = node.call("cannot compare the configurations", node.config().plan(request)).await?;
    output::write(planned.diff.as_bytes())
}

/// `osctl validate`
pub fn validate(files: &[PathBuf]) -> Result<(), Failure> {
    let mut wrong = 0;
    for path in files {
        match config::parse(&read(path)?) {
            Ok(_) => output::write(format!("{}: good\n", path.display()).as_bytes())?,
            Err(errors) => {
                wrong += 1;
                output::note(&format!("{}:\n{errors}", path.display()));
            }
        }
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(Failure::new(
            Exit::Error,
            format!("{wrong} of {} configurations would be refused", files.len()),
        )),
    }
}

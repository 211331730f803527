//! `osctl edit config`

use std::env;
use std::fs;
use std::process::Command;

use proto::config::v1::change::Content;

use super::change::make;
use super::show::running;
use crate::cli::configuration::Edit;
use crate::command::Session;
use crate::failure::Failure;
use crate::output::note;

const HEADING: &str = "\
# The machine configuration of this node. Lines that begin with this sign are yours to keep or to remove.
# Secrets read <redacted>: leave them so to keep them. Save an unchanged file to change nothing.
";

/// Opens the configuration in the user's editor and applies what was saved. A text that the node refuses is kept.
pub async fn edit(session: &Session, arguments: &Edit) -> Result<(), Failure> {
    let (_, text) = running(&session.connect().await?).await?;
    let before = format!("{HEADING}{text}");
    let file = tempfile::Builder::new()
        .prefix("osctl-config-")
        .suffix(".yaml")
        .tempfile()
        .map_err(|error| Failure::error("cannot make a temporary file").why(error))?;
    fs::write(file.path(), &before)
        .map_err(|error| Failure::error(format!("cannot write {}", file.path().display())).why(error))?;
    open(file.path())?;
    let after = fs::read_to_string(file.path())
        .map_err(|error| Failure::error(format!("cannot read {}", file.path().display())).why(error))?;
    if after == before {
        note("nothing was changed");
        return Ok(());
    }
    let content = Content::Text(after.strip_prefix(HEADING).unwrap_or(&after).to_owned());
    make(session, content, &arguments.how).await.map_err(|failure| match file.keep() {
        Ok((_, path)) => failure.hint(format!("your text is kept in {}", path.display())),
        Err(error) => failure.hint(format!("your text could not be kept: {error}")),
    })
}

fn open(path: &std::path::Path) -> Result<(), Failure> {
    let editor = env::var("VISUAL").or_else(|_| env::var("EDITOR")).unwrap_or_else(|_| "vi".into());
    let cannot = || Failure::error(format!("cannot run the editor {editor:?}")).hint("set $EDITOR");
    // As a user writes it in $EDITOR: a program and its options.
    let mut words = editor.split_whitespace();
    let program = words.next().ok_or_else(cannot)?;
    let status = Command::new(program).args(words).arg(path).status().map_err(|error| cannot().why(error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::error(format!("{editor} ended with {status}: nothing was changed")))
    }
}

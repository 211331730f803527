//! `osctl reset`

use std::io::{BufRead as _, IsTerminal as _};

use prost::Message as _;
use proto::config::v1::{ResetBody, ResetRequest};
use serde::Serialize;

use super::base;
use super::change::generations;
use crate::cli::configuration::Reset;
use crate::command::{Session, sign::sign};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{self, note};

const RESET: &str = "/cairn.config.v1.ConfigService/Reset";

#[derive(Serialize)]
struct Begun {
    node: String,
    wiped_data: bool,
}

/// Wipes the node's keys and configuration, once the user has typed the node's name.
pub async fn reset(session: &Session, arguments: &Reset) -> Result<(), Failure> {
    let target = session.target()?;
    if !arguments.yes {
        ask(&target.name, arguments.wipe_data)?;
    }
    let node = Node::connect(&target).await?;
    let base = base(&generations(&node).await?)?;
    let body = ResetBody { wipe_data: arguments.wipe_data };
    let request = sign(&target, RESET, base, body.encode_to_vec())?;
    let request = ResetRequest { request: Some(request) };
    node.call("cannot reset", node.config().reset(request)).await?;
    let begun = Begun { node: target.name, wiped_data: arguments.wipe_data };
    output::print(session.format(), &begun, |begun| {
        format!(
            "{} restarts without keys and configuration; remove its context with `osctl config remove`\n",
            begun.node
        )
    })
}

fn ask(name: &str, wipe_data: bool) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("reset asks for the node's name; without a terminal give --yes"));
    }
    let what =
        if wipe_data { "its keys, its configuration and ALL DATA" } else { "its keys and its configuration" };
    note(&format!("This wipes {what}. Type the name of the context ({name}) to go on:"));
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::error("cannot read the answer").why(error))?;
    if line.trim() == name { Ok(()) } else { Err(Failure::error("nothing was done")) }
}

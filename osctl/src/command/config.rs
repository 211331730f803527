//! `osctl config`: contexts.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use zeroize::Zeroizing;

use super::Session;
use crate::cli::{ConfigCommand, GroupCommand};
use crate::contexts::{self, Context, Contexts};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, Table, note};
use crate::pem::Pem;
use crate::{clock, node};

pub fn run(session: &Session, command: ConfigCommand) -> Result<(), Failure> {
    let file = session.contexts()?;
    match command {
        ConfigCommand::Contexts => list(session, &file.load()?),
        ConfigCommand::View => view(session, file.load()?),
        ConfigCommand::Use { name } => {
            file.change(|contexts| contexts.set_current(&name))?;
            note(&format!("the current context is {name}"));
            Ok(())
        }
        ConfigCommand::Remove { name } => {
            file.change(|contexts| contexts.remove(&name))?;
            note(&format!("context {name} is removed"));
            Ok(())
        }
        ConfigCommand::Group(GroupCommand::List) => groups(session, &file.load()?),
        ConfigCommand::Group(GroupCommand::Set { name, contexts: members }) => {
            file.change(|contexts| contexts.set_group(&name, members))?;
            note(&format!("use it with -c @{name}"));
            Ok(())
        }
        ConfigCommand::Group(GroupCommand::Remove { name }) => {
            file.change(|contexts| contexts.remove_group(&name))?;
            note(&format!("group {name} is removed; its contexts are still there"));
            Ok(())
        }
        ConfigCommand::Merge { file: other, force } => {
            let other = read_other(&other)?;
            let names = file.change(|contexts| contexts.merge(other, force))?;
            match names.as_slice() {
                [] => note("nothing to merge: all contexts are there already"),
                names => note(&format!("merged: {}", names.join(", "))),
            }
            Ok(())
        }
    }
}

fn read_other(path: &Path) -> Result<Contexts, Failure> {
    contexts::read(path)?
        .ok_or_else(|| Failure::new(Exit::NotFound, format!("{} does not exist", path.display())))
}

/// A context with what names its client certificate in a list of revocations.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Viewed<'a> {
    #[serde(flatten)]
    context: &'a Context,
    client_certificate_sha256: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct View<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    current_context: Option<&'a str>,
    contexts: Vec<Viewed<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    groups: &'a BTreeMap<String, Vec<String>>,
}

/// The file as it is, but for the keys.
fn view(session: &Session, mut contexts: Contexts) -> Result<(), Failure> {
    for context in &mut contexts.contexts {
        context.client_key = Pem::new(Zeroizing::new("REDACTED".to_owned()));
    }
    let viewed = |context| Viewed { context, client_certificate_sha256: node::client_hash(context) };
    let view = View {
        current_context: contexts.current_context.as_deref(),
        contexts: contexts.contexts.iter().map(viewed).collect(),
        groups: &contexts.groups,
    };
    let format = session.format().unwrap_or(Format::Yaml);
    output::print(Some(format), &view, |_| context_table(&contexts))
}

/// A context as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    name: String,
    current: bool,
    node_id: Option<String>,
    endpoints: Vec<String>,
    subject: Option<String>,
    role: Option<String>,
    expires: Option<String>,
}

#[derive(Serialize)]
struct Summaries {
    items: Vec<Summary>,
}

fn list(session: &Session, contexts: &Contexts) -> Result<(), Failure> {
    let items = contexts.contexts.iter().map(|context| summary(contexts, context)).collect();
    output::print(session.format(), &Summaries { items }, |_| context_table(contexts))
}

#[derive(Serialize)]
struct Groups<'a> {
    items: Vec<Group<'a>>,
}

#[derive(Serialize)]
struct Group<'a> {
    name: &'a str,
    contexts: &'a [String],
}

fn groups(session: &Session, contexts: &Contexts) -> Result<(), Failure> {
    let items = contexts.groups.iter().map(|(name, contexts)| Group { name, contexts }).collect();
    output::print(session.format(), &Groups { items }, |groups| {
        let mut table = Table::new(["NAME", "CONTEXTS"]);
        for group in &groups.items {
            table.row([group.name.to_owned(), group.contexts.join(",")]);
        }
        table.take()
    })
}

fn summary(contexts: &Contexts, context: &Context) -> Summary {
    let identity = node::identity_of(context);
    Summary {
        name: context.name.clone(),
        current: contexts.current_context.as_ref() == Some(&context.name),
        node_id: context.node_id.clone(),
        endpoints: context.endpoints.clone(),
        subject: identity.as_ref().map(|identity| identity.subject.to_string()),
        role: identity.as_ref().map(|identity| identity.role.to_string()),
        expires: identity.map(|identity| clock::date(identity.validity.not_after_s)),
    }
}

fn context_table(contexts: &Contexts) -> String {
    let mut table = Table::new(["CURRENT", "NAME", "NODE-ID", "ENDPOINTS", "SUBJECT", "ROLE", "EXPIRES"]);
    for summary in contexts.contexts.iter().map(|context| summary(contexts, context)) {
        table.row([
            if summary.current { "*".to_owned() } else { " ".to_owned() },
            summary.name,
            summary.node_id.unwrap_or_default(),
            summary.endpoints.join(","),
            summary.subject.unwrap_or_default(),
            summary.role.unwrap_or_default(),
            summary.expires.unwrap_or_default(),
        ]);
    }
    table.take()
}

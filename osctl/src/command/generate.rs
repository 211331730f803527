//! `osctl gen`: secrets, client certificates, the first machine configuration.

use std::path::{Path, PathBuf};

use pki::Validity;

use super::Session;
use super::cluster;
use super::draft::Draft;
use super::{first_config, fleet};
use crate::cli::{GenClient, GenCommand, GenConfig, Output};
use crate::contexts::Contexts;
use crate::failure::{Failure, chain};
use crate::node::Client;
use crate::output::note;
use crate::{clock, file, output, passphrase, secrets};

/// Clocks of laptops are off by minutes; a certificate must not start in a node's future.
const BACKDATE_S: u64 = 3600;

pub fn run(session: &Session, command: GenCommand) -> Result<(), Failure> {
    match command {
        GenCommand::Secrets { output, force, encrypt } => make_secrets(output, force, encrypt),
        GenCommand::Client(arguments) => make_client(session, &arguments),
        GenCommand::Config(arguments) => make_config(arguments),
        GenCommand::Cluster(arguments) => cluster::generate(&arguments),
    }
}

fn make_config(arguments: GenConfig) -> Result<(), Failure> {
    let ca = secrets::load(&arguments.secrets)?;
    let mut text = first_config::documents(&ca, arguments.hostname.as_deref(), &arguments.static_pods)?;
    if let Some(path) = &arguments.base {
        let base = file::read(path)
            .map_err(|error| Failure::error(format!("cannot read {}", path.display())).why(error))?;
        text = first_config::merged(&text, &base)?;
    }
    match (arguments.values, destination(arguments.output)?) {
        (Some(values), Some(folder)) => fleet::generate(&text, &values, &folder),
        (Some(_), None) => {
            Err(Failure::usage("--values writes a file for each node: say into which folder with -o"))
        }
        (None, Some(path)) => secrets_to_file(&path, &text),
        (None, None) => output::write(text.as_bytes()),
    }
}

/// The file behind `-o`; `None` for standard output.
pub fn destination(output: Option<Output>) -> Result<Option<PathBuf>, Failure> {
    match output {
        None => Ok(None),
        Some(Output::File(path)) if path == Path::new("-") => Ok(None),
        Some(Output::File(path)) => Ok(Some(path)),
        Some(Output::Format(_)) => {
            Err(Failure::usage("gen writes a file, not a format: put -o FILE behind the command"))
        }
    }
}

fn make_secrets(output: Option<Output>, force: bool, encrypt: bool) -> Result<(), Failure> {
    let text = secrets::generate(clock::now_s())?;
    let text = if encrypt { secrets::encrypt(&text, &passphrase::choose()?)? } else { text };
    let Some(path) = destination(output.or_else(|| Some(Output::File("secrets.yaml".into()))))? else {
        return output::write(text.as_bytes());
    };
    secrets::write(&path, &text, force)?;
    let (whoever, losing) = match encrypt {
        true => ("whoever has it and its passphrase owns", "losing either loses"),
        false => ("whoever has it owns", "losing it loses"),
    };
    note(&format!(
        "wrote {}: {whoever} the fleet, and {losing} the fleet. Keep it offline, and keep a copy.",
        path.display()
    ));
    Ok(())
}

/// A validity from now on.
pub fn validity(ttl: std::time::Duration) -> Validity {
    Validity::starting(clock::now_s().saturating_sub(BACKDATE_S), ttl.as_secs().saturating_add(BACKDATE_S))
}

fn make_client(session: &Session, arguments: &GenClient) -> Result<(), Failure> {
    let ca = secrets::load(&arguments.secrets)?;
    let credentials = ca
        .issue_client(&arguments.name, arguments.role, validity(arguments.ttl))
        .map_err(|error| Failure::error("cannot make the client certificate").why(chain(&error)))?;
    let draft = Draft {
        name: session.global.context.clone().unwrap_or_else(|| arguments.name.to_string()),
        endpoints: session.global.endpoints.iter().map(ToString::to_string).collect(),
        node_id: arguments.node_id.as_ref().map(ToString::to_string),
    };
    let file = session.contexts()?;
    match destination(arguments.output.clone())? {
        Some(path) => {
            let mut alone = Contexts::default();
            alone.put(draft.complete(&file.load()?, &ca, &Client::from(&credentials))?);
            secrets_to_file(&path, &output::yaml(&alone)?)?;
            note(&format!("wrote {}; its receiver runs: osctl config merge {0}", path.display()));
        }
        None => {
            let name = draft.name.clone();
            file.change(|contexts| {
                let context = draft.complete(contexts, &ca, &Client::from(&credentials))?;
                contexts.put(context);
                Ok(())
            })?;
            note(&format!("context {name} holds the new {} certificate", arguments.role));
        }
    }
    note(&format!("to revoke it: SHA-256 {}", credentials.certificate.hash()));
    Ok(())
}

fn secrets_to_file(path: &Path, text: &str) -> Result<(), Failure> {
    file::replace(path, text)
        .map_err(|error| Failure::error(format!("cannot write {}", path.display())).why(error))
}

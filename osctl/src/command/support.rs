//! `osctl support`: what a node says of itself, in one archive for whoever helps.
//!
//! Each part is what a command prints that its reader could run as well, so a bundle holds nothing that the client may not
//! see, and secrets as redacted as everywhere.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Parser as _;
use serde::Serialize;
use serde_json::Value;

use super::{Session, one};
use crate::cli::{Cli, Support, SupportCommand};
use crate::envelope::{self, Envelope};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, Progress, Speech, Voice, note};
use crate::{clock, file, passphrase};

/// Compression that a laptop does not feel.
const LEVEL: i32 = 6;
const MANIFEST: &str = "manifest.json";
const KINDS: &str = "api-resources.json";
/// In this order; the first one tells whether the node answers at all.
const FIXED: [(&str, &str); 15] = [
    ("version.json", "version -o json"),
    ("health.json", "health -o json"),
    (KINDS, "api-resources -o json"),
    ("slots.json", "slots -o json"),
    ("upgrade.json", "upgrade status -o json"),
    ("config.yaml", "get config"),
    ("config-effective.yaml", "get config --effective"),
    ("dmesg.txt", "dmesg"),
    ("boots.json", "logs --boot list -o json"),
    ("crashes.json", "crashes -o json"),
    // Without arguments, which may hold secrets.
    ("live/processes.json", "ps --all --pss -o json"),
    ("live/stats.json", "stats --all --containers -o json"),
    ("live/system.json", "top -o json"),
    ("live/mounts.json", "mounts --all -o json"),
    ("live/sockets.json", "netstat --pods -o json"),
];

/// One file of the bundle.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    file: String,
    command: String,
    exit_code: u8,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    content: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    context: &'a str,
    osctl_version: &'static str,
    made: String,
    parts: &'a [Part],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    file: PathBuf,
    parts: usize,
    missing: Vec<String>,
}

pub async fn run(session: &Session, arguments: &Support) -> Result<(), Failure> {
    if let Some(SupportCommand::Open { bundle, archive }) = &arguments.action {
        return open(bundle, archive);
    }
    let context = session.target()?.name;
    let target = target(arguments.file(), &context)?;
    let passphrase = arguments.encrypt.then(passphrase::choose).transpose()?;
    let parts = gather(session, arguments).await?;
    let mut content = pack(&context, &parts)?;
    if let Some(passphrase) = passphrase {
        let sealed = Envelope::seal(&content, &passphrase, envelope::LOG_N)
            .map_err(|error| Failure::error("cannot encrypt the bundle").why(error))?;
        content = output::yaml(&sealed)?.into_bytes();
    }
    file::create(&target, &content).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::error(format!("{} exists already", target.display())).hint("choose another name with -o")
        }
        _ => Failure::error(format!("cannot write {}", target.display())).why(error),
    })?;
    let failed = parts.iter().filter(|part| part.error.is_some());
    let missing: Vec<String> = failed.map(|part| part.file.clone()).collect();
    if !missing.is_empty() {
        note(&format!("not all could be had, {MANIFEST} says why: {}", missing.join(", ")));
    }
    let made = Made { file: target, parts: parts.len(), missing };
    output::print(session.format(), &made, |made| format!("{}\n", made.file.display()))
}

/// A name of its own below the folder that was given, or the file that was given.
fn target(given: Option<&Path>, context: &str) -> Result<PathBuf, Failure> {
    let name: String = context
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
        .collect();
    let stamp: String = clock::date(clock::now_s()).chars().filter(char::is_ascii_alphanumeric).collect();
    let own = format!("support-{name}-{stamp}.tar.zst");
    match given {
        None => Ok(own.into()),
        Some(folder) if folder.is_dir() => Ok(folder.join(own)),
        Some(_) if output::is_one_of_several() => {
            Err(Failure::usage("several nodes cannot write one file: -o must be an existing folder"))
        }
        Some(file) => Ok(file.to_owned()),
    }
}

/// All parts. An error only when the node does not answer at all.
async fn gather(session: &Session, arguments: &Support) -> Result<Vec<Part>, Failure> {
    let progress = Progress::new();
    let mut parts: Vec<Part> = Vec::new();
    let mut wanted: Vec<(String, String)> =
        FIXED.iter().map(|(file, command)| ((*file).to_owned(), (*command).to_owned())).collect();
    let mut next = 0;
    while let Some((file, command)) = wanted.get(next).cloned() {
        next += 1;
        progress.show(&format!("{next} of {}: {file}", wanted.len()));
        let part = part(session, file, command).await?;
        if part.exit_code == Exit::Unreachable as u8 && parts.is_empty() {
            return Err(Failure::new(Exit::Unreachable, part.error.unwrap_or_default()));
        }
        wanted.extend(follow_ups(&part, arguments));
        parts.push(part);
    }
    Ok(parts)
}

/// What a part shows that there is besides.
fn follow_ups(part: &Part, arguments: &Support) -> Vec<(String, String)> {
    let Ok(content) = serde_json::from_slice::<Value>(&part.content) else { return Vec::new() };
    let items = content["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let texts = |field: &str| -> Vec<String> {
        items.iter().filter_map(|item| item[field].as_str().map(str::to_owned)).collect()
    };
    let tail = arguments.tail;
    match part.file.as_str() {
        KINDS => texts("plural")
            .into_iter()
            .map(|kind| (format!("resources/{kind}.json"), format!("get {kind} -o json")))
            .collect(),
        "resources/services.json" => texts("id")
            .into_iter()
            .map(|service| (format!("logs/{service}.log"), format!("logs {service} --tail {tail}")))
            .collect(),
        "resources/pods.json" if arguments.pods => items
            .iter()
            .flat_map(containers)
            .map(|container| {
                (format!("logs/pods/{container}.log"), format!("logs {container} --tail {tail}"))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// `<namespace>/<pod>/<container>` of a pod's resource.
fn containers(pod: &Value) -> Vec<String> {
    let containers = pod["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let id = pod["id"].as_str().unwrap_or_default();
    containers.iter().filter_map(|container| Some(format!("{id}/{}", container["name"].as_str()?))).collect()
}

/// Runs a command for its output.
async fn part(session: &Session, file: String, command: String) -> Result<Part, Failure> {
    let words = std::iter::once("osctl").chain(command.split(' '));
    // A name that the node made up may be no argument.
    let parsed = match Cli::try_parse_from(words) {
        Ok(parsed) => parsed,
        Err(error) => {
            let error = Some(error.kind().to_string());
            return Ok(Part {
                file,
                command,
                exit_code: Exit::Usage as u8,
                bytes: 0,
                error,
                content: Vec::new(),
            });
        }
    };
    let session = Session { global: session.global.printing_as(&parsed.global) };
    let voice = Rc::new(Voice::new("", 0, Format::Table, Speech::Kept));
    // Boxed: this is within the future of a command.
    let result = voice.during(Box::pin(one(&session, parsed.command))).await;
    let content = voice.take();
    let (exit_code, error) = match &result {
        Ok(()) => (Exit::Ok, None),
        // The health of a node that is not well is what is wanted.
        Err(failure) if failure.exit() == Exit::Unhealthy => (Exit::Unhealthy, None),
        Err(failure) => (failure.exit(), Some(failure.to_string())),
    };
    Ok(Part { file, command, exit_code: exit_code as u8, bytes: content.len(), error, content })
}

fn pack(context: &str, parts: &[Part]) -> Result<Vec<u8>, Failure> {
    let made_s = clock::now_s();
    let manifest =
        Manifest { context, osctl_version: env!("CARGO_PKG_VERSION"), made: clock::date(made_s), parts };
    let cannot = |error: std::io::Error| Failure::error("cannot pack the bundle").why(error);
    let manifest = serde_json::to_vec_pretty(&manifest).map_err(|error| cannot(error.into()))?;
    let pack = || {
        let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), LEVEL)?);
        let files = parts.iter().map(|part| (part.file.as_str(), part.content.as_slice()));
        for (name, content) in std::iter::once((MANIFEST, manifest.as_slice())).chain(files) {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(made_s);
            archive.append_data(&mut header, name, content)?;
        }
        archive.into_inner()?.finish()
    };
    pack().map_err(cannot)
}

/// Decrypts a bundle.
fn open(bundle: &Path, archive: &Path) -> Result<(), Failure> {
    let cannot = |what: &str| format!("cannot {what} {}", bundle.display());
    let text = std::fs::read_to_string(bundle).map_err(|error| {
        Failure::error(cannot("read")).why(error).hint("a bundle that is not encrypted is a .tar.zst")
    })?;
    let sealed: Envelope =
        serde_saphyr::from_str(&text).map_err(|error| Failure::error(cannot("make sense of")).why(error))?;
    let content =
        sealed.open(&passphrase::ask(bundle)?).map_err(|error| Failure::error(cannot("open")).why(error))?;
    file::create(archive, &*content)
        .map_err(|error| Failure::error(format!("cannot write {}", archive.display())).why(error))?;
    note(&archive.display().to_string());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(file: &str, content: &Value) -> Part {
        let content = content.to_string().into_bytes();
        Part {
            file: file.into(),
            command: String::new(),
            exit_code: 0,
            bytes: content.len(),
            error: None,
            content,
        }
    }

    fn arguments(line: &str) -> Support {
        let crate::cli::Command::Support(arguments) = Cli::try_parse_from(line.split(' ')).unwrap().command
        else {
            panic!()
        };
        arguments
    }

    #[test]
    fn what_there_is_leads_to_its_logs() {
        let plain = arguments("osctl support --tail 5");
        let services = part("resources/services.json", &serde_json::json!({"items": [{"id": "apid"}]}));
        assert_eq!(follow_ups(&services, &plain), [("logs/apid.log".into(), "logs apid --tail 5".into())]);
        let pods = serde_json::json!({"items": [{"id": "a/b", "spec": {"containers": [{"name": "c"}]}}]});
        let pods = part("resources/pods.json", &pods);
        assert_eq!(follow_ups(&pods, &plain), []);
        let with_pods = arguments("osctl support --pods --tail 5");
        assert_eq!(
            follow_ups(&pods, &with_pods),
            [("logs/pods/a/b/c.log".into(), "logs a/b/c --tail 5".into())]
        );
        assert_eq!(follow_ups(&part("health.json", &Value::Null), &plain), []);
    }

    #[test]
    fn the_name_of_a_context_is_no_path() {
        let name = target(None, "../a b").unwrap();
        assert!(name.to_string_lossy().starts_with("support-.._a_b-"), "{name:?}");
        assert_eq!(name.components().count(), 1);
    }
}

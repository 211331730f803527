//! `osctl gen`: secrets, client certificates, the first machine configuration.

use std::path::{Path, PathBuf};

use pki::{Ca, Validity};
use serde::Serialize;
use serde_json::Value;

use super::Session;
use crate::cli::{GenClient, GenCommand, Output};
use crate::contexts::{Context, Contexts};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::{self, Client};
use crate::output::note;
use crate::pem::Pem;
use crate::{clock, file, output, secrets};

const API_VERSION: &str = "cairn.dev/v1alpha1";
/// Clocks of laptops are off by minutes; a certificate must not start in a node's future.
const BACKDATE_S: u64 = 3600;

pub fn run(session: &Session, command: GenCommand) -> Result<(), Failure> {
    match command {
        GenCommand::Secrets { output, force } => make_secrets(output, force),
        GenCommand::Client(arguments) => make_client(session, &arguments),
        GenCommand::Config { secrets, hostname, static_pods, output } => {
            let ca = secrets::load(&secrets)?;
            let text = documents(&ca, hostname.as_deref(), &static_pods)?;
            match destination(output)? {
                Some(path) => file::replace(&path, &text)
                    .map_err(|error| Failure::error(format!("cannot write {}", path.display())).why(error)),
                None => output::write(text.as_bytes()),
            }
        }
    }
}

/// The file behind `-o`; `None` for standard output.
fn destination(output: Option<Output>) -> Result<Option<PathBuf>, Failure> {
    match output {
        None => Ok(None),
        Some(Output::File(path)) if path == Path::new("-") => Ok(None),
        Some(Output::File(path)) => Ok(Some(path)),
        Some(Output::Format(_)) => {
            Err(Failure::usage("gen writes a file, not a format: put -o FILE behind the command"))
        }
    }
}

fn make_secrets(output: Option<Output>, force: bool) -> Result<(), Failure> {
    let text = secrets::generate(clock::now_s())?;
    let Some(path) = destination(output.or_else(|| Some(Output::File("secrets.yaml".into()))))? else {
        return output::write(text.as_bytes());
    };
    secrets::write(&path, &text, force)?;
    note(&format!(
        "wrote {}: whoever has it owns the fleet, and losing it loses the fleet. Keep it offline, and keep a copy.",
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
        .map_err(|error| Failure::error("cannot make the client certificate").why(secrets::chain(&error)))?;
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
    Ok(())
}

fn secrets_to_file(path: &Path, text: &str) -> Result<(), Failure> {
    file::replace(path, text)
        .map_err(|error| Failure::error(format!("cannot write {}", path.display())).why(error))
}

/// A context to be written: what was given on the command line. The rest comes from contexts that exist.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Endpoints, when given.
    pub endpoints: Vec<String>,
    /// Node id, when given.
    pub node_id: Option<String>,
}

impl Draft {
    /// Completes it from the context of the same name, else from one of the same CA with the same endpoint.
    pub fn complete(self, contexts: &Contexts, ca: &Ca, client: &Client) -> Result<Context, Failure> {
        let existing = contexts.find(&self.name);
        if existing.is_some_and(|context| !node::trusts(context, ca)) {
            return Err(Failure::error(format!("context {:?} belongs to another CA", self.name))
                .hint("choose another name with -c, or remove it with `osctl config remove`"));
        }
        let kin = existing.or_else(|| {
            let same_node = |context: &&Context| {
                node::trusts(context, ca)
                    && context.endpoints.iter().any(|endpoint| self.endpoints.contains(endpoint))
            };
            contexts.contexts.iter().find(same_node)
        });
        let (endpoints, node_id) = match kin {
            Some(kin) if self.endpoints.is_empty() => {
                (kin.endpoints.clone(), self.node_id.or(kin.node_id.clone()))
            }
            Some(kin) => (self.endpoints, self.node_id.or(kin.node_id.clone())),
            None => (self.endpoints, self.node_id),
        };
        Ok(Context {
            name: self.name,
            endpoints,
            node_id,
            ca: Pem::new(ca.bundle().to_pem()),
            client_certificate: Pem::new(client.certificate_pem()),
            client_key: client.key().clone(),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<T> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    content: T,
}

#[derive(Serialize)]
struct Machine<'a> {
    hostname: &'a str,
}

#[derive(Serialize)]
struct Api {
    #[serde(rename = "clientCAs")]
    client_cas: Vec<Pem>,
}

#[derive(Serialize)]
struct StaticPod {
    pod: Value,
}

/// The first configuration of a node.
fn documents(ca: &Ca, hostname: Option<&str>, static_pods: &[PathBuf]) -> Result<String, Failure> {
    let mut parts = Vec::new();
    if let Some(hostname) = hostname {
        parts.push(document("Machine", Machine { hostname })?);
    }
    parts.push(document("Api", Api { client_cas: vec![Pem::new(ca.bundle().to_pem())] })?);
    for path in static_pods {
        for pod in read_pods(path)? {
            parts.push(document("StaticPod", StaticPod { pod })?);
        }
    }
    Ok(parts.join("---\n"))
}

fn document<T: Serialize>(kind: &'static str, content: T) -> Result<String, Failure> {
    output::yaml(&Document { api_version: API_VERSION, kind, content })
}

/// The pods of a manifest. Only their outline is checked: the kubelet knows the rest.
fn read_pods(path: &Path) -> Result<Vec<Value>, Failure> {
    let bad = |why: String| Failure::error(format!("{} is no pod manifest", path.display())).why(why);
    let text = file::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, format!("{} does not exist", path.display()))
        }
        _ => Failure::error(format!("cannot read {}", path.display())).why(error),
    })?;
    let pods: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| bad(error.to_string()))?;
    let is_pod = |pod: &Value| pod["kind"] == "Pod" && pod["metadata"]["name"].is_string();
    if pods.is_empty() || !pods.iter().all(is_pod) {
        return Err(bad("each document must have kind: Pod and metadata.name".into()));
    }
    Ok(pods)
}

#[cfg(test)]
mod tests {
    use pki::{Role, SubjectName};

    use super::*;

    fn ca() -> Ca {
        Ca::create(&SubjectName::parse("test").unwrap(), Validity::UNLIMITED).unwrap()
    }

    fn client(ca: &Ca) -> Client {
        let name = SubjectName::parse("alice").unwrap();
        Client::from(&ca.issue_client(&name, Role::Admin, Validity::UNLIMITED).unwrap())
    }

    fn draft(name: &str, endpoints: &[&str], node_id: Option<&str>) -> Draft {
        Draft {
            name: name.into(),
            endpoints: endpoints.iter().map(|text| (*text).to_owned()).collect(),
            node_id: node_id.map(str::to_owned),
        }
    }

    #[test]
    fn a_draft_inherits_from_its_kin_only() {
        let (fleet, other) = (ca(), ca());
        let mut contexts = Contexts::default();
        contexts.put(
            draft("edge", &["10.0.0.1:50000"], Some("n1"))
                .complete(&contexts, &fleet, &client(&fleet))
                .unwrap(),
        );

        let renewed = draft("edge", &[], None).complete(&contexts, &fleet, &client(&fleet)).unwrap();
        assert_eq!(
            (renewed.endpoints, renewed.node_id.as_deref()),
            (vec!["10.0.0.1:50000".to_owned()], Some("n1"))
        );
        let reader =
            draft("reader", &["10.0.0.1:50000"], None).complete(&contexts, &fleet, &client(&fleet)).unwrap();
        assert_eq!(reader.node_id.as_deref(), Some("n1"));
        let elsewhere =
            draft("x", &["10.0.0.2:50000"], None).complete(&contexts, &fleet, &client(&fleet)).unwrap();
        assert_eq!(elsewhere.node_id, None);
        let stranger =
            draft("x", &["10.0.0.1:50000"], None).complete(&contexts, &other, &client(&other)).unwrap();
        assert_eq!(stranger.node_id, None);
        assert!(draft("edge", &[], None).complete(&contexts, &other, &client(&other)).is_err());
    }

    #[test]
    fn documents_read_back_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let manifest = directory.path().join("pod.yaml");
        std::fs::write(&manifest, "apiVersion: v1\nkind: Pod\nmetadata: {name: \"yes\"}\nspec: {n: 8080, s: \"1e3\", t: \"a\\nb\"}\n").unwrap();
        let ca = ca();
        let text = documents(&ca, Some("edge-1"), &[manifest]).unwrap();
        let read: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(
            read.iter().map(|document| document["kind"].as_str().unwrap()).collect::<Vec<_>>(),
            ["Machine", "Api", "StaticPod"]
        );
        assert!(read.iter().all(|document| document["apiVersion"] == API_VERSION));
        assert_eq!(read[0]["hostname"], "edge-1");
        assert_eq!(read[1]["clientCAs"][0], ca.bundle().to_pem());
        assert_eq!(read[2]["pod"]["metadata"]["name"], "yes");
        assert_eq!(read[2]["pod"]["spec"], serde_json::json!({"n": 8080, "s": "1e3", "t": "a\nb"}));
    }

    #[test]
    fn only_pods_are_static_pods() {
        let directory = tempfile::tempdir().unwrap();
        let manifest = directory.path().join("pod.yaml");
        for text in [
            "",
            "kind: Deployment\nmetadata: {name: x}\n",
            "kind: Pod\n",
            "kind: [",
            "kind: Pod\nmetadata: {name: x}\n---\na: 1\n",
        ] {
            std::fs::write(&manifest, text).unwrap();
            assert!(read_pods(&manifest).is_err(), "{text}");
        }
        assert_eq!(read_pods(&directory.path().join("none")).unwrap_err().exit(), Exit::NotFound);
    }
}

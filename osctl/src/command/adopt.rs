//! `osctl adopt`: a new node is authenticated by its fingerprint and gets a certificate of the fleet's CA.

use std::path::Path;
use std::time::Duration;

use pki::{Ca, NodeId, Role, SigningRequest, SubjectName, fingerprint_of};
use proto::identity::v1::{GetSigningRequestRequest, InstallCertificateRequest};
use proto::machine::v1::GetVersionRequest;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::Session;
use super::draft::Draft;
use super::generate::validity;
use crate::cli::Adopt;
use crate::contexts::{Context, ContextFile};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::node::{self, Client, Node, Target, Trust};
use crate::output::{self, Progress, note};
use crate::secrets;

/// Validity of a node's certificate. Any later adoption renews it, and an expired one only makes osctl warn.
const NODE_TTL: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
/// Pause between attempts to see the new certificate served.
const POLL: Duration = Duration::from_millis(500);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Adopted {
    context: String,
    node_id: String,
    endpoints: Vec<String>,
    renewed: bool,
}

pub async fn run(session: &Session, arguments: &Adopt) -> Result<(), Failure> {
    if session.global.endpoints.is_empty() {
        return Err(Failure::usage("adopt needs the node's address")
            .hint("give it with --endpoint; the console shows it"));
    }
    let ca = secrets::load(&arguments.secrets)?;
    let newcomer = Newcomer {
        client: issue_admin(&ca, &arguments.name, arguments.ttl)?,
        ca,
        secrets: &arguments.secrets,
    };
    let target = newcomer.target(session, Trust::Fingerprint(arguments.fingerprint.clone()));
    let node = Node::connect(&target).await?;
    let request = Request::fetch(&node).await?;
    let name = match &session.global.context {
        Some(name) => name.clone(),
        None => default_name(&node, &request.node_id).await?,
    };
    // Whatever speaks against the context must be said before the node is changed.
    let context = newcomer.context(session, &name, &request.node_id)?;
    newcomer.take_over(session, &target, &node, &request, context).await
}

/// A node that is about to become one of the fleet.
pub struct Newcomer<'a> {
    /// CA of the fleet.
    pub ca: Ca,
    /// Its admin, who is at this computer.
    pub client: Client,
    /// Where the CA's key is.
    pub secrets: &'a Path,
}

impl Newcomer<'_> {
    /// Where the node is, and how it is told from others.
    pub fn target(&self, session: &Session, trust: Trust) -> Target {
        Target {
            name: "the new node".into(),
            endpoints: session.global.endpoints.clone(),
            trust,
            client: self.client.clone(),
            timeout: session.timeout(),
        }
    }

    /// The context to write once the node is adopted.
    pub fn context(&self, session: &Session, name: &str, node_id: &NodeId) -> Result<Context, Failure> {
        let draft = Draft {
            name: name.to_owned(),
            endpoints: session.global.endpoints.iter().map(ToString::to_string).collect(),
            node_id: Some(node_id.to_string()),
        };
        let context = context(&session.contexts()?, &draft, &self.ca, &self.client)?;
        // Absolute: it counts whatever folder a later command is run in.
        Ok(Context { secrets: std::path::absolute(self.secrets).ok(), ..context })
    }

    /// Signs the node's certificate, sees that it is served, and writes the context. `target` names the node by its
    /// fingerprint.
    pub async fn take_over(
        &self,
        session: &Session,
        target: &Target,
        node: &Node,
        request: &Request,
        context: Context,
    ) -> Result<(), Failure> {
        install(node, &self.ca, request).await?;
        verify(target, &context.name, &self.ca, &request.node_id).await?;
        let file = session.contexts()?;
        file.change(|contexts| {
            contexts.put(context.clone());
            Ok(())
        })?;
        note(&format!("context {} is written to {}", context.name, file.path().display()));
        let adopted = Adopted {
            context: context.name,
            node_id: request.node_id.to_string(),
            endpoints: context.endpoints,
            renewed: request.adopted,
        };
        output::print(session.format(), &adopted, |adopted| {
            let word = if adopted.renewed { "renewed" } else { "adopted" };
            format!("node {} {word}\n", adopted.node_id)
        })
    }
}

/// Makes an admin of the fleet.
pub fn issue_admin(ca: &Ca, name: &SubjectName, ttl: Duration) -> Result<Client, Failure> {
    ca.issue_client(name, Role::Admin, validity(ttl))
        .map(|credentials| Client::from(&credentials))
        .map_err(|error| Failure::error("cannot make the admin certificate").why(chain(&error)))
}

/// What the node wants signed, checked to be its own.
pub struct Request {
    /// Which node it is.
    pub node_id: NodeId,
    signing: SigningRequest,
    adopted: bool,
}

impl Request {
    /// Asks for it. It must be for the key of the connection.
    pub async fn fetch(node: &Node) -> Result<Request, Failure> {
        let what = "cannot get the signing request";
        let answer =
            node.call(what, node.identity().get_signing_request(GetSigningRequestRequest {})).await?;
        let wrong =
            |why: String| Failure::new(Exit::Denied, "the node's signing request is not acceptable").why(why);
        let signing =
            SigningRequest::from_der(&answer.request_der).map_err(|error| wrong(error.to_string()))?;
        if signing.fingerprint() != fingerprint_of(node.public_key_der()) {
            return Err(wrong("it is for another key than the connection's".into()));
        }
        let node_id = NodeId::parse(&answer.node_id).map_err(|error| wrong(error.to_string()))?;
        Ok(Request { node_id, signing, adopted: answer.adopted })
    }
}

/// The hostname, else the node id.
async fn default_name(node: &Node, node_id: &NodeId) -> Result<String, Failure> {
    let version =
        node.call("cannot get the version", node.machine().get_version(GetVersionRequest {})).await?;
    Ok(if version.hostname.is_empty() { node_id.to_string() } else { version.hostname })
}

/// The context to write. An existing one keeps its client certificate: it may be of another role on purpose. But when
/// this very node changes over to another CA, all of it does.
fn context(file: &ContextFile, draft: &Draft, ca: &Ca, client: &Client) -> Result<Context, Failure> {
    let mut contexts = file.load()?;
    let changes_over = |existing: &Context| {
        existing.node_id.is_some() && existing.node_id == draft.node_id && !node::trusts(existing, ca)
    };
    if contexts.find(&draft.name).is_some_and(changes_over) {
        contexts.remove(&draft.name)?;
    }
    let existing = contexts.find(&draft.name).cloned();
    let context = draft.clone().complete(&contexts, ca, client)?;
    let Some(existing) = existing else { return Ok(context) };
    if existing.node_id.is_some() && existing.node_id != context.node_id {
        return Err(Failure::error(format!("context {:?} is for another node", draft.name))
            .hint("choose another name with -c, or remove it with `osctl config remove`"));
    }
    Ok(Context {
        client_certificate: existing.client_certificate,
        client_key: existing.client_key,
        ..context
    })
}

/// Signs the node's certificate and hands it over.
pub async fn install(node: &Node, ca: &Ca, request: &Request) -> Result<(), Failure> {
    let certificate = ca
        .issue_server(&request.signing, &request.node_id, validity(NODE_TTL))
        .map_err(|error| Failure::error("cannot sign the node's certificate").why(chain(&error)))?;
    let install = InstallCertificateRequest { certificate_der: certificate.der().to_vec() };
    node.call("cannot install the certificate", node.identity().install_certificate(install)).await.map(drop)
}

/// Waits until the node serves the new certificate: its API takes a moment to pick it up.
async fn verify(pinned: &Target, name: &str, ca: &Ca, node_id: &NodeId) -> Result<(), Failure> {
    let trust = Trust::Chain { cas: ca.bundle().clone(), node_id: node_id.clone() };
    let target = Target { name: name.to_owned(), trust, ..pinned.clone() };
    let progress = Progress::new();
    let deadline = Instant::now() + pinned.timeout;
    loop {
        match check(&target).await {
            Ok(()) => return Ok(()),
            Err(failure) if Instant::now() + POLL >= deadline => return Err(failure),
            Err(_) => progress.show("waiting until the node serves its new certificate"),
        }
        sleep(POLL).await;
    }
}

async fn check(target: &Target) -> Result<(), Failure> {
    let node = Node::connect(target).await?;
    node.call("cannot use the new certificate", node.machine().get_version(GetVersionRequest {}))
        .await
        .map(drop)
}

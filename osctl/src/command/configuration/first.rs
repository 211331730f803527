//! `osctl apply-config --insecure`: a node without configuration gets its first one, and is adopted.
//!
//! Nothing that matters is sent before the node is known to be the one whose console the admin sees: by its
//! fingerprint, or because it proves that it knows the pairing code. The code itself is never sent.

use std::path::Path;
use std::time::Duration;

use config::{Documents, NodeConfig};
use pairing::{Code, Fingerprint, KeyHash, proof};
use pki::{Bundle, NodeId, fingerprint_of, signed::Base};
use proto::maintenance::v1::{
    Authentication, ConfigureRequest, ConfigureResponse, ProveRequest, StatusRequest, StatusResponse,
};
use tokio::time::{Instant, sleep};
use tonic::{Code as StatusCode, Status};

use crate::cli::configuration::First;
use crate::command::Session;
use crate::command::adopt::{Newcomer, Request, issue_admin};
use crate::command::sign::sign_for;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::{Node, Target, Trust};
use crate::output::{self, Progress, note};
use crate::secrets;

const CONFIGURE: &str = "/cairn.maintenance.v1.MaintenanceService/Configure";
/// For the node to start with its configuration, unless the user says otherwise.
const START_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(500);

/// What the admin took from the console: piece by piece, or as the URL of the QR code.
struct Seen<'a> {
    fingerprint: Option<&'a Fingerprint>,
    code: Option<&'a Code>,
}

impl Seen<'_> {
    fn of(arguments: &First) -> Seen<'_> {
        match &arguments.url {
            Some(url) => Seen { fingerprint: Some(&url.fingerprint), code: url.code.as_ref() },
            None => Seen { fingerprint: arguments.fingerprint.as_ref(), code: arguments.code.as_ref() },
        }
    }
}

/// The session with the node's address in it. One that was typed goes before the URL's: the node may be seen elsewhere
/// from here.
fn located(session: &Session, arguments: &First) -> Result<Session, Failure> {
    let mut located = session.clone();
    if let (true, Some(url)) = (located.global.endpoints.is_empty(), &arguments.url) {
        let endpoint = url.address.parse().map_err(|error: String| Failure::usage(error))?;
        located.global.endpoints.push(endpoint);
    }
    if located.global.endpoints.is_empty() {
        return Err(Failure::usage("the node's address is missing")
            .hint("give it with -n; the console shows it, and `osctl discover` finds it"));
    }
    Ok(located)
}

pub async fn apply(session: &Session, text: &str, secrets: &Path, arguments: &First) -> Result<(), Failure> {
    let (session, seen) = (&located(session, arguments)?, Seen::of(arguments));
    let config = config::parse(text)
        .map_err(|errors| Failure::error("the node would refuse this configuration").why(errors))?;
    let ca = secrets::load(secrets)?;
    lets_in(&config, &ca)?;
    let client = issue_admin(&ca, &arguments.name, arguments.ttl)?;
    let newcomer = Newcomer { ca, client, secrets };
    let trust = seen.fingerprint.cloned().map_or(Trust::Anyone, Trust::Fingerprint);
    let target = newcomer.target(session, trust);
    let node = Node::connect(&target).await?;
    let status = status(&node).await?;
    let node_id = NodeId::parse(&status.node_id)
        .map_err(|error| Failure::new(Exit::Denied, "the node's answer is not acceptable").why(error))?;
    let name = session.global.context.clone().or(config.hostname).unwrap_or_else(|| node_id.to_string());
    let context = newcomer.context(session, &name, &node_id)?;
    let request = match status.authentication() {
        Authentication::PairingCode => with_code(&node, &status, text, &seen).await?,
        Authentication::ClientCertificate => {
            check_unknown(session, &node, text, &node_id, &seen)?;
            let signed = sign_for(&newcomer.client, CONFIGURE, &node_id, Base::FIRST, text.into())?;
            ConfigureRequest { signed: Some(signed), ..ConfigureRequest::default() }
        }
        Authentication::Unspecified => {
            return Err(Failure::error("this osctl does not know how the node wants to be configured")
                .hint("the node's release is newer than this osctl"));
        }
    };
    configure(&node, request).await?;
    let target = newcomer.target(session, Trust::Fingerprint(Fingerprint::of(node.public_key_der())));
    drop(node);
    note("the node has its configuration; waiting until it starts with it");
    let (node, request) = meet(session, &target).await?;
    newcomer.take_over(session, &target, &node, &request, context).await
}

/// A configuration of another fleet would lock this admin out.
fn lets_in(config: &NodeConfig, ca: &pki::Ca) -> Result<(), Failure> {
    let configured = Bundle::from_pem(&config.client_cas.concat());
    let is_let_in = configured.is_ok_and(|cas| cas.certificates().contains(ca.certificate()));
    if is_let_in {
        return Ok(());
    }
    Err(Failure::error(
        "the configuration does not name the CA of this secrets bundle: it would let you in no more",
    )
    .hint("add it to clientCAs of the document Api, or give the bundle that `osctl gen config` was given"))
}

async fn status(node: &Node) -> Result<StatusResponse, Failure> {
    let what = "cannot ask for its state";
    let answer = tokio::time::timeout(node.timeout(), node.maintenance().status(StatusRequest {})).await;
    match answer {
        Ok(Ok(status)) => Ok(status.into_inner()),
        Ok(Err(status)) if status.code() == StatusCode::Unimplemented => Err(configured(node)),
        Ok(Err(status)) => {
            let failure = node.explain(what, &status);
            Err(match failure.exit() {
                Exit::Denied => failure.hint(
                    "it has a configuration of another fleet already, or its medium carries another CA than this bundle's",
                ),
                _ => failure,
            })
        }
        Err(_) => Err(node.silent(what)),
    }
}

fn configured(node: &Node) -> Failure {
    Failure::error(format!("{} has a configuration already", node.name()))
        .hint("change it with `osctl apply-config` without --insecure, or wipe it with `osctl reset`")
}

/// Lets the node prove that it knows the code, then makes the proof that this configuration is meant for it.
async fn with_code(
    node: &Node,
    status: &StatusResponse,
    text: &str,
    seen: &Seen<'_>,
) -> Result<ConfigureRequest, Failure> {
    let Some(code) = seen.code else {
        return Err(Failure::usage("the node's pairing code is missing")
            .hint("its console shows it: give it with --code XXXX-XXXX-XXXX, or the QR code with --url"));
    };
    if status.code_valid_s == 0 {
        return Err(Failure::new(Exit::Denied, "the pairing code of the node is of no use any more")
            .why("it was valid for 30 minutes after boot and for 5 tries")
            .hint("reboot the node and take the new code from its console"));
    }
    let key = KeyHash::of(node.public_key_der());
    let nonce = nonce()?;
    let request = ProveRequest { nonce: nonce.to_vec() };
    let proved = node.call("cannot pair", node.maintenance().prove(request)).await?;
    if !proof::is_of_node(&proved.proof, code, &key, &nonce) {
        return Err(wrong_code(proved.tries_left, seen.fingerprint.is_some()));
    }
    let proof = proof::client(code, &key, text);
    Ok(ConfigureRequest { text: text.to_owned(), proof, signed: None })
}

fn wrong_code(tries_left: u32, is_the_node: bool) -> Failure {
    let tries = match tries_left {
        0 => "no try is left: reboot the node for a new code".to_owned(),
        left => format!("{left} tries are left"),
    };
    let failure = Failure::new(Exit::Denied, "the pairing code is wrong");
    match is_the_node {
        true => failure
            .why("the node has another one")
            .hint(format!("compare it with the node's console; {tries}")),
        false => failure.why("or what answers is not the node but someone in between; nothing was sent").hint(
            format!(
                "compare the code with the node's console, and give the fingerprint from there with --fingerprint; {tries}"
            ),
        ),
    }
}

fn nonce() -> Result<[u8; proof::NONCE_BYTES], Failure> {
    let mut nonce = [0; proof::NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Failure::error("cannot make random bytes"))?;
    Ok(nonce)
}

/// With a CA on its medium the node knows its admin, but without the fingerprint he does not know the node: whoever
/// answers must neither learn a secret nor become a node that exists.
fn check_unknown(
    session: &Session,
    node: &Node,
    text: &str,
    node_id: &NodeId,
    seen: &Seen<'_>,
) -> Result<(), Failure> {
    if seen.fingerprint.is_some() {
        return Ok(());
    }
    let shown = fingerprint_of(node.public_key_der());
    let ask = |why: &str| {
        Failure::new(Exit::Denied, "the fingerprint is missing")
            .why(why)
            .hint(format!("compare it with the node's console, then give it: --fingerprint {shown}"))
    };
    let documents = Documents::parse(text).map_err(|errors| Failure::error("unreadable").why(errors))?;
    if config::redact(&documents).iter().ne(documents.iter()) {
        return Err(ask("the configuration holds secrets, and anybody could have answered"));
    }
    let known = session.contexts()?.load()?;
    if known.contexts.iter().any(|context| context.node_id.as_deref() == Some(node_id.as_str())) {
        return Err(ask("a context knows this node already, and anybody could have answered in its name"));
    }
    output::warn(&format!(
        "anybody could have answered; the node's console must show the fingerprint {shown}"
    ));
    Ok(())
}

/// A connection that is lost meanwhile is no failure: the node closes it when it starts with the configuration.
async fn configure(node: &Node, request: ConfigureRequest) -> Result<(), Failure> {
    let what = "cannot hand over the configuration";
    match tokio::time::timeout(node.timeout(), node.maintenance().configure(request)).await {
        Ok(Ok(answer)) => judge(answer.into_inner()),
        Ok(Err(status)) if is_lost(&status) => Ok(()),
        Ok(Err(status)) => Err(node.explain(what, &status)),
        Err(_) => Err(node.silent(what)),
    }
}

fn judge(answer: ConfigureResponse) -> Result<(), Failure> {
    match answer.refusal.as_str() {
        "" => Ok(()),
        refusal => Err(Failure::error("the node refuses the configuration").why(refusal)),
    }
}

/// Only errors made on this side have a source.
fn is_lost(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// Waits until the node lets in the clients of its configuration.
async fn meet(session: &Session, target: &Target) -> Result<(Node, Request), Failure> {
    let progress = Progress::new();
    let deadline = Instant::now() + session.global.timeout.unwrap_or(START_MAX);
    loop {
        let met = async {
            let node = Node::connect(target).await?;
            let request = Request::fetch(&node).await?;
            Ok((node, request))
        };
        match met.await {
            Ok(met) => return Ok(met),
            Err(failure) if Instant::now() + POLL >= deadline => {
                let failure: Failure = failure;
                return Err(failure.hint(
                    "the node has taken its configuration but could not be adopted yet: once it answers, run `osctl adopt`",
                ));
            }
            Err(_) => progress.show("waiting until the node starts with its configuration"),
        }
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use pairing::Code;

    use super::*;

    #[test]
    fn a_wrong_code_says_what_it_may_mean_and_what_is_left() {
        let text = wrong_code(3, false).render();
        assert!(text.contains("someone in between") && text.contains("3 tries are left"), "{text}");
        let text = wrong_code(0, true).render();
        assert!(!text.contains("in between") && text.contains("reboot the node"), "{text}");
    }

    #[test]
    fn a_code_is_never_in_what_is_sent() {
        let code = Code::from_random([1; pairing::RANDOM_BYTES]);
        let request = ConfigureRequest {
            text: "kind: Api".into(),
            proof: proof::client(&code, &KeyHash::of(b"key"), "kind: Api"),
            signed: None,
        };
        let sent = prost::Message::encode_to_vec(&request);
        let code = code.to_text().replace('-', "");
        assert!(!sent.windows(code.len()).any(|part| part == code.as_bytes()));
    }
}

//! What becomes of a change: confirmed over a new connection, or taken back.

use std::time::Duration;

use prost::Message as _;
use proto::config::v1::{ConfirmBody, ConfirmRequest, GenerationState, ListGenerationsResponse, Outcome};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::base;
use super::change::generations;
use crate::command::Session;
use crate::command::health::{POLL, remaining};
use crate::command::sign::sign;
use crate::endpoint::Endpoint;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::{Node, Target};
use crate::output::{self, Progress, note};

const CONFIRM: &str = "/cairn.config.v1.ConfigService/Confirm";
/// Besides the trial itself: the reboot before it, and the node's way back from it.
const REBOOT_MAX: Duration = Duration::from_secs(600);

/// A change that the node has begun.
pub struct Pending {
    /// The node, at all addresses at which it may answer.
    pub target: Target,
    /// The generation that the node gives it.
    pub generation: u64,
    /// Whether osctl confirms it: the new connection shows that the node can be reached.
    pub confirms: bool,
    /// How long the node waits for that.
    pub wait: Duration,
}

#[derive(Serialize)]
struct Ended {
    node: String,
    generation: u64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_within_s: Option<i64>,
}

/// Where a generation stands.
enum Standing {
    Confirmed,
    Staged,
    /// Waits for a confirmation, for so long when that is known.
    Trial(Option<i64>),
    Reverted(String),
}

/// Follows a change until it is decided, and reports it.
pub async fn to_the_end(
    session: &Session,
    pending: Pending,
    outcome: Option<Outcome>,
) -> Result<(), Failure> {
    let generation = pending.generation;
    let standing = match outcome {
        Some(outcome) if !outcome.rebooting => of_outcome(&outcome)?,
        Some(_) => {
            note("the node reboots");
            awaited(session, &pending, generation).await?
        }
        None => {
            note("the connection was lost: looking for the node");
            awaited(session, &pending, generation).await?
        }
    };
    let standing = match standing {
        Standing::Trial(_) if pending.confirms => awaited(session, &pending, generation).await?,
        other => other,
    };
    report(session, &pending.target.name, generation, standing)
}

/// `osctl confirm-config`
pub async fn confirm(session: &Session, generation: Option<u64>) -> Result<(), Failure> {
    let target = session.target()?;
    let node = Node::connect(&target).await?;
    let listed = generations(&node).await?;
    let generation = match generation {
        Some(generation) => generation,
        None => on_trial(&node, &listed)?,
    };
    // The answer to an earlier call may have been lost.
    let state = listed.generations.iter().find(|one| one.number == generation).map(|one| one.state);
    if state != Some(GenerationState::Confirmed.into()) {
        send(&target, &node, &listed, generation).await?;
    }
    report(session, node.name(), generation, Standing::Confirmed)
}

fn on_trial(node: &Node, listed: &ListGenerationsResponse) -> Result<u64, Failure> {
    let trial = listed.generations.iter().find(|one| one.state == i32::from(GenerationState::Trial));
    trial.map(|one| one.number).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("no configuration is on trial on {}", node.name()))
            .hint("`osctl get generations` shows what became of it")
    })
}

async fn send(
    target: &Target,
    node: &Node,
    listed: &ListGenerationsResponse,
    generation: u64,
) -> Result<(), Failure> {
    let body = ConfirmBody { generation }.encode_to_vec();
    let request = ConfirmRequest { request: Some(sign(target, CONFIRM, base(listed)?, body)?) };
    node.call("cannot confirm the configuration", node.config().confirm(request)).await.map(drop)
}

fn of_outcome(outcome: &Outcome) -> Result<Standing, Failure> {
    let seconds = outcome.confirm_within.map(|duration| duration.seconds);
    standing(outcome.state, &outcome.reason, seconds)
        .ok_or_else(|| Failure::error("the node answered with a state that this osctl does not know"))
}

fn standing(state: i32, reason: &str, confirm_within_s: Option<i64>) -> Option<Standing> {
    Some(match GenerationState::try_from(state).ok()? {
        GenerationState::Confirmed | GenerationState::Superseded => Standing::Confirmed,
        GenerationState::Staged => Standing::Staged,
        GenerationState::Trial => Standing::Trial(confirm_within_s),
        GenerationState::Reverted => Standing::Reverted(reason.to_owned()),
        GenerationState::Unspecified => return None,
    })
}

/// Looks for the node until the change is decided, confirming it where that is osctl's part.
async fn awaited(session: &Session, pending: &Pending, generation: u64) -> Result<Standing, Failure> {
    let deadline = Instant::now() + pending.wait + REBOOT_MAX;
    let mut confirms = pending.confirms;
    let progress = Progress::new();
    loop {
        let target =
            Target { timeout: remaining(deadline).min(pending.target.timeout), ..pending.target.clone() };
        match look(&target, generation, &mut confirms).await {
            Ok((Some(standing), endpoint)) => {
                remember(session, &endpoint)?;
                return Ok(standing);
            }
            Ok((None, _)) => progress.show("waiting for the node's verdict"),
            Err(failure) if failure.exit() != Exit::Unreachable => return Err(failure),
            Err(failure) => progress.show(&format!("waiting: {failure}")),
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(Exit::Unreachable, format!("{} gave no verdict in time", target.name))
                .hint("an unconfirmed change is taken back by the node itself; `osctl get generations` shows it"));
        }
        sleep(POLL).await;
    }
}

/// One look over a new connection, and where it was made; `None` while nothing is decided. Confirms what it finds on
/// trial if that is osctl's part, and has not been done.
async fn look(
    target: &Target,
    generation: u64,
    confirms: &mut bool,
) -> Result<(Option<Standing>, Endpoint), Failure> {
    let node = Node::connect(target).await?;
    let listed = generations(&node).await?;
    let endpoint = node.endpoint().clone();
    let Some(found) = listed.generations.iter().find(|one| one.number == generation) else {
        return match listed.base_generation < generation {
            true => Err(Failure::error(format!("the change did not reach {}", target.name))),
            false => Ok((Some(Standing::Reverted("the node does not keep it any more".into())), endpoint)),
        };
    };
    let standing = match standing(found.state, &found.reason, None) {
        Some(Standing::Trial(_)) if *confirms => {
            // Refused when the node has just decided: the next look tells how.
            *confirms = send(target, &node, &listed, generation).await.is_err();
            None
        }
        Some(Standing::Staged) | None => None,
        decided => decided,
    };
    Ok((standing, endpoint))
}

/// Keeps an address that the change gave the node in the context.
fn remember(session: &Session, endpoint: &Endpoint) -> Result<(), Failure> {
    if !session.global.endpoints.is_empty() {
        return Ok(());
    }
    let file = session.contexts()?;
    let name = file.load()?.choose(session.global.context.as_deref())?.name.clone();
    file.change(|contexts| {
        let known = contexts.find(&name).is_some_and(|context| {
            context.endpoints.iter().any(|known| known.parse().as_ref() == Ok(endpoint))
        });
        if let (false, Some(context)) = (known, contexts.find(&name)) {
            let mut context = context.clone();
            context.endpoints.insert(0, endpoint.to_string());
            contexts.put(context);
            note(&format!("context {name} looks for the node at {endpoint} from now on"));
        }
        Ok(())
    })
}

fn report(session: &Session, node: &str, generation: u64, standing: Standing) -> Result<(), Failure> {
    let (state, confirm_within_s) = match standing {
        Standing::Confirmed => ("confirmed", None),
        Standing::Staged => ("staged", None),
        Standing::Trial(within) => ("trial", within),
        Standing::Reverted(reason) => {
            return Err(Failure::new(Exit::Reverted, format!("{node} took generation {generation} back"))
                .why(reason)
                .hint("the configuration from before runs on; `osctl get generations` lists all"));
        }
    };
    let ended = Ended { node: node.to_owned(), generation, state, confirm_within_s };
    output::print(session.format(), &ended, text)
}

fn text(ended: &Ended) -> String {
    let Ended { node, generation, .. } = ended;
    match (ended.state, ended.confirm_within_s) {
        ("staged", _) => format!("generation {generation} takes effect at the next boot of {node}\n"),
        ("trial", within) => {
            let within = within.map_or_else(|| "in time".to_owned(), |seconds| format!("within {seconds} s"));
            format!(
                "generation {generation} is on trial on {node}: confirm it {within} with `osctl confirm-config {generation}`\n"
            )
        }
        _ => format!("generation {generation} runs on {node}\n"),
    }
}

//! `osctl apply-config`, `osctl patch config`, `osctl rollback config`

use std::net::IpAddr;
use std::time::Duration;

use prost::Message as _;
use proto::config::v1::{
    ApplyMode, ApplyRequest, Change, GenerationState, ListGenerationsRequest, ListGenerationsResponse,
    Outcome, Plan, PlanRequest, PlanResponse, apply_response::Event, change::Content,
};
use serde::Serialize;
use tonic::Status;

use super::first;
use super::follow::{self, Pending};
use super::{base, read};
use crate::cli::configuration::{ApplyConfig, How, Mode, Patch, Rollback};
use crate::command::{Session, sign::sign};
use crate::endpoint::Endpoint;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::{Node, Target};
use crate::output::{self, Progress, Table, note};

const APPLY: &str = "/cairn.config.v1.ConfigService/Apply";

pub async fn apply(session: &Session, arguments: &ApplyConfig) -> Result<(), Failure> {
    let text = read(&arguments.file)?;
    if let Some(secrets) = arguments.first.secrets.as_deref() {
        return first::apply(session, &text, secrets, &arguments.first).await;
    }
    make(session, Content::Text(text), &arguments.how).await
}

pub async fn patch(session: &Session, arguments: &Patch) -> Result<(), Failure> {
    let content = match (&arguments.json, &arguments.file) {
        (Some(json), _) => Content::JsonPatch(read(json)?),
        (None, Some(file)) => Content::StrategicMerge(read(file)?),
        (None, None) => return Err(Failure::usage("give a patch with -f FILE or --json FILE")),
    };
    make(session, content, &arguments.how).await
}

pub async fn rollback(session: &Session, arguments: &Rollback) -> Result<(), Failure> {
    let to = match arguments.to {
        Some(to) => to,
        None => before(&generations(&session.connect().await?).await?)?,
    };
    make(session, Content::RollbackTo(to), &arguments.how).await
}

/// The newest generation that was confirmed and does not run.
fn before(listed: &ListGenerationsResponse) -> Result<u64, Failure> {
    let was_good = |state| {
        matches!(
            GenerationState::try_from(state),
            Ok(GenerationState::Confirmed | GenerationState::Superseded)
        )
    };
    let candidates =
        listed.generations.iter().filter(|one| one.number != listed.running && was_good(one.state));
    candidates.map(|one| one.number).max().ok_or_else(|| {
        Failure::error("there is no earlier generation to return to")
            .hint("`osctl get generations` lists all")
    })
}

/// Makes a change, or with `--dry-run` shows what it would do.
pub async fn make(session: &Session, content: Content, how: &How) -> Result<(), Failure> {
    let target = session.target()?;
    let node = Node::connect(&target).await?;
    let base = base(&generations(&node).await?)?;
    let addresses = addresses(&content);
    let change = change(content, how);
    if how.dry_run {
        let request = PlanRequest { change: Some(change), base_generation: base.generation };
        let planned = node.call("cannot plan the change", node.config().plan(request)).await?;
        return show_plan(session, &planned);
    }
    let request = sign(&target, APPLY, base, change.encode_to_vec())?;
    let reported = match send(&node, ApplyRequest { request: Some(request) }).await {
        // It may have begun: its answer is lost when the change is one of the network.
        Err(failure) if failure.exit() == Exit::Unreachable => Reported { generation: None, outcome: None },
        reported => reported?,
    };
    drop(node);
    let pending = Pending {
        target: with_addresses(target, &addresses),
        generation: reported.generation.unwrap_or(base.generation + 1),
        confirms: how.mode != Mode::Try,
        wait: how.confirm_within,
    };
    follow::to_the_end(session, pending, reported.outcome).await
}

/// Which generations the node keeps, and what a change names as its base.
pub async fn generations(node: &Node) -> Result<ListGenerationsResponse, Failure> {
    node.call("cannot list the generations", node.config().list_generations(ListGenerationsRequest {})).await
}

fn change(content: Content, how: &How) -> Change {
    let mode = match how.mode {
        Mode::Auto => ApplyMode::Auto,
        Mode::Staged => ApplyMode::Staged,
        Mode::Try => ApplyMode::Try,
        Mode::NoReboot => ApplyMode::NoReboot,
    };
    Change {
        content: Some(content),
        mode: mode.into(),
        trial_timeout: Some(duration(how.confirm_within)),
        accept_unreachable: how.accept_unreachable,
    }
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// What the node said until the stream ended or the connection was lost.
struct Reported {
    generation: Option<u64>,
    outcome: Option<Outcome>,
}

async fn send(node: &Node, request: ApplyRequest) -> Result<Reported, Failure> {
    let what = "cannot apply the configuration";
    let mut client = node.config();
    let mut events = node.call(what, client.apply(request)).await?;
    let progress = Progress::new();
    let mut reported = Reported { generation: None, outcome: None };
    loop {
        match events.message().await {
            Ok(Some(response)) => match response.event {
                Some(Event::Planned(planned)) => {
                    reported.generation = Some(planned.generation);
                    tell_plan(planned.generation, planned.plan.as_ref());
                }
                Some(Event::Progress(step)) => progress.show(&step.message),
                Some(Event::Outcome(outcome)) => reported.outcome = Some(outcome),
                // A newer node's event: the outcome will tell.
                None => {}
            },
            Ok(None) => return Ok(reported),
            Err(status) => return lost(node, what, reported, &status),
        }
    }
}

/// A connection that ends after the node has begun is a reason to look for it anew.
fn lost(node: &Node, what: &str, reported: Reported, status: &Status) -> Result<Reported, Failure> {
    match reported.generation {
        Some(_) => Ok(reported),
        None => Err(node.explain(what, status)),
    }
}

fn tell_plan(generation: u64, plan: Option<&Plan>) {
    let operations = plan.map_or(&[][..], |plan| &plan.operations);
    note(&format!("generation {generation}: {} changes", operations.len()));
    for operation in operations {
        note(&format!("  {} {}: {}", operation.effect, operation.subject, operation.reason));
    }
}

#[derive(Serialize)]
struct Planned {
    operations: Vec<Operation>,
    reboot: bool,
    needs_confirmation: bool,
    diff: String,
}

#[derive(Serialize)]
struct Operation {
    effect: String,
    subject: String,
    reason: String,
}

fn show_plan(session: &Session, response: &PlanResponse) -> Result<(), Failure> {
    let plan = response.plan.clone().unwrap_or_default();
    let planned = Planned {
        operations: plan
            .operations
            .into_iter()
            .map(|one| Operation { effect: one.effect, subject: one.subject, reason: one.reason })
            .collect(),
        reboot: plan.reboot,
        needs_confirmation: plan.needs_confirmation,
        diff: response.diff.clone(),
    };
    output::print(session.format(), &planned, describe)
}

fn describe(planned: &Planned) -> String {
    if planned.operations.is_empty() && planned.diff.is_empty() {
        return "nothing changes\n".into();
    }
    let mut table = Table::new(["EFFECT", "SUBJECT", "REASON"]);
    for one in &planned.operations {
        table.row([one.effect.clone(), one.subject.clone(), one.reason.clone()]);
    }
    let mut text = format!("{}\n{}", planned.diff, table.take());
    if planned.reboot {
        text.push_str("\nThe node would reboot.\n");
    }
    if planned.needs_confirmation {
        text.push_str("\nIt would be a trial: taken back unless it is confirmed over a new connection.\n");
    }
    text
}

/// Static addresses that a new configuration gives the node: it may answer there afterwards.
fn addresses(content: &Content) -> Vec<IpAddr> {
    let (Content::Text(text) | Content::StrategicMerge(text)) = content else { return Vec::new() };
    let parsed = config::parse(text).unwrap_or_default();
    parsed.interfaces.iter().flat_map(|one| &one.addresses).map(|subnet| subnet.address).collect()
}

fn with_addresses(mut target: Target, addresses: &[IpAddr]) -> Target {
    for address in addresses {
        if let Ok(endpoint) = address.to_string().parse::<Endpoint>()
            && !target.endpoints.contains(&endpoint)
        {
            target.endpoints.push(endpoint);
        }
    }
    target
}

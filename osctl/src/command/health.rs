//! `osctl health`

use std::time::Duration;

use proto::machine::v1::{CheckHealthRequest, CheckHealthResponse, ConditionStatus};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::Session;
use crate::clock;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::{Node, TIMEOUT, Target};
use crate::output::{self, Progress, Table};

/// Longest wait with `--wait`: a first boot on a slow board, with its images to import.
pub const WAIT: Duration = Duration::from_secs(600);
/// Pause between two looks at a node.
pub const POLL: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Health {
    healthy: bool,
    conditions: Vec<Condition>,
}

#[derive(Serialize)]
struct Condition {
    name: String,
    status: &'static str,
    reason: String,
    message: String,
    since: Option<String>,
    #[serde(skip)]
    age: String,
}

pub async fn run(session: &Session, wait: bool) -> Result<(), Failure> {
    let health = if wait { awaited(session).await? } else { look(&session.connect().await?).await? };
    output::print(session.format(), &health, text)?;
    if health.healthy { Ok(()) } else { Err(Failure::silent(Exit::Unhealthy)) }
}

async fn look(node: &Node) -> Result<Health, Failure> {
    let answer =
        node.call("cannot check the health", node.machine().check_health(CheckHealthRequest {})).await?;
    Ok(Health::from(answer))
}

/// The health once it is good, or as it is when the time is over.
async fn awaited(session: &Session) -> Result<Health, Failure> {
    let deadline = Instant::now() + session.global.timeout.unwrap_or(WAIT);
    let progress = Progress::new();
    let mut node = None;
    loop {
        let target = Target { timeout: remaining(deadline), ..session.target()? };
        let outcome = match node.take() {
            Some(node) => looked(node).await,
            None => match Node::connect(&target).await {
                Ok(node) => looked(node).await,
                Err(failure) => Err(failure),
            },
        };
        let last = Instant::now() + POLL >= deadline;
        match outcome {
            Ok((_, health)) if health.healthy || last => return Ok(health),
            Ok((same, health)) => {
                progress.show(&format!("waiting for {}", health.troubles()));
                node = Some(same);
            }
            Err(failure) if last || failure.exit() != Exit::Unreachable => return Err(failure),
            Err(failure) => progress.show(&format!("waiting: {failure}")),
        }
        sleep(POLL).await;
    }
}

async fn looked(node: Node) -> Result<(Node, Health), Failure> {
    let health = look(&node).await?;
    Ok((node, health))
}

/// Limit of one attempt before `deadline`: never so long that a node which came back meanwhile is missed.
pub fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).clamp(POLL, TIMEOUT)
}

impl Health {
    fn troubles(&self) -> String {
        let names: Vec<&str> =
            self.conditions.iter().filter(|c| c.status != "healthy").map(|c| c.name.as_str()).collect();
        names.join(", ")
    }
}

impl From<CheckHealthResponse> for Health {
    fn from(answer: CheckHealthResponse) -> Health {
        let now_s = clock::now_s();
        let conditions = answer
            .conditions
            .into_iter()
            .map(|condition| Condition {
                status: match condition.status() {
                    ConditionStatus::Healthy => "healthy",
                    ConditionStatus::Progressing => "progressing",
                    ConditionStatus::Unhealthy => "unhealthy",
                    ConditionStatus::Unspecified => "unknown",
                },
                since: condition.since.as_ref().map(ToString::to_string),
                age: clock::age(condition.since.as_ref(), now_s),
                name: condition.name,
                reason: condition.reason,
                message: condition.message,
            })
            .collect();
        Health { healthy: answer.healthy, conditions }
    }
}

fn text(health: &Health) -> String {
    let mut table = Table::new(["CONDITION", "STATUS", "REASON", "AGE", "MESSAGE"]);
    for condition in &health.conditions {
        table.row([
            condition.name.as_str(),
            condition.status,
            &condition.reason,
            &condition.age,
            &condition.message,
        ]);
    }
    table.take()
}

//! `osctl reboot`, `osctl shutdown`

use proto::machine::v1::{GetVersionRequest, RebootRequest, ShutdownRequest};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::Session;
use super::health::{POLL, WAIT, remaining};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::{Node, Target};
use crate::output::{self, Progress};

#[derive(Serialize)]
struct Begun {
    node: String,
    action: &'static str,
    /// Whether the node is back already.
    #[serde(skip_serializing_if = "Option::is_none")]
    back: Option<bool>,
}

pub async fn reboot(session: &Session, wait: bool) -> Result<(), Failure> {
    let node = session.connect().await?;
    let before = if wait { Some(boot_id(&node).await?) } else { None };
    node.call("cannot reboot", node.machine().reboot(RebootRequest {})).await?;
    let name = node.name().to_owned();
    drop(node);
    let back = before.is_some();
    if let Some(before) = before {
        await_next_boot(session, &before).await?;
    }
    let begun = Begun { node: name, action: "reboot", back: back.then_some(true) };
    output::print(session.format(), &begun, |begun| match back {
        true => format!("{} is back\n", begun.node),
        false => format!("{} is rebooting\n", begun.node),
    })
}

pub async fn shutdown(session: &Session) -> Result<(), Failure> {
    let node = session.connect().await?;
    node.call("cannot shut down", node.machine().shutdown(ShutdownRequest {})).await?;
    let begun = Begun { node: node.name().to_owned(), action: "shutdown", back: None };
    output::print(session.format(), &begun, |begun| format!("{} is shutting down\n", begun.node))
}

async fn boot_id(node: &Node) -> Result<String, Failure> {
    Ok(node.call("cannot get the version", node.machine().get_version(GetVersionRequest {})).await?.boot_id)
}

/// Waits until the node answers in another boot.
async fn await_next_boot(session: &Session, before: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + session.global.timeout.unwrap_or(WAIT);
    let progress = Progress::new();
    progress.show("going down");
    loop {
        let target = Target { timeout: remaining(deadline), ..session.target()? };
        let last = Instant::now() + POLL >= deadline;
        match look(&target).await {
            Ok(now) if now != before => return Ok(()),
            Ok(_) if last => {
                return Err(Failure::new(Exit::Unhealthy, format!("{} did not reboot in time", target.name))
                    .hint(
                        "wait longer with --timeout; `osctl dmesg` and the console show what it waits for",
                    ));
            }
            Err(failure) if last || failure.exit() != Exit::Unreachable => return Err(failure),
            Ok(_) => progress.show("going down"),
            Err(failure) => progress.show(&format!("waiting: {failure}")),
        }
        sleep(POLL).await;
    }
}

async fn look(target: &Target) -> Result<String, Failure> {
    boot_id(&Node::connect(target).await?).await
}

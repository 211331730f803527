//! The releases of a node: show, install, take back.

mod begin;
mod folder;
mod follow;
mod show;

use prost::Message as _;
use proto::update::v1::{
    CancelBody, CancelRequest, GetStatusRequest, RollbackBody, RollbackRequest, Status, WatchRequest,
};
use serde::Serialize;

use super::{Session, sign, until_interrupted};
use crate::cli::upgrade::{Upgrade, UpgradeCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{self, Format};
use show::Shown;

const ROLLBACK: &str = "/cairn.update.v1.UpdateService/Rollback";
const CANCEL: &str = "/cairn.update.v1.UpdateService/Cancel";

/// `osctl upgrade`
pub async fn run(session: &Session, arguments: &Upgrade) -> Result<(), Failure> {
    match arguments.action {
        None => begin::begin(session, &arguments.begin).await,
        Some(UpgradeCommand::Status { watch: false }) => {
            let shown = Shown::from(status(&session.connect().await?).await?);
            output::print(session.format(), &shown, show::text)
        }
        Some(UpgradeCommand::Status { watch: true }) => watch(session).await,
        Some(UpgradeCommand::Cancel) => cancel(session).await,
    }
}

/// `osctl slots`
pub async fn slots(session: &Session) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Slots {
        items: Vec<show::Slot>,
    }
    let shown = Shown::from(status(&session.connect().await?).await?);
    output::print(session.format(), &Slots { items: shown.slots }, |slots| show::slots(&slots.items))
}

/// `osctl rollback`
pub async fn rollback(session: &Session, wait: bool) -> Result<(), Failure> {
    let target = session.target()?;
    let node = Node::connect(&target).await?;
    let status = status(&node).await?;
    let version = other_release(&node, &status)?;
    let base = sign::base(&status.epoch, status.base_generation)?;
    let body = RollbackBody { version: version.clone() }.encode_to_vec();
    let request = Some(sign::sign(&target, ROLLBACK, base, body)?);
    node.call("cannot roll back", node.updates().rollback(RollbackRequest { request })).await?;
    let name = node.name().to_owned();
    drop(node);
    if wait {
        let outcome = follow::verdict(session, &target, status.last.as_ref()).await?;
        return follow::report(session, &name, &outcome);
    }
    let begun = Begun { node: name, action: "rollback", version };
    output::print(session.format(), &begun, |begun| format!("{} returns to {}\n", begun.node, begun.version))
}

fn other_release(node: &Node, status: &Status) -> Result<String, Failure> {
    let other = status.slots.iter().find(|slot| !slot.running && !slot.version.is_empty());
    other.map(|slot| slot.version.clone()).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("{} has no other release", node.name()))
            .hint("`osctl slots` shows what it has")
    })
}

async fn cancel(session: &Session) -> Result<(), Failure> {
    let target = session.target()?;
    let node = Node::connect(&target).await?;
    let status = status(&node).await?;
    let base = sign::base(&status.epoch, status.base_generation)?;
    let request = Some(sign::sign(&target, CANCEL, base, CancelBody {}.encode_to_vec())?);
    node.call("cannot cancel", node.updates().cancel(CancelRequest { request })).await?;
    let version = status.operation.map(|operation| operation.version).unwrap_or_default();
    let begun = Begun { node: node.name().to_owned(), action: "cancel", version };
    output::print(session.format(), &begun, |begun| format!("the upgrade of {} is cancelled\n", begun.node))
}

#[derive(Serialize)]
struct Begun {
    node: String,
    action: &'static str,
    version: String,
}

/// What the node has, and what it does.
async fn status(node: &Node) -> Result<Status, Failure> {
    let answer = node.call("cannot get the status", node.updates().get_status(GetStatusRequest {})).await?;
    Ok(answer.status.unwrap_or_default())
}

async fn watch(session: &Session) -> Result<(), Failure> {
    until_interrupted(async {
        let what = "cannot watch the status";
        let node = session.connect().await?;
        let mut client = node.updates();
        let mut statuses = node.call(what, client.watch(WatchRequest {})).await?;
        let format = session.format().unwrap_or(Format::Table);
        loop {
            let next = statuses.message().await.map_err(|status| node.explain(what, &status))?;
            let Some(next) = next else { return Ok(()) };
            let shown = Shown::from(next.status.unwrap_or_default());
            output::print_item(format, &shown, |shown| format!("{}\n", show::text(shown)))?;
        }
    })
    .await
}

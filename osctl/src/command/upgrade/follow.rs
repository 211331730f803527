//! What becomes of an upgrade, also across the node's reboots.

use std::time::Duration;

use proto::update::v1::{Ending, Outcome, Phase, Status};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::show::{self, ending};
use super::status;
use crate::command::Session;
use crate::command::health::{POLL, remaining};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::{Node, Target};
use crate::output::{self, Progress, printable};

/// Longest wait for a verdict: a release that hangs is started three times, for ten minutes each, before the node goes
/// back to the one of before.
const VERDICT_MAX: Duration = Duration::from_secs(45 * 60);

#[derive(Serialize)]
struct Ended<'a> {
    node: &'a str,
    version: &'a str,
    ending: &'static str,
}

/// Looks for the node until it is decided what becomes of an upgrade or a rollback. `former` is how the last one had
/// ended before this one was asked for.
pub async fn verdict(
    session: &Session,
    target: &Target,
    former: Option<&Outcome>,
) -> Result<Outcome, Failure> {
    let deadline = Instant::now() + session.global.timeout.unwrap_or(VERDICT_MAX);
    let progress = Progress::new();
    loop {
        let timeout = remaining(deadline).min(target.timeout);
        match look(&Target { timeout, ..target.clone() }).await {
            Ok(status) => match decided(&status, former) {
                Some(outcome) => return Ok(outcome),
                None if status.operation.is_none() => return Err(unknown(&target.name)),
                None => {
                    progress.show(&status.operation.map(|one| show::line(&one, None)).unwrap_or_default())
                }
            },
            Err(failure) if failure.exit() != Exit::Unreachable => return Err(failure),
            Err(failure) => progress.show(&format!("waiting: {failure}")),
        }
        if Instant::now() + POLL >= deadline {
            return Err(Failure::new(Exit::Unreachable, format!("{} gave no verdict in time", target.name))
                .hint("wait longer with --timeout; `osctl upgrade status` shows how far it is, and its console what it does"));
        }
        sleep(POLL).await;
    }
}

async fn look(target: &Target) -> Result<Status, Failure> {
    status(&Node::connect(target).await?).await
}

/// The end, once there is one.
fn decided(status: &Status, former: Option<&Outcome>) -> Option<Outcome> {
    match &status.operation {
        Some(operation) if operation.phase() == Phase::BackingOff => Some(Outcome {
            ending: Ending::NoVerdict.into(),
            version: operation.version.clone(),
            message: operation.message.clone(),
            at: None,
        }),
        Some(_) => None,
        None => status.last.clone().filter(|last| Some(last) != former),
    }
}

fn unknown(node: &str) -> Failure {
    Failure::error(format!("{node} knows nothing of the upgrade"))
        .why("it did not reach the node, or the node lost its state")
        .hint("`osctl upgrade status` shows what it has; repeat the command if that is not what you want")
}

/// Reports the end; one that nobody wants is a failure.
pub fn report(session: &Session, node: &str, outcome: &Outcome) -> Result<(), Failure> {
    let kind = outcome.ending();
    let version = if outcome.version.is_empty() { "the release" } else { &outcome.version };
    let failed = |exit, what: String| {
        let failure = Failure::new(exit, printable(&what));
        match outcome.message.as_str() {
            "" => failure,
            message => failure.why(printable(message)),
        }
    };
    let said = match kind {
        Ending::Confirmed => format!("{node} runs {version}\n"),
        Ending::Rebooting => {
            format!("{node} reboots into {version}; `osctl upgrade status` tells what becomes of it\n")
        }
        Ending::Staged => format!("{node} tries {version} at its next reboot (`osctl reboot --wait`)\n"),
        Ending::Written => {
            let why = if outcome.message.is_empty() { "" } else { ": " };
            format!(
                "{node} has {version} in its slot, and does not start it{why}{}\n",
                printable(&outcome.message)
            )
        }
        Ending::FellBack => {
            return Err(failed(
                Exit::Reverted,
                format!("{version} did not prove healthy on {node}, which went back"),
            )
            .hint("the node refuses it from now on, unless it is given --retry-failed"));
        }
        Ending::NoVerdict => {
            return Err(failed(Exit::Reverted, format!("{version} was started on {node} without a verdict, and the node went back"))
                .hint("the power failed, or the release hangs; the node tries it again by itself, see `osctl upgrade status`"));
        }
        Ending::Failed => {
            return Err(failed(Exit::Error, format!("{version} was not installed on {node}"))
                .hint(remedy(&outcome.message)));
        }
        Ending::Cancelled => return Err(failed(Exit::Error, format!("the upgrade of {node} was cancelled"))),
        Ending::Unspecified => {
            return Err(Failure::error(format!("{node} tells an end that this osctl does not know"))
                .hint("its release is newer than this osctl; `osctl slots` shows what it runs"));
        }
    };
    let ended = Ended { node, version: &outcome.version, ending: ending(kind) };
    output::print(session.format(), &ended, |_| said)
}

/// What to do about a refusal or a failure.
pub fn remedy(message: &str) -> &'static str {
    if message.contains("with leave to") {
        "leave is given with --allow-downgrade, --retry-failed, --allow-expired or --allow-kubernetes-minor"
    } else if message.contains("has expired") {
        "sign the repository anew with `cargo xtask release`, or take it as it is with --allow-expired"
    } else if message.contains("is under way") {
        "`osctl upgrade status` shows it, `osctl upgrade cancel` ends it"
    } else {
        "docs/updates.md says what each message means; what was fetched already need not be fetched again"
    }
}

#[cfg(test)]
mod tests {
    use proto::update::v1::Operation;

    use super::*;

    fn outcome(ending: Ending, at_s: i64) -> Outcome {
        let at = Some(prost_types::Timestamp { seconds: at_s, nanos: 0 });
        Outcome { ending: ending.into(), version: "1.4.0".into(), message: String::new(), at }
    }

    #[test]
    fn an_end_counts_once_nothing_goes_on_and_it_is_not_the_former_one() {
        let former = outcome(Ending::Failed, 5);
        let at = |phase: Phase| Status {
            operation: Some(Operation { phase: phase.into(), ..Operation::default() }),
            last: Some(former.clone()),
            ..Status::default()
        };
        for phase in [Phase::Fetching, Phase::Rebooting, Phase::Trial, Phase::FallingBack, Phase::Waiting] {
            assert_eq!(decided(&at(phase), Some(&former)), None, "{phase:?}");
        }
        assert_eq!(decided(&at(Phase::BackingOff), Some(&former)).unwrap().ending(), Ending::NoVerdict);

        let mut over = Status { last: Some(former.clone()), ..Status::default() };
        assert_eq!(decided(&over, Some(&former)), None);
        over.last = Some(outcome(Ending::Failed, 6));
        assert_eq!(decided(&over, Some(&former)), over.last);
    }

    #[test]
    fn a_refusal_for_want_of_leave_says_how_that_is_given() {
        assert!(
            remedy("release 1 is older; ask for it with leave to downgrade").contains("--allow-downgrade")
        );
        assert!(remedy("an upgrade is under way; cancel it").contains("osctl upgrade cancel"));
    }
}

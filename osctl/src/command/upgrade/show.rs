//! What lies in the slots and what goes on, for people and for programs.

use std::time::Duration;

use proto::update::v1::{
    Automation as ApiAutomation, Ending, Operation as ApiOperation, Outcome as ApiOutcome, Phase,
    RefusedRelease, Slot as ApiSlot, SlotState, Status,
};
use serde::Serialize;

use crate::output::{Table, printable};
use crate::{clock, duration};

const MIB: u64 = 1024 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    pub slots: Vec<Slot>,
    operation: Option<Operation>,
    last: Option<Outcome>,
    refused: Vec<Refused>,
    automation: Option<Automation>,
    rollback_floor: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    name: String,
    version: String,
    state: &'static str,
    running: bool,
    active: bool,
    tries_left: u32,
    boots_since_alive: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    version: String,
    source: String,
    author: String,
    phase: &'static str,
    blocks_done: u64,
    blocks_total: u64,
    bytes_fetched: u64,
    bytes_saved: u64,
    left_s: Option<i64>,
    message: String,
    #[serde(skip)]
    line: String,
}

/// How an upgrade ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    pub ending: &'static str,
    pub version: String,
    pub message: String,
    at: Option<String>,
    #[serde(skip)]
    age: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    version: String,
    message: String,
    until: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Automation {
    channel: String,
    next_version: String,
    due: Option<String>,
    waits_for: String,
    checked: Option<String>,
    error: String,
}

impl From<Status> for Shown {
    fn from(status: Status) -> Shown {
        Shown {
            slots: status.slots.into_iter().map(Slot::from).collect(),
            operation: status.operation.map(Operation::from),
            last: status.last.map(Outcome::from),
            refused: status.refused.into_iter().map(Refused::from).collect(),
            automation: status.automation.map(Automation::from),
            rollback_floor: status.rollback_floor,
        }
    }
}

impl From<ApiSlot> for Slot {
    fn from(slot: ApiSlot) -> Slot {
        Slot {
            state: match slot.state() {
                SlotState::Empty => "empty",
                SlotState::Trial => "trial",
                SlotState::Confirmed => "confirmed",
                SlotState::Failed => "failed",
                SlotState::Unspecified => "unknown",
            },
            name: slot.name,
            version: slot.version,
            running: slot.running,
            active: slot.active,
            tries_left: slot.tries_left,
            boots_since_alive: slot.boots_since_alive,
        }
    }
}

impl From<ApiOperation> for Operation {
    fn from(operation: ApiOperation) -> Operation {
        let line = line(&operation, None);
        Operation {
            phase: phase(operation.phase()).0,
            version: operation.version,
            source: operation.source,
            author: operation.author,
            blocks_done: operation.blocks_done,
            blocks_total: operation.blocks_total,
            bytes_fetched: operation.bytes_fetched,
            bytes_saved: operation.bytes_saved,
            left_s: operation.left.map(|left| left.seconds),
            message: operation.message,
            line,
        }
    }
}

impl From<ApiOutcome> for Outcome {
    fn from(outcome: ApiOutcome) -> Outcome {
        Outcome {
            ending: ending(outcome.ending()),
            at: outcome.at.as_ref().map(ToString::to_string),
            age: clock::age(outcome.at.as_ref(), clock::now_s()),
            version: outcome.version,
            message: outcome.message,
        }
    }
}

impl From<RefusedRelease> for Refused {
    fn from(refused: RefusedRelease) -> Refused {
        let until = refused.until.as_ref().map(ToString::to_string);
        Refused { version: refused.version, message: refused.message, until }
    }
}

impl From<ApiAutomation> for Automation {
    fn from(automation: ApiAutomation) -> Automation {
        Automation {
            due: automation.due.as_ref().map(ToString::to_string),
            checked: automation.checked.as_ref().map(ToString::to_string),
            channel: automation.channel,
            next_version: automation.next_version,
            waits_for: automation.waits_for,
            error: automation.error,
        }
    }
}

/// One word for programs, and what to call it.
fn phase(phase: Phase) -> (&'static str, &'static str) {
    match phase {
        Phase::Resolving => ("resolving", "looking for"),
        Phase::Fetching => ("fetching", "fetching"),
        Phase::Verifying => ("verifying", "reading back"),
        Phase::Recording => ("recording", "writing the boot record for"),
        Phase::Staged => ("staged", "waiting for the next reboot to try"),
        Phase::Rebooting => ("rebooting", "rebooting into"),
        Phase::Trial => ("trial", "on trial:"),
        Phase::FallingBack => ("falling-back", "going back from"),
        Phase::Waiting => ("waiting", "trying again soon:"),
        Phase::BackingOff => ("backing-off", "trying again later:"),
        Phase::Unspecified => ("unknown", "doing something that this osctl does not know:"),
    }
}

/// One word for an ending.
pub fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Written => "written",
        Ending::Staged => "staged",
        Ending::Rebooting => "rebooting",
        Ending::Confirmed => "confirmed",
        Ending::FellBack => "fell-back",
        Ending::NoVerdict => "no-verdict",
        Ending::Failed => "failed",
        Ending::Cancelled => "cancelled",
        Ending::Unspecified => "unknown",
    }
}

/// What goes on, in one line; with the rate of fetching where that is known.
pub fn line(operation: &ApiOperation, rate_bytes_per_s: Option<u64>) -> String {
    let version = if operation.version.is_empty() { "the newest release" } else { &operation.version };
    let mut text = format!("{} {version}", phase(operation.phase()).1);
    let (done, total) = (operation.blocks_done, operation.blocks_total);
    if let Some(percent) = done.saturating_mul(100).checked_div(total) {
        text.push_str(&format!(": {percent} % ({done} of {total} blocks)"));
    }
    if operation.bytes_fetched > 0 || operation.bytes_saved > 0 {
        text.push_str(&format!(
            ", {} fetched, {} saved",
            bytes(operation.bytes_fetched),
            bytes(operation.bytes_saved)
        ));
    }
    if let Some(rate) = rate_bytes_per_s {
        text.push_str(&format!(", {}/s", bytes(rate)));
    }
    if let Some(left) = operation.left.and_then(|left| u64::try_from(left.seconds).ok()) {
        text.push_str(&format!(", {} left", duration::age(Duration::from_secs(left))));
    }
    if !operation.message.is_empty() {
        text.push_str(&format!(" ({})", operation.message));
    }
    text
}

/// A number of bytes, in the unit that suits it.
fn bytes(bytes: u64) -> String {
    if bytes < 10 * MIB { format!("{} KiB", bytes / 1024) } else { format!("{} MiB", bytes / MIB) }
}

/// The slots as a table.
pub fn slots(slots: &[Slot]) -> String {
    let mut table = Table::new(["SLOT", "VERSION", "STATE", "RUNNING", "ACTIVE", "TRIES", "BOOTS"]);
    for slot in slots {
        let tries = if slot.state == "trial" { slot.tries_left.to_string() } else { String::new() };
        let boots = if slot.state == "empty" { String::new() } else { slot.boots_since_alive.to_string() };
        let yes = |is: bool| if is { "yes" } else { "" };
        table.row([
            &slot.name,
            &slot.version,
            slot.state,
            yes(slot.running),
            yes(slot.active),
            &tries,
            &boots,
        ]);
    }
    table.take()
}

/// All of it, for people.
pub fn text(shown: &Shown) -> String {
    let mut text = slots(&shown.slots);
    let mut say = |line: String| text.push_str(&format!("\n{}\n", printable(&line)));
    if let Some(operation) = &shown.operation {
        let author = match operation.author.as_str() {
            "" => "the node itself",
            author => author,
        };
        say(format!("{}, from {}, asked for by {author}", operation.line, operation.source));
    }
    if let Some(last) = &shown.last {
        let message = if last.message.is_empty() { String::new() } else { format!(": {}", last.message) };
        let age = if last.age.is_empty() { String::new() } else { format!(", {} ago", last.age) };
        let version = if last.version.is_empty() { "no release" } else { &last.version };
        say(format!("last: {version} {}{age}{message}", last.ending));
    }
    for refused in &shown.refused {
        let until = match &refused.until {
            Some(until) => format!("not before {until}"),
            None => "only with --retry-failed".to_owned(),
        };
        say(format!("refused: {} ({until}): {}", refused.version, refused.message));
    }
    if let Some(automation) = &shown.automation {
        say(automated(automation));
    }
    if !shown.rollback_floor.is_empty() {
        say(format!("releases below {} never start", shown.rollback_floor));
    }
    text
}

fn automated(automation: &Automation) -> String {
    let mut text = format!("follows {}", automation.channel);
    if !automation.next_version.is_empty() {
        text.push_str(&format!(", next is {}", automation.next_version));
    }
    if let Some(due) = &automation.due {
        text.push_str(&format!(" at {due}"));
    }
    if !automation.waits_for.is_empty() {
        text.push_str(&format!(", waits for {}", automation.waits_for));
    }
    if !automation.error.is_empty() {
        text.push_str(&format!("; could not read it: {}", automation.error));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let fetching = ApiOperation {
            version: "1.4.0".into(),
            phase: Phase::Fetching.into(),
            blocks_done: 30,
            blocks_total: 120,
            bytes_fetched: 5 * MIB,
            bytes_saved: 90 * MIB,
            ..ApiOperation::default()
        };
        assert_eq!(
            line(&fetching, Some(512 * 1024)),
            "fetching 1.4.0: 25 % (30 of 120 blocks), 5120 KiB fetched, 90 MiB saved, 512 KiB/s"
        );
        let trial = ApiOperation {
            version: "1.4.0".into(),
            phase: Phase::Trial.into(),
            left: Some(prost_types::Duration { seconds: 200, nanos: 0 }),
            message: "pod default/web does not run".into(),
            ..ApiOperation::default()
        };
        assert_eq!(line(&trial, None), "on trial: 1.4.0, 3m20s left (pod default/web does not run)");
        let resolving = ApiOperation { phase: Phase::Resolving.into(), ..ApiOperation::default() };
        assert_eq!(line(&resolving, None), "looking for the newest release");
    }
}

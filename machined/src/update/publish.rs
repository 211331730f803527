//! Slots and upgrades as resources, and the condition `update`.

use std::sync::{Arc, PoisonError};

use bootstate::{Record, Slot, SlotState};
use resource::spec;
use tokio::sync::watch;
use update::{Goal, Origin, Outcome, Phase, Report, Source, Work};

use super::{CONDITION, mirrors::Mark, sources::shown, view::View, work::Gauges};
use crate::{context::Context, health::Status};

/// The only upgrade's id.
const ID: &str = "upgrade";

/// Publishes for ever.
pub async fn run(context: Arc<Context>, mut view: watch::Receiver<Arc<View>>, gauges: Gauges) {
    let mut missing = gauges.missing.subscribe();
    loop {
        let (shown, missing_now) =
            (Arc::clone(&view.borrow_and_update()), missing.borrow_and_update().clone());
        let marks = gauges.marks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let slots = Slot::ALL.map(|one| (one.letter().to_string(), slot(&shown.record, one, shown.running)));
        context.store.replace_all(slots);
        context.store.put(ID, &upgrade(&shown, &missing_now, &marks));
        let (status, reason, message) = condition(&shown, &missing_now);
        context.health.set(CONDITION, status, reason, message);
        let alive = tokio::select! {
            alive = view.changed() => alive,
            alive = missing.changed() => alive,
        };
        if alive.is_err() {
            return;
        }
    }
}

fn slot(record: &Record, slot: Slot, running: Slot) -> spec::Slot {
    let lies = record.slot(slot);
    let (state, tries_left) = match lies.state() {
        SlotState::Empty => ("empty", None),
        SlotState::Trial { tries_left } => ("trial", Some(tries_left)),
        SlotState::Confirmed => ("confirmed", None),
        SlotState::Failed => ("failed", None),
    };
    spec::Slot {
        version: lies.release().map(|release| release.version.to_string()).unwrap_or_default(),
        state: state.to_owned(),
        tries_left,
        boots_since_alive: lies.boots_since_alive(),
        active: record.active() == slot,
        running: running == slot,
    }
}

fn upgrade(view: &View, missing: &[String], marks: &[Mark]) -> spec::Upgrade {
    let work = view.upgrade.work();
    let last = view.upgrade.last();
    let mark = |mark: &Mark| spec::Mirror {
        name: mark.mirror.clone(),
        failures: mark.failures,
        wrong: mark.wrong,
        last: mark.last.clone(),
    };
    spec::Upgrade {
        phase: work.map_or("idle", |work| phase(&work.phase)).to_owned(),
        version: work.map(|work| work.version().to_string()).unwrap_or_default(),
        source: work.map(source).unwrap_or_default(),
        author: work.map(author).unwrap_or_default(),
        blocks_done: view.progress.blocks_done,
        blocks_total: view.progress.blocks_total,
        bytes_fetched: view.progress.bytes_fetched,
        bytes_saved: view.progress.bytes_saved,
        message: work.map(|work| message(&work.phase, missing)).unwrap_or_default(),
        last_version: last.map(|last| last.version.to_string()).unwrap_or_default(),
        last_outcome: last.map(|last| outcome(last.outcome)).unwrap_or_default().to_owned(),
        last_reason: last.map(|last| last.reason.clone()).unwrap_or_default(),
        mirrors: marks.iter().map(mark).collect(),
    }
}

/// The condition: what is on trial, and what was taken back.
pub(super) fn condition(view: &View, missing: &[String]) -> (Status, &'static str, String) {
    if let Some(work) = view.upgrade.work() {
        let version = work.version();
        match &work.phase {
            Phase::Trial { .. } | Phase::Confirming => {
                let lacks = missing.join("; ");
                let lacks = if lacks.is_empty() { "it must hold for a moment" } else { &lacks };
                return (Status::Progressing, "OnTrial", format!("release {version} is on trial: {lacks}"));
            }
            Phase::Failing { reason, .. } => {
                let message = format!("release {version} is taken back: {reason}");
                return (Status::Progressing, "FallingBack", message);
            }
            Phase::Rebooting { .. } => {
                let message = format!("the node reboots into release {version}");
                return (Status::Progressing, "Rebooting", message);
            }
            Phase::Resolving
            | Phase::Pausing { .. }
            | Phase::EndingTrial { .. }
            | Phase::Fetching
            | Phase::Verifying
            | Phase::Arming { .. }
            | Phase::Staged { .. }
            | Phase::BackingOff => {}
        }
    }
    match view.upgrade.last() {
        Some(Report { version, outcome: Outcome::Failed, reason, .. }) => {
            let message = format!(
                "release {version} was taken back: {reason}; it is refused until an upgrade says --retry-failed"
            );
            (Status::Unhealthy, "TakenBack", message)
        }
        Some(Report { version, outcome: Outcome::NoVerdict, reason, .. }) => (
            Status::Progressing,
            "NoVerdict",
            format!("release {version}: {reason}; it is tried again later"),
        ),
        Some(_) | None => (Status::Healthy, "NothingToDo", String::new()),
    }
}

fn phase(phase: &Phase) -> &'static str {
    match phase {
        Phase::Resolving => "resolving",
        Phase::Pausing { .. } => "waiting",
        Phase::EndingTrial { .. } | Phase::Arming { .. } | Phase::Confirming => "recording",
        Phase::Fetching => "fetching",
        Phase::Verifying => "verifying",
        Phase::Staged { .. } => "staged",
        Phase::Rebooting { .. } => "rebooting",
        Phase::Trial { .. } => "trial",
        Phase::Failing { .. } => "fallingBack",
        Phase::BackingOff => "backingOff",
    }
}

fn message(phase: &Phase, missing: &[String]) -> String {
    match phase {
        Phase::Pausing { reason, .. } | Phase::Failing { reason, .. } => reason.clone(),
        Phase::Trial { .. } => missing.join("; "),
        Phase::Resolving
        | Phase::EndingTrial { .. }
        | Phase::Fetching
        | Phase::Verifying
        | Phase::Arming { .. }
        | Phase::Staged { .. }
        | Phase::Rebooting { .. }
        | Phase::Confirming
        | Phase::BackingOff => String::new(),
    }
}

fn source(work: &Work) -> String {
    match &work.goal {
        Goal::Install(request) => match &request.source {
            Source::Configured => "configured sources".to_owned(),
            Source::Url(url) => shown(url),
            Source::Volume(label) => format!("volume {label}"),
            Source::Client => "client".to_owned(),
        },
        Goal::Return { .. } | Goal::Found => {
            work.target.as_ref().map(|target| format!("slot {}", target.slot.letter())).unwrap_or_default()
        }
    }
}

fn author(work: &Work) -> String {
    match &work.goal {
        Goal::Install(request) => match &request.origin {
            Origin::Admin { author } => author.clone(),
            Origin::Automatic { .. } => String::new(),
        },
        Goal::Return { author, .. } => author.clone(),
        Goal::Found => String::new(),
    }
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Confirmed => "confirmed",
        Outcome::Written => "written",
        Outcome::Failed => "failed",
        Outcome::NoVerdict => "noVerdict",
        Outcome::Stopped => "stopped",
        Outcome::Cancelled => "cancelled",
    }
}

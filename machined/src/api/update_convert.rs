//! Upgrades as the API shows them, and requests for them as the node's state machine takes them.

use ::update::{Allow, Goal, Origin, Outcome, Phase, Report, Request, Source, Upgrade, Work};
use bootstate::{Record, ReleaseVersion, Slot, SlotState};
use prost_types::{Duration, Timestamp};
use proto::update::v1::{self as api, upgrade_body};
use tonic::Status;

use crate::update::{Automation, View, shown_url};

/// All that may be shown; `since_boot_ms` is the present moment.
pub fn status(view: &View, since_boot_ms: u64, base_generation: u64, epoch: Vec<u8>) -> api::Status {
    let View { upgrade, record, running, automation, .. } = view;
    api::Status {
        slots: Slot::ALL.map(|one| slot(record, one, *running)).into(),
        operation: operation(view, since_boot_ms),
        last: upgrade.last().map(outcome),
        refused: refused(upgrade),
        automation: automation.as_ref().map(self::automation),
        rollback_floor: version(&upgrade.floor()),
        base_generation,
        epoch,
    }
}

fn slot(record: &Record, slot: Slot, running: Slot) -> api::Slot {
    let lies = record.slot(slot);
    let (state, tries_left) = match lies.state() {
        SlotState::Empty => (api::SlotState::Empty, 0),
        SlotState::Trial { tries_left } => (api::SlotState::Trial, tries_left),
        SlotState::Confirmed => (api::SlotState::Confirmed, 0),
        SlotState::Failed => (api::SlotState::Failed, 0),
    };
    api::Slot {
        name: slot.letter().to_string(),
        version: lies.release().map(|release| version(&release.version)).unwrap_or_default(),
        state: state.into(),
        tries_left: tries_left.into(),
        boots_since_alive: lies.boots_since_alive().into(),
        active: record.active() == slot,
        running: running == slot,
    }
}

/// What goes on.
pub fn operation(view: &View, since_boot_ms: u64) -> Option<api::Operation> {
    let work = view.upgrade.work()?;
    let (phase, until_ms, message) = phase(&work.phase);
    let (source, author) = origin(work, view.running);
    let progress = view.progress;
    Some(api::Operation {
        version: version(&work.version()),
        source,
        author,
        phase: phase.into(),
        blocks_done: progress.blocks_done,
        blocks_total: progress.blocks_total,
        block_bytes: u32::try_from(verity::BLOCK_BYTES).unwrap_or_default(),
        bytes_fetched: progress.bytes_fetched,
        bytes_saved: progress.bytes_saved,
        left: until_ms.map(|until_ms| milliseconds(until_ms.saturating_sub(since_boot_ms))),
        message: message.to_owned(),
    })
}

/// What it is, until when, and why.
fn phase(phase: &Phase) -> (api::Phase, Option<u64>, &str) {
    match phase {
        Phase::Resolving => (api::Phase::Resolving, None, ""),
        Phase::Pausing { until_ms, reason } => (api::Phase::Waiting, Some(*until_ms), reason),
        Phase::Fetching => (api::Phase::Fetching, None, ""),
        Phase::Verifying => (api::Phase::Verifying, None, ""),
        Phase::EndingTrial { .. } | Phase::Arming { .. } | Phase::Confirming => {
            (api::Phase::Recording, None, "")
        }
        Phase::Staged { .. } => (api::Phase::Staged, None, ""),
        Phase::Rebooting { .. } => (api::Phase::Rebooting, None, ""),
        Phase::Trial { deadline_ms, .. } => (api::Phase::Trial, Some(*deadline_ms), ""),
        Phase::Failing { reason, .. } => (api::Phase::FallingBack, None, reason),
        Phase::BackingOff => (api::Phase::BackingOff, None, ""),
    }
}

fn origin(work: &Work, running: Slot) -> (String, String) {
    match &work.goal {
        Goal::Install(request) => {
            let source = match &request.source {
                Source::Configured => "configured sources".to_owned(),
                Source::Url(url) => shown_url(url),
                Source::Volume(label) => format!("volume {label}"),
                Source::Client => "client".to_owned(),
            };
            let author = match &request.origin {
                Origin::Admin { author } => author.clone(),
                Origin::Automatic { .. } => String::new(),
            };
            (source, author)
        }
        Goal::Return { author, .. } => {
            let slot = work.target.as_ref().map_or(running.other(), |target| target.slot);
            (format!("slot {}", slot.letter()), author.clone())
        }
        Goal::Found => (format!("slot {}", running.letter()), String::new()),
    }
}

/// How something ended.
pub fn outcome(report: &Report) -> api::Outcome {
    let ending = match report.outcome {
        Outcome::Confirmed => api::Ending::Confirmed,
        Outcome::Written => api::Ending::Written,
        Outcome::Failed => api::Ending::FellBack,
        Outcome::NoVerdict => api::Ending::NoVerdict,
        Outcome::Stopped => api::Ending::Failed,
        Outcome::Cancelled => api::Ending::Cancelled,
    };
    api::Outcome {
        ending: ending.into(),
        version: version(&report.version),
        message: report.reason.clone(),
        at: Some(timestamp(report.at_s)),
    }
}

fn refused(upgrade: &Upgrade) -> Vec<api::RefusedRelease> {
    let failed = upgrade.failed().iter().map(|failed| api::RefusedRelease {
        version: version(&failed.version),
        message: failed.reason.clone(),
        until: None,
    });
    let deferred = upgrade.deferred().iter().map(|deferred| api::RefusedRelease {
        version: version(&deferred.version),
        message: match deferred.rounds {
            0 | 1 => "came to nothing".to_owned(),
            rounds => format!("came to nothing {rounds} times in a row"),
        },
        until: Some(timestamp(deferred.until_s)),
    });
    failed.chain(deferred).collect()
}

fn automation(automation: &Automation) -> api::Automation {
    let Automation { channel, next, due_s, waits_for, checked_s, error } = automation.clone();
    api::Automation {
        channel,
        next_version: next.as_ref().map(version).unwrap_or_default(),
        due: due_s.map(timestamp),
        waits_for,
        checked: checked_s.map(timestamp),
        error,
    }
}

/// What is asked for.
pub fn request(body: api::UpgradeBody, author: String) -> Result<Request, Status> {
    let ending = match body.extent() {
        api::Extent::Reboot => ::update::Ending::Reboot,
        api::Extent::Stage => ::update::Ending::Stage,
        api::Extent::Write => ::update::Ending::Write,
        api::Extent::Unspecified => {
            return Err(Status::invalid_argument("how far to go is missing or not known here"));
        }
    };
    let version = match body.version.as_str() {
        "" => ReleaseVersion::UNKNOWN,
        text => ReleaseVersion::new(text).map_err(|error| Status::invalid_argument(error.to_string()))?,
    };
    let source = match body.source {
        None => Source::Configured,
        Some(upgrade_body::Source::Url(url)) => Source::Url(url),
        Some(upgrade_body::Source::VolumeLabel(label)) => Source::Volume(label),
        Some(upgrade_body::Source::Client(_)) => Source::Client,
    };
    let allow = Allow {
        downgrade: body.allow_downgrade,
        failed: body.retry_failed,
        expired: body.allow_expired,
        kubernetes_minor: body.allow_kubernetes_minor,
    };
    Ok(Request { origin: Origin::Admin { author }, source, version, ending, allow })
}

fn version(version: &ReleaseVersion) -> String {
    if version.is_unknown() { String::new() } else { version.to_string() }
}

fn timestamp(seconds: u64) -> Timestamp {
    Timestamp { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }
}

fn milliseconds(milliseconds: u64) -> Duration {
    let nanos = i32::try_from(milliseconds % 1000 * 1_000_000).unwrap_or_default();
    Duration { seconds: i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX), nanos }
}

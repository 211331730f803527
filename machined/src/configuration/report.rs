//! What is said of a change: to who made it, as a condition, and as resources.

use std::time::Duration;

use generation::{Entry, Generation, Index, Moment, Phase, State, Trial};
use resource::spec;
use tokio::sync::mpsc;

use super::running::Running;
use crate::health::Status;

/// Lines to one client; a change restarts a handful of services.
const REPORTS_MAX: usize = 32;

/// Something to tell who made a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// What is being done.
    Progress(String),
    /// The end.
    Outcome(Outcome),
}

/// How a change ended, as far as who made it has to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The generation that it made.
    pub generation: Generation,
    /// What that is now.
    pub state: State,
    /// How long it waits for an admin.
    pub confirm_within: Option<Duration>,
    /// Whether the node reboots now.
    pub rebooting: bool,
    /// Why it was taken back.
    pub reason: String,
}

/// The line to who made a change. He may hang up.
#[derive(Clone)]
pub struct Reporter {
    generation: Generation,
    sender: mpsc::Sender<Report>,
}

impl Reporter {
    /// A line, and its other end.
    pub fn new(generation: Generation) -> (Self, mpsc::Receiver<Report>) {
        let (sender, receiver) = mpsc::channel(REPORTS_MAX);
        (Self { generation, sender }, receiver)
    }

    /// The generation that is reported on.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Tells what is being done. A line more than the client reads is lost; room for the end is kept.
    pub fn progress(&self, line: String) {
        if self.sender.capacity() > 1 {
            self.sender.try_send(Report::Progress(line)).ok();
        }
    }

    /// Tells the end.
    pub fn end(self, outcome: Outcome) {
        self.sender.try_send(Report::Outcome(outcome)).ok();
    }
}

/// How far the node is on its way to what it should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The plan is being carried out.
    Begun,
    /// The node obeys, and its conditions are watched.
    Obeyed,
    /// Nothing is under way.
    Ended,
}

/// The end of a change, once it is there. Who has to confirm it may do so before its conditions have been judged.
pub fn outcome(index: &Index, generation: Generation, now: &Moment, progress: Progress) -> Option<Outcome> {
    let state = index.state(generation)?;
    let outcome =
        Outcome { generation, state, confirm_within: None, rebooting: false, reason: String::new() };
    match (state, index.trial()) {
        (State::Trial, Some(Trial { phase: Phase::Rebooting { .. }, awaits_admin, timeout_s, .. })) => {
            let confirm_within = awaits_admin.then(|| Duration::from_secs((*timeout_s).into()));
            Some(Outcome { confirm_within, rebooting: true, ..outcome })
        }
        (State::Trial, Some(Trial { awaits_admin: true, .. })) if progress != Progress::Begun => {
            let left_ms = index.deadline_ms().unwrap_or_default().saturating_sub(now.since_boot_ms);
            Some(Outcome { confirm_within: Some(Duration::from_millis(left_ms)), ..outcome })
        }
        (State::Trial, _) => None,
        (State::Reverted, _) if progress != Progress::Ended => None,
        (State::Reverted, _) => {
            let rebooting = index.is_reboot_owed();
            Some(Outcome { rebooting, reason: reverted(index, generation), ..outcome })
        }
        (State::Confirmed | State::Staged | State::Superseded, _) => Some(outcome),
    }
}

/// The condition `configuration`.
pub fn condition(index: &Index, running: &Running, now: &Moment) -> (Status, &'static str, String) {
    let runs = running.generation;
    if let Some(damage) = &running.damage {
        let message = format!("{damage}; generation {runs} runs instead: apply a configuration");
        return (Status::Unhealthy, "GenerationDamaged", message);
    }
    if let Some(trial) = index.trial() {
        let tried = trial.generation;
        return match trial.phase {
            Phase::Staged { .. } => (
                Status::Healthy,
                "Staged",
                format!("generation {runs} runs; {tried} starts at the next boot"),
            ),
            Phase::Rebooting { .. } => {
                (Status::Progressing, "Rebooting", format!("generation {tried} starts after the reboot"))
            }
            Phase::Running { deadline_ms, .. } => {
                let left_s = deadline_ms.saturating_sub(now.since_boot_ms).div_ceil(1000);
                let who = if trial.awaits_admin { "; `osctl confirm-config` keeps it" } else { "" };
                let message = format!(
                    "generation {tried} is on trial and is reverted in {left_s} s if not confirmed{who}"
                );
                (Status::Progressing, "Trial", message)
            }
        };
    }
    match index.entries().last() {
        Some(Entry { number, reverted: Some(reason), .. }) => {
            (Status::Healthy, "Reverted", format!("generation {runs} runs; {number} was reverted: {reason}"))
        }
        Some(_) | None => (Status::Healthy, "Confirmed", format!("generation {runs} runs")),
    }
}

/// All generations as resources.
pub fn resources(index: &Index, running: Generation) -> impl Iterator<Item = (String, spec::Generation)> {
    index.entries().iter().map(move |entry| {
        let state = index.state(entry.number).map_or("", name);
        let spec = spec::Generation {
            state: state.to_owned(),
            running: entry.number == running,
            created_s: entry.created_s,
            author: entry.author.clone(),
            reason: entry.reverted.clone().unwrap_or_default(),
        };
        (entry.number.to_string(), spec)
    })
}

fn name(state: State) -> &'static str {
    match state {
        State::Confirmed => "confirmed",
        State::Trial => "trial",
        State::Staged => "staged",
        State::Reverted => "reverted",
        State::Superseded => "superseded",
    }
}

fn reverted(index: &Index, generation: Generation) -> String {
    index.entry(generation).and_then(|entry| entry.reverted.clone()).unwrap_or_default()
}

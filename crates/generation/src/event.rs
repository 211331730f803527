//! What happens, and what is to be done about it.

use bootstate::Slot;

use crate::{BootId, Generation};

/// When something happens. Only monotonic time counts: a wall clock that jumps must not end or prolong a trial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The present boot.
    pub boot: BootId,
    /// Milliseconds since then (`CLOCK_BOOTTIME`).
    pub since_boot_ms: u64,
}

/// How a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Now, if needed by an ordered reboot.
    Auto,
    /// As `Auto`, but refused when it needs a reboot.
    NoReboot,
    /// At the next boot.
    Staged,
    /// As `Auto`, but always waits for an admin's confirmation.
    Try,
}

/// A change whose text was checked and planned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Apply {
    /// How it takes effect.
    pub mode: Mode,
    /// The base that it was made for, see [`crate::Index::base`].
    pub base: Generation,
    /// Whether the plan from the running generation to it has a reboot.
    pub needs_reboot: bool,
    /// Whether the plan from it back to the running generation has one.
    pub undo_needs_reboot: bool,
    /// Whether it could cut the admin off.
    pub needs_confirmation: bool,
    /// How long it may run unconfirmed.
    pub timeout_s: u32,
    /// Subject of the client who signed it.
    pub author: String,
    /// The node's clock, in seconds since 1970; for people only.
    pub created_s: i64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// machined started, at a boot or again in the same one.
    Boot {
        /// The OS slot that runs.
        slot: Slot,
        /// Whether that slot is itself on trial.
        slot_on_trial: bool,
    },
    /// Someone asks for a change.
    Apply(Apply),
    /// An admin keeps the generation that is on trial.
    Confirm {
        /// The one he means.
        generation: Generation,
    },
    /// What the generation touched is healthy.
    GatePassed {
        /// The one that was watched.
        generation: Generation,
    },
    /// What the generation touched is broken, or the generation could not be run.
    GateFailed {
        /// The one that was watched.
        generation: Generation,
        /// What is wrong.
        reason: String,
    },
    /// Time passed.
    Tick,
    /// An admin ends the trial, or drops what is staged. To return to an older generation, its text is applied.
    Rollback {
        /// The base that he has seen.
        base: Generation,
        /// Subject of the client who signed it.
        author: String,
    },
    /// The OS slot that runs was confirmed.
    SlotConfirmed {
        /// The slot.
        slot: Slot,
    },
}

/// Something to do. In order; see the front page for what a failure means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Replace the index on the disk, atomically, before what follows.
    Persist,
    /// Replace the index on the disk; what follows is done also when that fails.
    Record,
    /// Bring the node from what it runs to this generation.
    Run(Generation),
    /// Reboot in order.
    Reboot,
    /// Remove the file of this generation; may fail.
    Remove(Generation),
}

/// Why an event was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Made for something else than what runs.
    #[error(
        "it was made for base {base}, but the node is at {actual}; read the configuration again and repeat"
    )]
    Base {
        /// What the request names.
        base: Generation,
        /// What it must name.
        actual: Generation,
    },
    /// Another change is under way.
    #[error("generation {generation} is on trial for another {left_s} s: confirm it, roll it back, or wait")]
    TrialRuns {
        /// The one on trial.
        generation: Generation,
        /// Until its deadline.
        left_s: u64,
    },
    /// A reboot was ordered.
    #[error("the node is about to reboot; repeat it after that")]
    Rebooting,
    /// The OS is on trial.
    #[error("this release of the OS is on trial; the configuration can change once it is confirmed")]
    SlotOnTrial,
    /// Mode `no-reboot` does not fit.
    #[error("it needs a reboot, which mode no-reboot rules out")]
    NeedsReboot,
    /// A trial too short or too long.
    #[error("a trial of {timeout_s} s is outside {min}..={max} s", min = crate::TRIAL_MIN_S, max = crate::TRIAL_MAX_S)]
    Timeout {
        /// What was asked for.
        timeout_s: u32,
    },
    /// Not one on trial that an admin has yet to confirm.
    #[error("generation {generation} waits for no confirmation{}", now(*.trial))]
    NotAwaited {
        /// What was asked for.
        generation: Generation,
        /// The one that does.
        trial: Option<Generation>,
    },
    /// Nothing to take back.
    #[error("no generation is on trial or staged")]
    NothingToRollBack,
}

fn now(trial: Option<Generation>) -> String {
    trial.map(|trial| format!("; generation {trial} does")).unwrap_or_default()
}

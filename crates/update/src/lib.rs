//! Releases, channels and the upgrade of a node: what a release is, which blocks of it a node needs, when a node takes
//! it, and how the node comes to run it without ever being left with nothing that boots.
//!
//! Pure: this crate must never do I/O, read a clock or make randomness, and must never take a release for verified
//! that nobody verified. Start reading at [`Upgrade::step`]; [`Manifest`] and [`Channel`] are the files, [`plan`] is
//! the delta, [`next`] the automation.
//!
//! # How its user drives the upgrade
//! 1. To take an event: clone the state and step the clone. If that is accepted, do the actions in order, then keep
//!    the clone. When [`Action::Persist`] fails, the rest is not done and the step has not happened: drop the clone, and
//!    answer a task whose answer that was anew with [`Event::Failed`] and [`Failure::Passing`].
//!    [`Action::Note`] may fail: BOOTSTATE and the older state lead to a safe end.
//! 2. [`Event::Boot`] comes first in each life of machined, also when it alone was started again. A state that cannot
//!    be read is replaced by [`Upgrade::new`].
//! 3. What an action begins is answered by the events that it names, with its [`Task`]. A task that the state does not
//!    wait for any more is ignored, so that whoever is stopped may still answer.
//! 4. [`Event::Tick`] comes at [`Upgrade::wake_ms`]. A reboot that does not come about is the executor's to repeat.
//! 5. An executor that ends a client's connection reports [`Failure::Passing`]: nobody is left to be waited for.
//!
//! # Rules
//! - BOOTSTATE is the truth; the state says what was meant. Whatever is lost between the two, the node boots, and a
//!   trial is judged.
//! - A slot is put on trial only after it was read back, in the same life of machined.
//! - The slot that runs is never written. One on trial is taken off trial before it is written.
//! - A release whose gate failed, or that was rolled back, is refused until a request allows it. One whose tries ran
//!   out without a verdict is tried again after [`BACK_OFF_MIN_S`], doubling to [`BACK_OFF_MAX_S`], [`TRIALS_MAX`]
//!   times in all.
//! - Automatic work gives way to an admin's, and is put off in the same way when it comes to nothing.
//! - To return to the other slot's release is a trial, too: if it is not healthy, the node comes back.
//! - The rollback floor rises with what is confirmed and never sinks; in BOOTSTATE it stays at or below what both
//!   slots hold, so that it never shuts out the release that a node may have to fall back to.

#![forbid(unsafe_code)]

mod boot;
mod channel;
mod delta;
mod event;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fleet;
mod form;
mod manifest;
mod memory;
mod policy;
#[cfg(test)]
mod simulation;
mod state;
mod step;
mod task;
#[cfg(test)]
mod tests;
mod text;
mod trial;
mod wave;

pub use channel::{CHANNEL_RELEASES_MAX, Channel, ChannelError, ChannelRelease, channel_minor};
pub use delta::{Copy, Index, Plan, RANGE_MAX_BLOCKS, Range, plan};
pub use event::{
    Action, Allow, Boot, Ending, Event, Failure, Installed, Moment, Origin, Refusal, Request, Task,
    Unsuitable,
};
pub use form::{FORM_VERSION, FormError};
pub use generation::BootId;
pub use manifest::{
    File, Image, KubernetesVersion, MANIFEST_FORMAT, Manifest, ManifestError, UkiImage, Ukis,
};
pub use policy::{Decision, Expiry, Nothing, Policy, Situation, WINDOW_MAX_S, Wait, Weekdays, Window, next};
pub use state::{
    BEFORE_MAX, Before, Deferred, FailedRelease, Goal, Outcome, Phase, REMEMBERED_MAX, Report, Source,
    TEXT_MAX_BYTES, Target, Then, Upgrade, Work,
};
pub use wave::{Order, Position, due_s};

/// Longest manifest or channel file.
pub const JSON_MAX_BYTES: usize = 64 << 10;
/// First pause after a release came to nothing.
pub const BACK_OFF_MIN_S: u64 = 3600;
/// Longest pause after a release came to nothing.
pub const BACK_OFF_MAX_S: u64 = 24 * 3600;
/// Trials without a verdict after which a release counts as failed: over more than two days nobody cuts the power in
/// each of [`bootstate::TRIAL_TRIES`] starts each time, but a kernel that hangs does.
pub const TRIALS_MAX: u32 = 7;
/// First pause after a source failed.
pub const PAUSE_MIN_MS: u64 = 5_000;
/// Longest pause after a source failed.
pub const PAUSE_MAX_MS: u64 = 10 * 60_000;
/// Failures in a row after which a source is given up: more than three hours.
pub const FAILURES_MAX: u32 = 24;
/// Pause after BOOTSTATE could not be written.
pub const RECORD_PAUSE_MS: u64 = 10_000;
/// Latest end of a health gate, since the boot: half a minute before PID 1 ends a trial by itself.
pub const GATE_LATEST_MS: u64 = 9 * 60_000 + 30_000;

//! Generations of the machine configuration: which one runs, which one is on trial, and which one a boot falls back to.
//!
//! A pure state machine: [`Index::step`] takes an [`Event`] and gives [`Action`]s. This crate must never do I/O, read a
//! clock or make randomness. Its user keeps `config/index.json` ([`Index::encode`]) and one file per generation.
//! Start reading at [`Index::step`].
//!
//! # How its user drives it
//! 1. To apply: clone the index, step the clone with [`Event::Apply`]. If that is accepted, write the text to
//!    [`Generation::file_name`] of [`Index::next`] (as it was before the step), flush file and directory, then do the
//!    actions, then keep the clone. A file that no entry names is left over from a crash: remove it at start.
//! 2. Actions are done in order. When [`Action::Persist`] fails, the rest is not done and the step has not happened:
//!    drop the clone. At a boot the node then runs [`Index::confirmed`], and the next boot decides anew.
//!    [`Action::Record`] may fail: the index on the disk leads to the same end.
//! 3. [`Event::Boot`] comes first in each life of machined, also when it alone was started again: the boot's id tells.
//! 4. After [`Action::Run`] of a trial, its gate is watched and [`Event::GatePassed`] or [`Event::GateFailed`] reported,
//!    and [`Event::Tick`] comes at [`Index::deadline_ms`]. A run that fails half-way is a failed gate.
//!
//! # Rules
//! - A change without risk is confirmed by its gate. One that could cut the admin off, and each in mode `try`, waits
//!   for [`Event::Confirm`] as well. What is not complete at the deadline is reverted, with the reason kept.
//! - A trial that runs live survives a restart of machined (its deadline stands), but no boot. One that needs a reboot
//!   survives exactly one boot, and its deadline counts from there. So does a staged generation, at the next boot.
//! - While a trial is under way or a reboot is owed, nothing else is applied: the refusal says until when. A staged
//!   generation is replaced by the next change, because it was made for a base that no longer runs.
//! - A reboot that was ordered and did not happen, because machined ended before it, is ordered again.
//! - While the OS slot is itself on trial, nothing is applied, nothing staged starts, and a trial is reverted: else
//!   nobody could tell what failed. Each slot remembers the generation that was confirmed with it; a node that returns
//!   to the other confirmed slot returns to that generation, too.
//! - Numbers rise with everything that changes what runs, also with reverting (such a number has no entry).
//!   [`Index::base`] is the last one. A request names it, so that no signed request fits twice and nobody changes what
//!   he has not seen.
//! - The first configuration is confirmed at once: there is nothing to revert to.
//! - Trust (CAs, revocations, the clock's floor) is outside of generations and never rolls back.

#![forbid(unsafe_code)]

mod boot;
mod event;
mod form;
mod index;
#[cfg(test)]
mod model;
mod step;
#[cfg(test)]
mod tests;

pub use event::{Action, Apply, Event, Mode, Moment, Refusal};
pub use form::{FORM_VERSION, FormError};
pub use index::{BootId, Entry, Generation, Index, Phase, Slots, State, Trial};

/// Most generations that are kept; those that a slot, a trial or the running node needs are among them.
pub const GENERATIONS_MAX: usize = 16;
/// Shortest trial; below it no admin could confirm over a slow link.
pub const TRIAL_MIN_S: u32 = 5;
/// Longest trial: a day, so that a forgotten one ends.
pub const TRIAL_MAX_S: u32 = 24 * 3600;
/// Trial of a request that names no time.
pub const TRIAL_DEFAULT_S: u32 = 120;
/// Longest author or reason that is kept; more is cut off, so that the index stays one small file.
pub const TEXT_MAX_BYTES: usize = 512;

//! What an upgrade looks like from outside: for the API and the published resources.

use ::update::Upgrade;
use bootstate::{Record, ReleaseVersion, Slot};

/// All that may be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// What goes on and what is remembered.
    pub upgrade: Upgrade,
    /// BOOTSTATE's record in force.
    pub record: Record,
    /// The slot that runs.
    pub running: Slot,
    /// How far the slot is filled or read back.
    pub progress: Progress,
    /// What the node does by itself; nothing without a configuration that asks for it.
    pub automation: Option<Automation>,
}

/// How far the slot is filled or read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Blocks handled in this phase.
    pub blocks_done: u64,
    /// Of so many.
    pub blocks_total: u64,
    /// Content that came from the source.
    pub bytes_fetched: u64,
    /// Content that need not come: the running slot has it, or the slot had it already.
    pub bytes_saved: u64,
}

/// What the node does by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Automation {
    /// Channel that is followed.
    pub channel: String,
    /// Newest release that is due to this node, or will be.
    pub next: Option<ReleaseVersion>,
    /// When it is installed, in seconds since 1970.
    pub due_s: Option<u64>,
    /// What it waits for, in words; empty when for nothing.
    pub waits_for: String,
    /// When the channel was last read, in seconds since 1970.
    pub checked_s: Option<u64>,
    /// Why that failed the last time; empty when it did not.
    pub error: String,
}

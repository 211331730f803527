//! What is remembered across boots.

use std::fmt;

use bootstate::Slot;
use serde::{Deserialize, Serialize};

use crate::TEXT_MAX_BYTES;

/// Number of a generation. Numbers rise and are never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// Name of its file in `STATE:config/generations`.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{:08}.yaml", self.0)
    }

    /// The generation whose file has this name.
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<Self> {
        let number = Self(name.strip_suffix(".yaml")?.parse().ok()?);
        (number.file_name() == name).then_some(number)
    }

    pub(crate) const fn following(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The kernel's id of a boot (`/proc/sys/kernel/random/boot_id`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

/// A generation that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub number: Generation,
    /// When it was made by the node's clock, in seconds since 1970; for people only.
    pub created_s: i64,
    /// Subject of the client who signed it; empty when it came from a volume.
    pub author: String,
    /// Why it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted: Option<String>,
}

/// What a kept generation is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// What boots run.
    Confirmed,
    /// Runs, or will after the reboot that was ordered, and may be reverted.
    Trial,
    /// Waits for the next boot.
    Staged,
    /// Was tried and taken back, or replaced before it ran.
    Reverted,
    /// Was confirmed once.
    Superseded,
}

/// A generation that is not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// Its number.
    pub generation: Generation,
    /// How far it is.
    pub phase: Phase,
    /// Whether it runs only since a reboot, so that taking it back needs another.
    pub by_reboot: bool,
    /// Whether a part of taking it back waits for a reboot.
    pub undo_needs_reboot: bool,
    /// How long it may run unconfirmed.
    pub timeout_s: u32,
    /// Whether an admin has yet to confirm it.
    pub awaits_admin: bool,
    /// Whether its conditions have yet to be healthy.
    pub awaits_gate: bool,
}

/// How far a generation is that is not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Phase {
    /// Starts at the next boot, whenever that is.
    Staged {
        /// The boot in which it was staged.
        since: BootId,
    },
    /// Starts at the next boot, which was ordered.
    Rebooting {
        /// The boot in which that was ordered.
        since: BootId,
    },
    /// Runs, in this boot only.
    Running {
        /// The boot.
        boot: BootId,
        /// When it is reverted, in milliseconds since that boot (`CLOCK_BOOTTIME`).
        deadline_ms: u64,
    },
}

/// The generation confirmed with each OS slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Slots {
    /// Slot A's.
    #[serde(rename = "A")]
    pub a: Option<Generation>,
    /// Slot B's.
    #[serde(rename = "B")]
    pub b: Option<Generation>,
}

impl Slots {
    /// The one confirmed with this slot.
    #[must_use]
    pub const fn get(self, slot: Slot) -> Option<Generation> {
        match slot {
            Slot::A => self.a,
            Slot::B => self.b,
        }
    }

    pub(crate) const fn set(&mut self, slot: Slot, generation: Generation) {
        match slot {
            Slot::A => self.a = Some(generation),
            Slot::B => self.b = Some(generation),
        }
    }

    pub(crate) const fn forget(&mut self, slot: Slot) {
        match slot {
            Slot::A => self.a = None,
            Slot::B => self.b = None,
        }
    }
}

/// All that is known about generations; `config/index.json`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub(crate) confirmed: Generation,
    pub(crate) trial: Option<Trial>,
    /// Oldest first.
    pub(crate) entries: Vec<Entry>,
    pub(crate) slots: Slots,
    /// The slot that `confirmed` was confirmed with.
    #[serde(with = "crate::form::slot")]
    pub(crate) slot: Option<Slot>,
    /// The boot that has yet to end before what was reverted in it is wholly gone.
    pub(crate) reboot_owed: Option<BootId>,
    pub(crate) next: Generation,
    /// The running OS slot is on trial.
    #[serde(skip)]
    pub(crate) slot_on_trial: bool,
}

impl Index {
    /// The index of a node that receives its first configuration, as generation 1.
    #[must_use]
    pub fn first(author: &str, created_s: i64) -> Self {
        let number = Generation(1);
        Self {
            confirmed: number,
            trial: None,
            entries: vec![Entry { number, created_s, author: cut(author), reverted: None }],
            slots: Slots::default(),
            slot: None,
            reboot_owed: None,
            next: number.following(),
            slot_on_trial: false,
        }
    }

    /// The generation that a boot runs when nothing else is decided.
    #[must_use]
    pub const fn confirmed(&self) -> Generation {
        self.confirmed
    }

    /// The generation that runs.
    #[must_use]
    pub fn running(&self) -> Generation {
        match &self.trial {
            Some(Trial { generation, phase: Phase::Running { .. }, .. }) => *generation,
            Some(Trial { phase: Phase::Staged { .. } | Phase::Rebooting { .. }, .. }) | None => {
                self.confirmed
            }
        }
    }

    /// What is not confirmed yet: on trial or staged. There is never more than one.
    #[must_use]
    pub const fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// What a request must name as its base: the last number that was given.
    #[must_use]
    pub const fn base(&self) -> Generation {
        Generation(self.next.0.saturating_sub(1))
    }

    /// The number of the next generation.
    #[must_use]
    pub const fn next(&self) -> Generation {
        self.next
    }

    /// The generations that are kept, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of a generation, unless it is gone.
    #[must_use]
    pub fn entry(&self, generation: Generation) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.number == generation)
    }

    /// What a kept generation is at the moment.
    #[must_use]
    pub fn state(&self, generation: Generation) -> Option<State> {
        let entry = self.entry(generation)?;
        if let Some(trial) = self.trial.as_ref().filter(|trial| trial.generation == generation) {
            return Some(match trial.phase {
                Phase::Staged { .. } => State::Staged,
                Phase::Rebooting { .. } | Phase::Running { .. } => State::Trial,
            });
        }
        Some(match entry.reverted {
            _ if generation == self.confirmed => State::Confirmed,
            Some(_) => State::Reverted,
            None => State::Superseded,
        })
    }

    /// The generations that the OS slots remember.
    #[must_use]
    pub const fn slots(&self) -> Slots {
        self.slots
    }

    /// Whether a reboot has yet to remove what was reverted.
    #[must_use]
    pub const fn is_reboot_owed(&self) -> bool {
        self.reboot_owed.is_some()
    }

    /// When [`crate::Event::Tick`] is due, in milliseconds since boot.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        match self.trial.as_ref()?.phase {
            Phase::Running { deadline_ms, .. } => Some(deadline_ms),
            Phase::Staged { .. } | Phase::Rebooting { .. } => None,
        }
    }

    /// Whether a generation must not be removed.
    pub(crate) fn needs(&self, generation: Generation) -> bool {
        generation == self.confirmed
            || self.trial.as_ref().is_some_and(|trial| trial.generation == generation)
            || self.slots.a == Some(generation)
            || self.slots.b == Some(generation)
    }
}

/// At most [`TEXT_MAX_BYTES`] of a text.
pub(crate) fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_MAX_BYTES);
    text.get(..end).unwrap_or_default().to_owned()
}

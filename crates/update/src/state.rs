//! What is remembered across boots.

use bootstate::{Record, Release, ReleaseVersion, Slot, Uki};
use generation::BootId;
use serde::{Deserialize, Serialize};

use crate::{Installed, Manifest, Request, Task, text};

/// Most versions that are remembered as failed, and as put off. Those that are oldest are forgotten first.
pub const REMEMBERED_MAX: usize = 32;
/// Longest author or reason that is kept; more is cut off, so that the state stays one small file.
pub const TEXT_MAX_BYTES: usize = 512;
/// Most conditions, and most pods, that are compared before and after: more than a kubelet runs.
pub const BEFORE_MAX: usize = 512;

/// The upgrade of a node: what goes on, and what is known of releases from before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    pub(crate) task: Task,
    pub(crate) work: Option<Work>,
    pub(crate) failed: Vec<FailedRelease>,
    pub(crate) deferred: Vec<Deferred>,
    pub(crate) last: Option<Report>,
    /// Releases below are refused; BOOTSTATE's own floor follows as far as both slots allow.
    #[serde(with = "text::version")]
    pub(crate) floor: ReleaseVersion,
    #[serde(skip)]
    pub(crate) node: Option<Node>,
}

/// What the last [`crate::Event::Boot`] found; never stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) running: Slot,
    pub(crate) record: Record,
    pub(crate) installed: Installed,
    pub(crate) gate_s: u32,
}

/// What goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// What for.
    pub goal: Goal,
    /// How far it is.
    pub phase: Phase,
    /// What goes where, once that is known.
    pub target: Option<Target>,
    /// What was healthy before the reboot.
    #[serde(default)]
    pub before: Before,
    /// Failures in a row, of resolving, fetching and verifying.
    #[serde(default)]
    pub failures: u32,
    /// When BOOTSTATE is written again, after that failed.
    #[serde(skip)]
    pub(crate) record_again_ms: Option<u64>,
}

/// What the work is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Goal {
    /// To install a release.
    Install(Box<Request>),
    /// To return to the release of the other slot.
    Return {
        /// Subject of the client who signed the request.
        author: String,
        /// The release that he leaves.
        #[serde(with = "text::version")]
        from: ReleaseVersion,
    },
    /// A trial that BOOTSTATE tells of and nobody remembers.
    Found,
}

/// Where a release lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// At the sources of the configuration.
    Configured,
    /// Below this URL.
    Url(String),
    /// On the volume with this label.
    Volume(String),
    /// With the client who asks; lost with his connection.
    Client,
}

/// What goes into which slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The slot.
    #[serde(with = "text::slot")]
    pub slot: Slot,
    /// Version of the release.
    #[serde(with = "text::version")]
    pub version: ReleaseVersion,
    /// Length of the slot's UKI.
    pub uki_bytes: u64,
    /// Digest of the slot's UKI.
    #[serde(with = "text::digest")]
    pub uki_sha256: [u8; 32],
    /// The release's manifest; `None` for what lies there from before.
    pub manifest: Option<Box<Manifest>>,
}

impl Target {
    pub(crate) fn of(manifest: Box<Manifest>, slot: Slot) -> Self {
        let Uki { length_bytes, sha256 } = manifest.uki(slot).record();
        Self {
            slot,
            version: manifest.version,
            uki_bytes: length_bytes,
            uki_sha256: sha256,
            manifest: Some(manifest),
        }
    }

    pub(crate) fn present(release: &Release, slot: Slot) -> Self {
        let Release { version, uki: Uki { length_bytes, sha256 } } = *release;
        Self { slot, version, uki_bytes: length_bytes, uki_sha256: sha256, manifest: None }
    }

    /// As BOOTSTATE records it.
    #[must_use]
    pub const fn release(&self) -> Release {
        let uki = Uki { length_bytes: self.uki_bytes, sha256: self.uki_sha256 };
        Release { version: self.version, uki }
    }
}

/// How far the work is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Phase {
    /// The release is being found.
    Resolving,
    /// Waits before it tries again, in this boot.
    Pausing {
        /// Until when, in milliseconds since the boot.
        until_ms: u64,
        /// What is wrong.
        reason: String,
    },
    /// BOOTSTATE is told that the other slot's trial is over.
    EndingTrial {
        /// What comes then.
        then: Then,
    },
    /// The slot is being filled.
    Fetching,
    /// The slot is being read back.
    Verifying,
    /// BOOTSTATE is told of the trial.
    Arming {
        /// The boot in which that was begun.
        since: BootId,
    },
    /// On trial from the next boot on, whenever that is.
    Staged {
        /// The boot in which it was staged.
        since: BootId,
    },
    /// On trial from the next boot on, which was ordered.
    Rebooting {
        /// The boot in which that was ordered.
        since: BootId,
    },
    /// Runs, in this boot, and is judged.
    Trial {
        /// The boot.
        boot: BootId,
        /// When it must be healthy, in milliseconds since that boot.
        deadline_ms: u64,
    },
    /// Runs and is healthy; BOOTSTATE is told.
    Confirming,
    /// Runs and is not healthy: BOOTSTATE is told, then the node reboots.
    Failing {
        /// The boot in which that was found.
        since: BootId,
        /// What is wrong.
        reason: String,
    },
    /// Ran out of tries without a verdict; [`Upgrade::deferred`] says until when it waits.
    BackingOff,
}

/// What comes once the other slot's trial is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Then {
    /// The next release is found.
    Resolve,
    /// An admin wanted no more.
    Cancelled {
        /// Subject of the client who signed it.
        author: String,
    },
    /// The trial could not be put into BOOTSTATE.
    Stopped {
        /// What is wrong.
        reason: String,
    },
    /// The selector did not start it, though tries were left.
    NoVerdict,
    /// It had failed.
    Failed {
        /// What was wrong.
        reason: String,
    },
}

/// What was healthy before a reboot and must be so again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Before {
    /// Names of conditions.
    pub conditions: Vec<String>,
    /// Pods that ran, as `namespace/name`.
    pub pods: Vec<String>,
}

/// A release that is refused until an admin asks for it again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedRelease {
    /// Its version.
    #[serde(with = "text::version")]
    pub version: ReleaseVersion,
    /// What was wrong.
    pub reason: String,
    /// When that was found, in seconds since 1970; for people only.
    pub at_s: u64,
}

/// A release that is put off.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deferred {
    /// Its version.
    #[serde(with = "text::version")]
    pub version: ReleaseVersion,
    /// How often in a row it came to nothing.
    pub rounds: u32,
    /// How often of those it was on trial and got no verdict.
    pub trials: u32,
    /// Until when, in seconds since 1970.
    pub until_s: u64,
}

/// How the last work ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The release; unknown when that was not found out.
    #[serde(with = "text::version")]
    pub version: ReleaseVersion,
    /// How.
    pub outcome: Outcome,
    /// Why; empty when all went well.
    pub reason: String,
    /// When, in seconds since 1970; for people only.
    pub at_s: u64,
}

/// How work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The release runs and was confirmed.
    Confirmed,
    /// The release lies in its slot, and no more was asked for or possible now.
    Written,
    /// The release ran and was not healthy.
    Failed,
    /// The release was started, or should have been, and nobody can tell how it fared.
    NoVerdict,
    /// It came to nothing before the release was started.
    Stopped,
    /// An admin wanted no more.
    Cancelled,
}

impl Upgrade {
    /// What goes on.
    #[must_use]
    pub const fn work(&self) -> Option<&Work> {
        self.work.as_ref()
    }

    /// Releases that are refused.
    #[must_use]
    pub fn failed(&self) -> &[FailedRelease] {
        &self.failed
    }

    /// Releases that are put off.
    #[must_use]
    pub fn deferred(&self) -> &[Deferred] {
        &self.deferred
    }

    /// How the last work ended.
    #[must_use]
    pub const fn last(&self) -> Option<&Report> {
        self.last.as_ref()
    }

    /// Releases below this are refused; unknown for none.
    #[must_use]
    pub const fn floor(&self) -> ReleaseVersion {
        self.floor
    }

    /// Whether the slot on trial was left before by going on from it: the configuration then returns to what that
    /// slot was confirmed with, so its manager is told at boot that the slot is not on trial.
    #[must_use]
    pub fn is_returning(&self) -> bool {
        self.work.as_ref().is_some_and(|work| matches!(work.goal, Goal::Return { .. }))
    }
}

/// Cuts a text that somebody else made to what is kept of it.
pub(crate) fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT_MAX_BYTES)).unwrap_or_default().to_owned()
}

//! What happens, and what is to be done about it.

use bootstate::{Record, ReleaseVersion, Slot};
use generation::BootId;
use serde::{Deserialize, Serialize};

use crate::{Before, KubernetesVersion, Manifest, Source, Target, text};

/// When something happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The present boot.
    pub boot: BootId,
    /// Milliseconds since then (`CLOCK_BOOTTIME`): deadlines count by it.
    pub since_boot_ms: u64,
    /// The node's clock, in seconds since 1970: only what lasts longer than a boot counts by it.
    pub now_s: u64,
}

/// Number of something that an action began; the answer names it, and one that comes too late is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Task(pub u64);

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Installed {
    /// Version of the release.
    pub version: ReleaseVersion,
    /// Version of its Kubernetes parts.
    pub kubernetes: KubernetesVersion,
    /// Its architecture.
    pub architecture: String,
}

/// A request for a release.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Who asks.
    pub origin: Origin,
    /// Where the release lies.
    pub source: Source,
    /// The release; unknown for the newest of this Kubernetes minor version that lies there.
    #[serde(with = "text::version")]
    pub version: ReleaseVersion,
    /// How far to go.
    pub ending: Ending,
    /// What is allowed that is otherwise refused.
    #[serde(default)]
    pub allow: Allow,
}

/// Who asks for a release.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Origin {
    /// An admin.
    Admin {
        /// Subject of the client who signed the request.
        author: String,
    },
    /// The policy of the configuration.
    Automatic {
        /// End of the maintenance window, in seconds since 1970: the node does not reboot for it later than that.
        until_s: Option<u64>,
    },
}

/// How far to go with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// Reboot into it.
    Reboot,
    /// Put it on trial; the next reboot, whenever that is, starts it.
    Stage,
    /// Write it into its slot and no more. A later request finds it there.
    Write,
}

/// What is allowed that is otherwise refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Allow {
    /// An older release than the one that runs.
    pub downgrade: bool,
    /// A release that failed on this node before.
    pub failed: bool,
    /// Metadata past its expiry.
    pub expired: bool,
    /// Another minor version of Kubernetes.
    pub kubernetes_minor: bool,
}

/// Why something did not succeed, in one respect: whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// It will not succeed, however often it is tried: a signature is wrong, the release is not there.
    Final,
    /// It may succeed later: a server is not reached.
    Passing,
    /// As `Passing`, and some blocks were fetched: patience begins anew. There are only so many blocks.
    Progressed,
}

/// What machined finds when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Boot {
    /// The slot that runs.
    pub running: Slot,
    /// BOOTSTATE's record in force.
    pub record: Record,
    /// What runs.
    pub installed: Installed,
    /// How long the health gate may take by the configuration.
    pub gate_s: u32,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// machined started, at a boot or again in the same one.
    Boot(Box<Boot>),
    /// Someone asks for a release.
    Request(Box<Request>),
    /// The release is known.
    Resolved {
        /// The answered one.
        task: Task,
        /// Its manifest, which the metadata vouches for.
        manifest: Box<Manifest>,
    },
    /// The slot holds the release, flushed.
    Fetched {
        /// The answered one.
        task: Task,
    },
    /// The slot, read back past every cache, holds the release.
    Verified {
        /// The answered one.
        task: Task,
        /// What is healthy now.
        before: Before,
        /// Whether a "not while" probe says that now is no time for a reboot. Holds for what is automatic.
        busy: bool,
    },
    /// Resolving, fetching or verifying did not succeed.
    Failed {
        /// The answered one.
        task: Task,
        /// Whether to try again.
        failure: Failure,
        /// What is wrong.
        reason: String,
    },
    /// BOOTSTATE was changed.
    Recorded {
        /// The answered one.
        task: Task,
        /// The record in force.
        record: Box<Record>,
    },
    /// BOOTSTATE may not have been changed.
    RecordFailed {
        /// The answered one.
        task: Task,
        /// What is wrong.
        reason: String,
    },
    /// What is healthy now, to be known after a reboot. It counts while a staged release waits for one.
    Seen(Before),
    /// The release on trial is healthy.
    GatePassed {
        /// The answered one.
        task: Task,
    },
    /// The release on trial is not healthy.
    GateFailed {
        /// The answered one.
        task: Task,
        /// What is wrong.
        reason: String,
    },
    /// Time passed.
    Tick,
    /// An admin ends what goes on.
    Cancel {
        /// Subject of the client who signed it.
        author: String,
    },
    /// An admin wants the release of the other slot back.
    Rollback {
        /// Subject of the client who signed it.
        author: String,
    },
}

/// Something to do. In order; see the front page for what a failure means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Replace the state on the disk, atomically, before what follows.
    Persist,
    /// Replace the state on the disk; what follows is done also when that fails.
    Note,
    /// Stop resolving, fetching and verifying.
    Stop,
    /// Find the release: [`Event::Resolved`] or [`Event::Failed`].
    Resolve {
        /// To be named in the answer.
        task: Task,
        /// What is asked for.
        request: Box<Request>,
    },
    /// Fill the slot: [`Event::Fetched`] or [`Event::Failed`]. The slot must not start half-filled, so first of all
    /// the first block of its UKI is filled with zeros and that flushed, unless everything is right already; the
    /// UKI's first block is the last one written.
    Fetch {
        /// To be named in the answer.
        task: Task,
        /// Where the release lies.
        source: Source,
        /// What goes where.
        target: Box<Target>,
    },
    /// Read the slot back: [`Event::Verified`] or [`Event::Failed`]. For a release that lies there from before
    /// ([`Target::manifest`] is `None`) the UKI's digest is all that is known.
    Verify {
        /// To be named in the answer.
        task: Task,
        /// What must be there.
        target: Box<Target>,
    },
    /// [`Record::begin_trial`]: [`Event::Recorded`] or [`Event::RecordFailed`].
    BeginTrial {
        /// To be named in the answer.
        task: Task,
        /// What is put on trial.
        release: bootstate::Release,
    },
    /// [`Record::fail`]: [`Event::Recorded`], also when the slot is not on trial, or [`Event::RecordFailed`].
    EndTrial {
        /// To be named in the answer.
        task: Task,
        /// The slot.
        slot: Slot,
    },
    /// [`Record::confirm`]: [`Event::Recorded`] or [`Event::RecordFailed`]. The configuration's manager is then told
    /// [`generation::Event::SlotConfirmed`].
    Confirm {
        /// To be named in the answer.
        task: Task,
        /// The slot.
        slot: Slot,
    },
    /// [`Record::raise_rollback_floor`]; may fail, it comes again.
    RaiseFloor(ReleaseVersion),
    /// Judge the running release: [`Event::GatePassed`] or [`Event::GateFailed`].
    StartGate {
        /// To be named in the answer.
        task: Task,
        /// When it must have ended, in milliseconds since the boot.
        deadline_ms: u64,
        /// What must be healthy again.
        before: Before,
    },
    /// Reboot in order, through the firmware.
    Reboot,
}

/// Why an event was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Before [`Event::Boot`].
    #[error("the node is starting; repeat it in a moment")]
    Starting,
    /// Something else goes on.
    #[error("{what} is under way; cancel it or wait for its end")]
    Busy {
        /// What goes on.
        what: String,
    },
    /// Runs on trial.
    #[error("release {version} is on trial; wait for its end or roll it back")]
    OnTrial {
        /// The one that runs.
        version: ReleaseVersion,
    },
    /// A reboot was ordered.
    #[error("the node is about to reboot; repeat it after that")]
    Rebooting,
    /// BOOTSTATE is being written.
    #[error("the boot record is being written; repeat it in a moment")]
    Recording,
    /// The release must not be installed.
    #[error(transparent)]
    Unsuitable(#[from] Box<Unsuitable>),
    /// Nothing goes on.
    #[error("no upgrade is under way")]
    NothingToCancel,
    /// The other slot holds no release that was ever confirmed.
    #[error("slot {} holds no release that could be returned to", slot.letter())]
    NothingToReturnTo {
        /// The other slot.
        slot: Slot,
    },
}

/// Why a release must not be installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    /// The source gave another one.
    #[error("release {version} was asked for, but the source gave {actual}")]
    Other {
        /// The one asked for.
        version: ReleaseVersion,
        /// The one found.
        actual: ReleaseVersion,
    },
    /// It runs.
    #[error("release {version} runs already")]
    Runs {
        /// The release.
        version: ReleaseVersion,
    },
    /// Its trial failed.
    #[error("release {version} failed on this node: {reason}; ask for it with leave to retry")]
    FailedBefore {
        /// The release.
        version: ReleaseVersion,
        /// Why it failed.
        reason: String,
    },
    /// It is older than the one that runs.
    #[error("release {version} is older than {running}, which runs; ask for it with leave to downgrade")]
    Older {
        /// The release.
        version: ReleaseVersion,
        /// The one that runs.
        running: ReleaseVersion,
    },
    /// A confirmed release ruled it out for ever.
    #[error("release {version} is below the rollback floor {floor}")]
    BelowFloor {
        /// The release.
        version: ReleaseVersion,
        /// The floor.
        floor: ReleaseVersion,
    },
    /// A kubelet must never be newer than its API server.
    #[error(
        "it has Kubernetes {kubernetes}, this node {running}; ask for it with leave to change the minor version"
    )]
    KubernetesMinor {
        /// The release's.
        kubernetes: KubernetesVersion,
        /// The one that runs.
        running: KubernetesVersion,
    },
    /// It cannot run here.
    #[error("it is made for {architecture}, this node is {running}")]
    Architecture {
        /// The release's.
        architecture: String,
        /// The node's.
        running: String,
    },
}

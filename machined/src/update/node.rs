//! What the manager needs of the node. What takes long may be dropped where it stands.

use bootstate::{Record, Release, ReleaseVersion, Slot};
use update::{Before, Failure, Manifest, Moment, Request, Source, Target, Upgrade};

use super::{
    partitions::PartitionsError, repository::RepositoryError, source::ClientSource, sources::PlaceError,
    store::StoreError,
};
use crate::error_chain::error_chain;

/// Why something did not succeed, and whether to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Whether to try again.
    pub failure: Failure,
    /// What is wrong.
    pub reason: String,
}

/// The node.
pub trait Node: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Moment;
    /// Keeps the state. Blocks.
    fn save(&self, upgrade: &Upgrade) -> Result<(), StoreError>;

    /// Finds the release that is asked for.
    fn resolve(
        &self,
        request: &Request,
        client: Option<ClientSource>,
    ) -> impl Future<Output = Result<Manifest, Failed>> + Send;
    /// Fills the slot.
    fn fetch(
        &self,
        source: &Source,
        target: &Target,
        client: Option<ClientSource>,
    ) -> impl Future<Output = Result<(), Failed>> + Send;
    /// Reads the slot back.
    fn verify(&self, target: &Target) -> impl Future<Output = Result<(), Failed>> + Send;
    /// Whether now is no time for a reboot.
    fn is_busy(&self) -> impl Future<Output = bool> + Send;
    /// What is healthy now.
    fn healthy(&self) -> Before;
    /// Judges the release that runs, until this many milliseconds since the boot.
    fn judge(&self, before: Before, deadline_ms: u64) -> impl Future<Output = Result<(), String>> + Send;

    /// What BOOTSTATE says; nothing when it cannot be read. Blocks.
    fn record(&self) -> Option<Record>;
    /// Puts a release on trial. Blocks, like all that is written to BOOTSTATE, which each of them gives back.
    fn begin_trial(&self, release: Release) -> Result<Record, String>;
    /// Ends the trial of a slot, if it is on one.
    fn end_trial(&self, slot: Slot) -> Result<Record, String>;
    /// Keeps the running release.
    fn confirm(&self, slot: Slot) -> Result<Record, String>;
    /// Rules out older releases.
    fn raise_floor(&self, floor: ReleaseVersion) -> Result<Record, String>;
    /// Tells the configuration that the running release is kept.
    fn confirmed(&self, slot: Slot) -> impl Future<Output = ()> + Send;
    /// Takes leave of the pods, if there is time for that, and begins an ordered reboot.
    fn reboot(&self, takes_leave: bool) -> impl Future<Output = Result<(), String>> + Send;
}

impl Failed {
    /// It will not succeed, however often it is tried.
    pub fn for_good(reason: String) -> Self {
        Self { failure: Failure::Final, reason }
    }

    /// It may succeed later.
    pub fn for_now(reason: String) -> Self {
        Self { failure: Failure::Passing, reason }
    }
}

impl From<PartitionsError> for Failed {
    fn from(error: PartitionsError) -> Self {
        Self::for_good(error_chain(&error))
    }
}

impl From<PlaceError> for Failed {
    fn from(error: PlaceError) -> Self {
        Self { failure: error.failure(), reason: error_chain(&error) }
    }
}

impl From<RepositoryError> for Failed {
    fn from(error: RepositoryError) -> Self {
        Self { failure: error.failure(), reason: error_chain(&error) }
    }
}

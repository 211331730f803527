//! What the API and all controllers stand on: the disk, BOOTSTATE, STATE, the chosen configuration, trust, identity.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bootstate::{BootFlags, Recording, Slot, SlotState};
use layout::path;

use crate::{
    config_source::{self, SourceError},
    configuration::{
        self, AnchorsError, BootClock, BootError, Chosen, ClockError, GenerationStore, Reset, ResetError,
    },
    error_chain::error_chain,
    identity::{Identity, IdentityError, Mode},
    recovery,
    release::Release,
    storage::{self, BootState, Mirror, Origin, StorageError, SystemDisk},
    trust::{Trust, TrustError},
    update, volumes,
};

/// What must be there before the API can be served.
#[derive(Debug, thiserror::Error)]
pub enum FoundationError {
    /// The system disk, BOOTSTATE or a file system.
    #[error("storage")]
    Storage(#[source] StorageError),
    /// A reset that was asked for.
    #[error("reset")]
    Reset(#[source] ResetError),
    /// The kernel's boot id.
    #[error("this boot")]
    Clock(#[source] ClockError),
    /// The generations on STATE.
    #[error("configuration")]
    Boot(#[source] BootError),
    /// A first configuration.
    #[error("first configuration")]
    Source(#[source] SourceError),
    /// There is none, and the node never had one: it waits for one in maintenance.
    #[error("no configuration")]
    Unconfigured,
    /// What the node trusts.
    #[error("trust")]
    Trust(#[source] TrustError),
    /// What BOOTSTATE vouches for.
    #[error("trust anchors")]
    Anchors(#[source] AnchorsError),
    /// Keys and certificate.
    #[error("identity")]
    Identity(#[source] IdentityError),
}

/// What the API and all controllers stand on.
pub struct Foundation {
    /// The system disk.
    pub disk: SystemDisk,
    /// Its BOOTSTATE.
    pub boot_state: Arc<Mutex<BootState>>,
    /// The clock of this boot.
    pub clock: BootClock,
    /// Generations on STATE.
    pub store: GenerationStore,
    /// The one that runs.
    pub chosen: Chosen,
    /// What the node trusts.
    pub trust: Arc<Trust>,
    /// Who it is.
    pub identity: Identity,
    /// The slot that runs.
    pub slot: Slot,
    /// Why all this stands on the mirror of STATE, if it does.
    pub lost: Option<String>,
}

/// What stands on STATE.
struct Standing {
    clock: BootClock,
    store: GenerationStore,
    chosen: Chosen,
    trust: Arc<Trust>,
    identity: Identity,
    lost: Option<String>,
}

impl FoundationError {
    /// Whether STATE of a provisioned node is of no use.
    fn is_loss(&self) -> bool {
        match self {
            Self::Storage(error) => {
                matches!(error, StorageError::StateDamaged { .. } | StorageError::Mount { .. })
            }
            Self::Boot(_) | Self::Trust(_) | Self::Anchors(_) | Self::Identity(_) => true,
            Self::Reset(_) | Self::Clock(_) | Self::Source(_) | Self::Unconfigured => false,
        }
    }
}

/// Lays it. Everything may have been done before, by an earlier life of machined.
pub fn lay(release: &Release) -> Result<Foundation, FoundationError> {
    let disk = storage::find_system_disk().map_err(FoundationError::Storage)?;
    let mut boot_state = BootState::open(&disk).map_err(FoundationError::Storage)?;
    if let Some(id) = storage::efi_disk_id().map_err(FoundationError::Storage)? {
        boot_state.verify_disk_id(id, recording()).map_err(FoundationError::Storage)?;
    }
    let standing = match recovery::entered() {
        Some(why) => stand_on_mirror(release, &disk, &boot_state, why),
        None => stand(release, &disk, &mut boot_state),
    };
    let standing = match standing {
        Err(lost) if lost.is_loss() && boot_state.is_provisioned() => {
            recover(release, &disk, &boot_state, lost)
        }
        standing => standing,
    };
    let Standing { clock, store, chosen, trust, identity, lost } = standing?;
    let (slot, _) = slot(&boot_state);
    let boot_state = Arc::new(Mutex::new(boot_state));
    Ok(Foundation { disk, boot_state, clock, store, chosen, trust, identity, slot, lost })
}

fn stand(
    release: &Release,
    disk: &SystemDisk,
    boot_state: &mut BootState,
) -> Result<Standing, FoundationError> {
    if storage::is_state_shrouded() {
        return Err(lost(disk, "recovery was cut short"));
    }
    storage::bring_up_state(disk, boot_state.is_provisioned()).map_err(FoundationError::Storage)?;
    let state = Path::new(path::STATE);
    if let Some(reset) = Reset::noted(state) {
        carry_out(reset, state, disk, boot_state)?;
    }
    let trust = Arc::new(Trust::open(state, release.time_floor_s).map_err(FoundationError::Trust)?);
    let clock = BootClock::open().map_err(FoundationError::Clock)?;
    let store = GenerationStore::at(state);
    let chosen = choose(&store, &clock, disk, boot_state, &trust, release)?;
    learn_first(&trust, &chosen);
    let kept = configuration::kept(&store, &chosen.index);
    configuration::check_anchors(boot_state, &trust, &chosen.running.config, &kept)
        .map_err(FoundationError::Anchors)?;
    let identity = Identity::open(state, &chosen.running.config, Arc::clone(&trust))
        .map_err(FoundationError::Identity)?;
    identity.render().map_err(FoundationError::Identity)?;
    Ok(Standing { clock, store, chosen, trust, identity, lost: None })
}

/// The error stays that which STATE was lost for.
fn recover(
    release: &Release,
    disk: &SystemDisk,
    boot_state: &BootState,
    lost: FoundationError,
) -> Result<Standing, FoundationError> {
    let why = error_chain(&lost);
    if let Err(error) = recovery::enter(disk, release.time_floor_s, &why) {
        tracing::error!(error = error_chain(&error), "the node cannot be recovered");
        return Err(lost);
    }
    stand_on_mirror(release, disk, boot_state, why)
}

/// On a STATE that was made of the mirror. Nothing is compared with BOOTSTATE, which it comes from.
fn stand_on_mirror(
    release: &Release,
    disk: &SystemDisk,
    boot_state: &BootState,
    why: String,
) -> Result<Standing, FoundationError> {
    let state = Path::new(path::STATE);
    let trust = Arc::new(Trust::open(state, release.time_floor_s).map_err(FoundationError::Trust)?);
    let clock = BootClock::open().map_err(FoundationError::Clock)?;
    let store = GenerationStore::at(state);
    let (slot, on_trial) = slot(boot_state);
    let chosen = configuration::choose(&store, &clock.now(), slot, on_trial)
        .map_err(FoundationError::Boot)?
        .ok_or_else(|| lost(disk, "its mirror holds no configuration"))?;
    let identity = Identity::open(state, &chosen.running.config, Arc::clone(&trust))
        .map_err(FoundationError::Identity)?
        .in_mode(Mode::Recovery);
    identity.render().map_err(FoundationError::Identity)?;
    Ok(Standing { clock, store, chosen, trust, identity, lost: Some(why) })
}

fn lost(disk: &SystemDisk, detail: &str) -> FoundationError {
    let detail = detail.to_owned();
    FoundationError::Storage(StorageError::StateDamaged { device: disk.device.clone(), detail })
}

/// DATA, the images of a configuration volume, and at last the mark that the node is provisioned: from then on nothing
/// is formatted, no volume is read and only the configured clients are let in.
pub fn bring_up_data(
    disk: &SystemDisk,
    boot_state: &Mutex<BootState>,
    identity: &Identity,
) -> Result<(), FoundationError> {
    let mut boot_state = boot_state.lock().unwrap_or_else(PoisonError::into_inner);
    let provisioned = boot_state.is_provisioned();
    storage::bring_up_data(disk, provisioned).map_err(FoundationError::Storage)?;
    // Volumes alone suffer if this fails, and their condition says so.
    if let Err(error) = volumes::reserve_places() {
        tracing::error!(error = error_chain(&error), "the place of volumes is not reserved");
    }
    if provisioned {
        return Ok(());
    }
    if let Some(origin) = Origin::find_with_images(disk).map_err(FoundationError::Storage)? {
        config_source::take_over_images(origin.path()).map_err(FoundationError::Source)?;
    }
    let anchors = configuration::anchors_sha256(&identity.cas());
    boot_state.set_provisioned(anchors).map_err(FoundationError::Storage)
}

fn carry_out(
    reset: Reset,
    state: &Path,
    disk: &SystemDisk,
    boot_state: &mut BootState,
) -> Result<(), FoundationError> {
    tracing::warn!(?reset, "the node is reset");
    reset
        .carry_out(state, || storage::erase_data(disk), || forget(disk, boot_state))
        .map_err(FoundationError::Reset)
}

/// The mirror first: it holds the key, and is of use only while the node counts as provisioned.
fn forget(disk: &SystemDisk, boot_state: &mut BootState) -> Result<(), StorageError> {
    Mirror::of(disk)?.erase()?;
    boot_state.forget_provisioning()
}

fn choose(
    store: &GenerationStore,
    clock: &BootClock,
    disk: &SystemDisk,
    boot_state: &BootState,
    trust: &Trust,
    release: &Release,
) -> Result<Chosen, FoundationError> {
    let (slot, on_trial) = slot(boot_state);
    let returns = || {
        let generation::Moment { boot, since_boot_ms } = clock.now();
        let moment = ::update::Moment { boot, since_boot_ms, now_s: trust.floor_s() };
        let record = boot_state.record();
        record
            .is_some_and(|record| update::is_returning(Path::new(path::STATE), moment, record, slot, release))
    };
    let on_trial = on_trial && !returns();
    let choose = || configuration::choose(store, &clock.now(), slot, on_trial).map_err(FoundationError::Boot);
    if let Some(chosen) = choose()? {
        return Ok(chosen);
    }
    let damaged = || lost(disk, "it holds no configuration, but the node was provisioned");
    if boot_state.is_provisioned() {
        return Err(damaged());
    }
    let origin =
        Origin::find(disk).map_err(FoundationError::Storage)?.ok_or(FoundationError::Unconfigured)?;
    let created_s = i64::try_from(trust.floor_s()).unwrap_or(i64::MAX);
    config_source::take_over(origin.path(), store, created_s).map_err(FoundationError::Source)?;
    choose()?.ok_or_else(damaged)
}

/// The first configuration is confirmed at once, so what it trusts is kept, even when a power cut came between. A full
/// STATE keeps nobody out.
fn learn_first(trust: &Trust, chosen: &Chosen) {
    if trust.known_cas().is_some() || chosen.running.generation != chosen.index.confirmed() {
        return;
    }
    if let Err(error) = trust.learn(&chosen.running.config) {
        tracing::error!(error = error_chain(&error), "what the node trusts is not kept");
    }
}

/// Whether the selector could write to the disk that it started from.
fn recording() -> Recording {
    match storage::boot_report() {
        Ok(Some(report)) if report.flags.contains(BootFlags::UNRECORDED) => Recording::Impossible,
        Ok(_) | Err(_) => Recording::Possible,
    }
}

/// The slot that runs, and whether it is on trial itself. Without a word of the selector it is the active one.
fn slot(boot_state: &BootState) -> (Slot, bool) {
    let record = boot_state.record();
    let slot = match storage::boot_report() {
        Ok(Some(report)) => report.slot,
        Ok(None) | Err(_) => record.map_or(Slot::A, |record| record.active()),
    };
    let state = record.map(|record| record.slot(slot).state());
    (slot, matches!(state, Some(SlotState::Trial { .. })))
}

//! Updates of the OS: fetching a release into the slot that does not run, trying it, and keeping it or going back.
//!
//! `manager.rs` is the one task that decides, by the state machine of the crate `update`; `work.rs` does what that says:
//! `source/` and `repository/` find a release, `fetch/` fills a slot, `verify.rs` reads it back, `gate/` judges the
//! release once it runs. `automation.rs` follows a channel. Start reading at [`run`].

mod automation;
mod device;
mod drain;
mod fetch;
mod gate;
mod handle;
mod jobs;
mod manager;
mod mirrors;
mod node;
mod partitions;
mod probe;
mod publish;
mod repository;
mod running;
mod source;
mod sources;
mod store;
#[cfg(test)]
mod testing;
mod verify;
mod view;
mod work;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bootstate::{Record, ReleaseVersion, Slot};
use layout::path;
use tokio::sync::watch;
use update::{Boot, Event, Installed, KubernetesVersion, Moment, Upgrade};

use crate::{
    cluster,
    configuration::BootClock,
    context::Context,
    error_chain::error_chain,
    release::Release,
    storage::{BootState, SystemDisk},
    trust::Trust,
};
use automation::Automatic;
use handle::Inbox;
use manager::{Manager, Parts};
use repository::MetadataStore;
use store::StateStore;
use work::{Gauges, NodeWork};

pub use drain::Drain;
pub use handle::{Handle, Refused};
pub use source::{Chunk, ClientEnd, ClientSource, Deliveries, Missing};
#[cfg(test)]
pub use source::{Part, ReleasePath, Source, SourceError};
pub use sources::{limiter, shown as shown_url};
pub use view::{Automation, Progress, View};

/// What is known of a disk whose record is damaged.
const UNKNOWN: Record = Record::new(bootstate::Release {
    version: ReleaseVersion::UNKNOWN,
    uki: bootstate::Uki { length_bytes: 0, sha256: [0; 32] },
});
/// A copy of a repository's metadata in memory.
const METADATA: &str = "/run/cairn/update/metadata";
/// The condition.
const CONDITION: &str = "update";

/// What is known before anything runs.
pub struct Prepared {
    boot: Boot,
    upgrade: Upgrade,
    inbox: Inbox,
}

/// What updates need of the node besides what controllers share.
pub struct Foundation {
    /// The system disk.
    pub disk: SystemDisk,
    /// Its BOOTSTATE.
    pub boot_state: Arc<Mutex<BootState>>,
    /// The clock floor.
    pub trust: Arc<Trust>,
    /// The time since the boot.
    pub clock: BootClock,
    /// Whether STATE is lost: then nothing is installed unasked.
    pub is_lost: bool,
}

/// Reads what was kept, and makes the handle.
pub fn prepare(
    boot_state: &Mutex<BootState>,
    running: Slot,
    release: &Release,
    gate_s: u32,
) -> (Handle, Prepared) {
    let record = boot_state.lock().unwrap_or_else(PoisonError::into_inner).record().cloned();
    // A record that is damaged takes no change either.
    let record = record.unwrap_or(UNKNOWN);
    let upgrade = load(Path::new(path::STATE));
    let boot = Boot { running, record: record.clone(), installed: installed(release), gate_s };
    let (progress, automation) = (Progress::default(), None);
    let (handle, inbox) =
        Handle::new(View { upgrade: upgrade.clone(), record, running, progress, automation });
    (handle, Prepared { boot, upgrade, inbox })
}

/// Runs until machined ends.
pub async fn run(context: Arc<Context>, prepared: Prepared, foundation: Foundation) {
    let Prepared { boot, upgrade, inbox } = prepared;
    let Foundation { disk, boot_state, trust, clock, is_lost } = foundation;
    let (shown, automation) = watch::channel(None);
    let gauges = Gauges::default();
    let installed = boot.installed.clone();
    let metadata = MetadataStore::at(Path::new(path::STATE), Path::new(METADATA));
    let node = NodeWork {
        context: Arc::clone(&context),
        disk: disk.clone(),
        boot_state,
        trust: Arc::clone(&trust),
        clock,
        running: boot.running,
        installed: installed.clone(),
        store: StateStore::at(Path::new(path::STATE)),
        metadata: metadata.clone(),
        gauges: gauges.clone(),
        drain: cluster::Member(Arc::clone(&context)),
    };
    let meter = gauges.meter.clone();
    let published = publish::run(Arc::clone(&context), context.updates.view(), gauges);
    let managed = Manager::run(Parts { node, upgrade, boot, inbox, meter, automation });
    let handle = context.updates.clone();
    let automatic = Automatic { context, disk, trust, installed, metadata, handle, shown };
    let automatic = async move {
        if !is_lost {
            automatic.run().await;
        }
    };
    tokio::join!(managed, published, automatic);
}

/// Whether the running slot is on trial because an admin goes back to its release: the configuration then goes back,
/// too, and is not on trial.
pub fn is_returning(state: &Path, moment: Moment, record: &Record, running: Slot, release: &Release) -> bool {
    let mut upgrade = load(state);
    let boot = Boot { running, record: record.clone(), installed: installed(release), gate_s: 0 };
    upgrade.step(&moment, Event::Boot(Box::new(boot))).is_ok() && upgrade.is_returning()
}

fn load(state: &Path) -> Upgrade {
    StateStore::at(state).load().unwrap_or_else(|error| {
        tracing::error!(error = error_chain(&error), "what is known of upgrades is lost");
        Upgrade::new()
    })
}

fn installed(release: &Release) -> Installed {
    let none = KubernetesVersion { major: 0, minor: 0, patch: 0 };
    Installed {
        version: ReleaseVersion::new(&release.version).unwrap_or(ReleaseVersion::UNKNOWN),
        kubernetes: KubernetesVersion::new(&release.kubernetes).unwrap_or(none),
        architecture: std::env::consts::ARCH.to_owned(),
    }
}

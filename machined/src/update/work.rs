//! The node as the manager needs it: disks, sources, BOOTSTATE, and what is healthy.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bootstate::{Record, Release, ReleaseVersion, Slot};
use tokio::time::{Instant, timeout};
use update::{Before, Installed, Manifest, Moment, Request, Source, Target, Upgrade};
use verity::BLOCK_BYTES;

use super::{
    drain::Drain,
    fetch::{self, Fill, Meter},
    gate::{self, Missing, Served},
    mirrors::{Mark, Mirrors},
    node::{Failed, Node},
    partitions,
    probe::Prober,
    repository::{self, Judge, MetadataStore, Repository},
    running::{ROOT_DEVICE, RunningRoot},
    source::ClientSource,
    sources::{self, Place},
    store::{StateStore, StoreError},
    verify,
};
use crate::{
    configuration::{BootClock, Services as _},
    context::Context,
    error_chain::error_chain,
    storage::{BootState, StorageError, SystemDisk},
    trust::Trust,
};

/// What the gate leaves of a trial's time, so that its own reason is the one that is kept.
const VERDICT: Duration = Duration::from_secs(3);
/// For pods to take their leave. A node that nobody reaches reboots all the same.
const DRAIN: Duration = Duration::from_secs(10 * 60);

/// What is known of work under way besides its state.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// How far it is.
    pub meter: Meter,
    /// What is held against mirrors.
    pub marks: Arc<Mutex<Vec<Mark>>>,
    /// What a trial waits for.
    pub missing: Missing,
}

/// The node.
pub struct NodeWork<D> {
    /// Everything that controllers share.
    pub context: Arc<Context>,
    /// The system disk.
    pub disk: SystemDisk,
    /// Its BOOTSTATE.
    pub boot_state: Arc<Mutex<BootState>>,
    /// The clock floor.
    pub trust: Arc<Trust>,
    /// The time since the boot.
    pub clock: BootClock,
    /// The slot that runs.
    pub running: Slot,
    /// What runs.
    pub installed: Installed,
    /// Where the state is kept.
    pub store: StateStore,
    /// What was seen of repositories.
    pub metadata: MetadataStore,
    /// What is known of work under way.
    pub gauges: Gauges,
    /// Takes leave of pods.
    pub drain: D,
}

impl<D: Drain> Node for NodeWork<D> {
    fn now(&self) -> Moment {
        let generation::Moment { boot, since_boot_ms } = self.clock.now();
        Moment { boot, since_boot_ms, now_s: self.trust.floor_s() }
    }

    fn save(&self, upgrade: &Upgrade) -> Result<(), StoreError> {
        self.store.save(upgrade)
    }

    async fn resolve(&self, request: &Request, client: Option<ClientSource>) -> Result<Manifest, Failed> {
        let mirrors = self.mirrors(&request.source, client).await?;
        let found = self.find(request, &mirrors).await;
        self.note(&mirrors);
        found
    }

    async fn fetch(
        &self,
        source: &Source,
        target: &Target,
        client: Option<ClientSource>,
    ) -> Result<(), Failed> {
        let Some(manifest) = target.manifest.clone() else {
            return Err(Failed::for_good("what lies in the slot is not fetched".to_owned()));
        };
        let slot = target.slot;
        self.check_target(slot, target.version)?;
        let mirrors = Arc::new(self.mirrors(source, client).await?);
        let fill = Fill {
            manifest,
            slot,
            mirrors: Arc::clone(&mirrors),
            partitions: partitions::open(&self.disk, slot).await.map_err(Failed::from)?,
            present: self.present()?,
            meter: self.gauges.meter.clone(),
        };
        let filled = fetch::fill(fill).await;
        self.note(&mirrors);
        filled.map_err(|(error, failure)| Failed { failure, reason: error_chain(&error) })
    }

    async fn verify(&self, target: &Target) -> Result<(), Failed> {
        let partitions = partitions::open(&self.disk, target.slot).await.map_err(Failed::from)?;
        verify::verify(target, &partitions, &self.gauges.meter)
            .await
            .map_err(|error| Failed::for_good(error_chain(&error)))
    }

    async fn is_busy(&self) -> bool {
        sources::first_busy(&self.context, self.trust.floor_s()).await.is_some()
    }

    fn healthy(&self) -> Before {
        gate::healthy(&self.context.health, &self.context.store)
    }

    async fn judge(&self, before: Before, deadline_ms: u64) -> Result<(), String> {
        let left_ms = deadline_ms.saturating_sub(self.clock.now().since_boot_ms);
        let deadline = Instant::now() + Duration::from_millis(left_ms).saturating_sub(VERDICT);
        let Context { health, store, .. } = &*self.context;
        let checks = self.checks()?;
        let judged = gate::pass(checks, health, store, &before, deadline, &self.gauges.missing).await;
        self.gauges.missing.send_replace(Vec::new());
        judged
    }

    fn record(&self) -> Option<Record> {
        let mut boot_state = self.boot_state.lock().unwrap_or_else(PoisonError::into_inner);
        boot_state.refresh().ok()?;
        boot_state.record().cloned()
    }

    fn begin_trial(&self, release: Release) -> Result<Record, String> {
        self.change(|boot_state| boot_state.begin_trial(self.running, release))
    }

    fn end_trial(&self, slot: Slot) -> Result<Record, String> {
        self.change(|boot_state| boot_state.end_trial(slot))
    }

    fn confirm(&self, slot: Slot) -> Result<Record, String> {
        self.change(|boot_state| boot_state.confirm(slot))
    }

    fn raise_floor(&self, floor: ReleaseVersion) -> Result<Record, String> {
        self.change(|boot_state| boot_state.raise_rollback_floor(floor))
    }

    async fn confirmed(&self, slot: Slot) {
        if let Err(error) = self.context.generations.slot_confirmed(slot).await {
            tracing::error!(error = error_chain(&error), "the configuration is told at the next start");
        }
    }

    async fn reboot(&self, takes_leave: bool) -> Result<(), String> {
        if takes_leave && timeout(DRAIN, self.drain.drain()).await.is_err() {
            tracing::warn!(seconds = DRAIN.as_secs(), "pods did not take their leave in time");
        }
        self.context.control.reboot().await.map_err(|error| error_chain(&error))
    }
}

impl<D> NodeWork<D> {
    async fn find(&self, request: &Request, mirrors: &Mirrors) -> Result<Manifest, Failed> {
        let expires = self.context.config.borrow().update.metadata_expiry == config::Expiry::Enforce;
        let judge = Judge {
            anchor: repository::anchor().map_err(Failed::from)?,
            store: self.metadata.clone(),
            now_s: (expires && !request.allow.expired).then(|| self.trust.floor_s()),
        };
        let found = async {
            let repository = Repository::open(mirrors, &judge).await?;
            if !request.version.is_unknown() {
                return repository.manifest(&request.version).await;
            }
            let Installed { kubernetes, architecture, .. } = &self.installed;
            let what = format!("Kubernetes {}.{} on {architecture}", kubernetes.major, kubernetes.minor);
            let fits = |manifest: &Manifest| {
                manifest.architecture == *architecture
                    && (request.allow.kubernetes_minor || manifest.kubernetes.is_same_minor(*kubernetes))
            };
            repository.newest(&what, fits).await
        };
        found.await.map_err(Failed::from)
    }

    async fn mirrors(&self, source: &Source, client: Option<ClientSource>) -> Result<Mirrors, Failed> {
        let place = match (source, client) {
            (Source::Configured, _) => Place::Configured,
            (Source::Url(url), _) => Place::Url(url.clone()),
            (Source::Volume(label), _) => Place::Volume(label.clone()),
            (Source::Client, Some(client)) => Place::Client(client),
            (Source::Client, None) => return Err(Failed::for_now("the client is gone".to_owned())),
        };
        let opened = sources::open(&self.context, &self.disk, self.trust.floor_s(), place).await;
        opened.map_err(Failed::from)
    }

    /// Remembers what is held against mirrors.
    fn note(&self, mirrors: &Mirrors) {
        *self.gauges.marks.lock().unwrap_or_else(PoisonError::into_inner) = mirrors.report();
    }

    /// BOOTSTATE has the last word on which slot may be written.
    fn check_target(&self, slot: Slot, version: ReleaseVersion) -> Result<(), Failed> {
        let boot_state = self.boot_state.lock().unwrap_or_else(PoisonError::into_inner);
        let record = boot_state.record().ok_or(StorageError::BootRecordDamaged);
        let record = record.map_err(|error| Failed::for_good(error_chain(&error)))?;
        let allowed = record.trial_target(self.running, &version);
        let allowed = allowed.map_err(|error| Failed::for_good(error_chain(&error)))?;
        if allowed == slot { Ok(()) } else { Err(Failed::for_good("the slot runs".to_owned())) }
    }

    fn present(&self) -> Result<fetch::Partitions<fetch::Present>, Failed> {
        let uki_bytes = {
            let boot_state = self.boot_state.lock().unwrap_or_else(PoisonError::into_inner);
            let release = boot_state.record().and_then(|record| record.slot(self.running).release().copied());
            release.map_or(0, |release| release.uki.length_bytes)
        };
        let uki_blocks = uki_bytes.div_ceil(BLOCK_BYTES as u64);
        partitions::present(&self.disk, self.running, uki_blocks).map_err(Failed::from)
    }

    fn checks(&self) -> Result<Vec<gate::Check>, String> {
        let root = RunningRoot::read().map_err(|error| format!("the running root is not known: {error}"))?;
        let config = Arc::clone(&self.context.config.borrow());
        let mut checks = vec![
            gate::root(ROOT_DEVICE.into(), root.data_blocks),
            gate::api(Served::on_this_node(&self.context)),
        ];
        if !config.update.gate.probes.is_empty() {
            let prober = Prober::new(&config.trusted_certificates, self.trust.floor_s())
                .map_err(|error| error_chain(&error))?;
            let probes = config.update.gate.probes.iter().cloned();
            checks.extend(probes.map(|probe| gate::probe(probe, prober.clone())));
        }
        Ok(checks)
    }

    fn change(
        &self,
        change: impl FnOnce(&mut BootState) -> Result<(), StorageError>,
    ) -> Result<Record, String> {
        let mut boot_state = self.boot_state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut boot_state).map_err(|error| error_chain(&error))?;
        let record = boot_state.record().ok_or(StorageError::BootRecordDamaged);
        record.cloned().map_err(|error| error_chain(&error))
    }
}

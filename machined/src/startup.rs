//! From nothing to a served API: disk, STATE, configuration, identity; then DATA and the controllers.

use std::{convert::Infallible, error::Error, io, path::Path, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use bootstate::{Provisioning, Record, Sha256};
use config::NodeConfig;
use control::Request;
use layout::path;
use tokio::sync::watch;

use crate::{
    api::{self, ApiError},
    config_source::{self, SourceError},
    context::{Context, NodeIdentity},
    control_client::Control,
    controllers,
    error_chain::error_chain,
    etc,
    follow::Settled,
    health::{Health, Status},
    identity::{Identity, IdentityError},
    kubernetes, network, notify,
    release::Release,
    storage::{self, BootState, Origin, StorageError, SystemDisk},
    store::Store,
    trust::{self, Trust, TrustError},
};

/// Between attempts at what only a person or another disk can mend.
const RETRY: Duration = Duration::from_secs(10);

/// Why machined cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The image does not say what it is.
    #[error("cannot read the release's facts")]
    Release(#[source] io::Error),
    /// Rendered files cannot be written.
    #[error("cannot write below {}", path::RUN_ETC)]
    Etc(#[source] io::Error),
    /// The API cannot be served.
    #[error("the internal API cannot be served")]
    Api(#[source] ApiError),
}

/// What must be there before the API can be served.
#[derive(Debug, thiserror::Error)]
enum FoundationError {
    #[error("storage")]
    Storage(#[source] StorageError),
    #[error("configuration")]
    Source(#[source] SourceError),
    #[error(
        "no configuration: attach a volume labelled {} with {}",
        layout::CONFIG_VOLUME_LABEL,
        layout::CONFIG_VOLUME_FILE
    )]
    Unconfigured,
    #[error("trust")]
    Trust(#[source] TrustError),
    #[error("identity")]
    Identity(#[source] IdentityError),
    #[error(
        "the client CAs on STATE are not those that the node was provisioned with, so no API is served: flash the disk anew"
    )]
    TrustChanged,
}

/// What the API and all controllers stand on.
struct Foundation {
    disk: SystemDisk,
    boot_state: BootState,
    config: NodeConfig,
    trust: Arc<Trust>,
    identity: Identity,
}

/// Runs for ever.
pub async fn run() -> Result<Infallible, StartupError> {
    let release = Release::read().map_err(StartupError::Release)?;
    let control = Control::default();
    tokio::spawn(notify::keep_alive());
    let foundation = lay(&release, &control).await;
    let node = describe(&foundation.identity);
    let hostname = node.hostname(&foundation.config);
    etc::render(&hostname, &node.machine_id, None).map_err(StartupError::Etc)?;

    let (data_done, data_ready) = watch::channel(false);
    let Foundation { disk, boot_state, config, trust, identity } = foundation;
    let (_config_sender, config) = watch::channel(Arc::new(config));
    let context = Arc::new(Context {
        store: Store::default(),
        control,
        config,
        settled: Settled::default(),
        release,
        slot: slot(),
        node,
        identity: Arc::new(identity),
        data_ready,
        address: watch::Sender::new(None),
        health: Health::default(),
    });
    context.health.set("configuration", Status::Healthy, "Loaded", "");
    let listener = api::listen().map_err(StartupError::Api)?;
    notify::ready();
    tracing::info!(node_id = context.node.node_id, "the internal API is served");

    tokio::spawn(trust::run(trust));
    tokio::spawn(bring_up_data(Arc::clone(&context), disk, boot_state, data_done));
    tokio::spawn(controllers::run(Arc::clone(&context)));
    tokio::spawn(network::run(Arc::clone(&context)));
    tokio::spawn(kubernetes::run(Arc::clone(&context)));
    api::serve(listener, context).await.map_err(StartupError::Api)?;
    // The server ends only with an error.
    std::future::pending().await
}

/// Tries until the foundation stands. What is wrong goes to the console: there is no API to ask yet.
async fn lay(release: &Release, control: &Control) -> Foundation {
    let mut said = String::new();
    loop {
        let release = release.clone();
        let laid = tokio::task::spawn_blocking(move || foundation(&release)).await;
        let error = match laid {
            Ok(Ok(foundation)) => return foundation,
            Ok(Err(error)) => error_chain(&error),
            Err(error) => error.to_string(),
        };
        if error != said {
            tracing::error!(error, "the node cannot serve its API yet");
            if let Err(silent) = control.request(Request::Console(error.clone())).await {
                tracing::warn!(error = &silent as &dyn Error, "the console line is not shown");
            }
            said = error;
        }
        // The node waits for a person: it is alive, and PID 1 must not restart it.
        notify::ready();
        tokio::time::sleep(RETRY).await;
    }
}

fn foundation(release: &Release) -> Result<Foundation, FoundationError> {
    let disk = storage::find_system_disk().map_err(FoundationError::Storage)?;
    let boot_state = BootState::open(&disk).map_err(FoundationError::Storage)?;
    if let Some(id) = storage::efi_disk_id().map_err(FoundationError::Storage)? {
        boot_state.verify_disk_id(id).map_err(FoundationError::Storage)?;
    }
    let provisioned = boot_state.is_provisioned();
    storage::bring_up_state(&disk, provisioned).map_err(FoundationError::Storage)?;
    let state = Path::new(path::STATE);
    let config = match config_source::kept(state).map_err(FoundationError::Source)? {
        Some(config) => config,
        None if provisioned => {
            let detail = "it holds no configuration, but the node was provisioned".to_owned();
            let device = disk.device.clone();
            return Err(FoundationError::Storage(StorageError::StateDamaged { device, detail }));
        }
        None => from_volume(&disk, state)?,
    };
    let trust = Arc::new(Trust::open(state, release.time_floor_s).map_err(FoundationError::Trust)?);
    let identity = Identity::open(state, &config, Arc::clone(&trust)).map_err(FoundationError::Identity)?;
    let known = boot_state.record().map(Record::provisioning);
    if !is_trusted(known, trust_anchors_sha256(&identity)) {
        return Err(FoundationError::TrustChanged);
    }
    // What runs at start was confirmed. A full STATE keeps nobody out.
    if let Err(error) = trust.learn(&config) {
        tracing::error!(error = error_chain(&error), "what the node trusts is not kept");
    }
    identity.render().map_err(FoundationError::Identity)?;
    Ok(Foundation { disk, boot_state, config, trust, identity })
}

/// Whether STATE holds the trust anchors that BOOTSTATE knows. A file system does not notice a flipped bit in them.
fn is_trusted(known: Option<Provisioning>, found: Sha256) -> bool {
    match known {
        Some(Provisioning::Done { trust_anchors_sha256 }) => trust_anchors_sha256 == found,
        Some(Provisioning::Never | Provisioning::Presumed) | None => true,
    }
}

fn from_volume(disk: &SystemDisk, state: &Path) -> Result<NodeConfig, FoundationError> {
    let origin = Origin::find(disk).map_err(FoundationError::Storage)?.ok_or(FoundationError::Unconfigured)?;
    config_source::take_over(origin.path(), state).map_err(FoundationError::Source)
}

/// DATA, the images of a configuration volume, and at last the mark that the node is provisioned.
async fn bring_up_data(
    context: Arc<Context>,
    disk: SystemDisk,
    boot_state: BootState,
    done: watch::Sender<bool>,
) {
    let (disk, boot_state) = (Arc::new(disk), Arc::new(std::sync::Mutex::new(boot_state)));
    loop {
        let (disk, boot_state) = (Arc::clone(&disk), Arc::clone(&boot_state));
        let trust = trust_anchors_sha256(&context.identity);
        let brought = tokio::task::spawn_blocking(move || {
            let mut boot_state = boot_state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            data(&disk, &mut boot_state, trust)
        });
        let error = match brought.await {
            Ok(Ok(())) => {
                context.health.set("storage", Status::Healthy, "Mounted", "");
                done.send_replace(true);
                return;
            }
            Ok(Err(error)) => error_chain(&error),
            Err(error) => error.to_string(),
        };
        context.health.set("storage", Status::Unhealthy, "DataNotMounted", error);
        tokio::time::sleep(RETRY).await;
    }
}

fn data(disk: &SystemDisk, boot_state: &mut BootState, trust: [u8; 32]) -> Result<(), FoundationError> {
    let provisioned = boot_state.is_provisioned();
    storage::bring_up_data(disk, provisioned).map_err(FoundationError::Storage)?;
    if !provisioned {
        if let Some(origin) = Origin::find(disk).map_err(FoundationError::Storage)? {
            config_source::take_over_images(origin.path()).map_err(FoundationError::Source)?;
        }
        boot_state.set_provisioned(trust).map_err(FoundationError::Storage)?;
    }
    Ok(())
}

fn trust_anchors_sha256(identity: &Identity) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, identity.cas_pem().as_bytes()).as_ref());
    hash
}

fn describe(identity: &Identity) -> NodeIdentity {
    NodeIdentity { node_id: identity.node_id().to_owned(), machine_id: identity.machine_id().to_owned() }
}

fn slot() -> &'static str {
    match storage::boot_report() {
        Ok(Some(report)) => match report.slot {
            bootstate::Slot::A => "A",
            bootstate::Slot::B => "B",
        },
        Ok(None) => "",
        Err(error) => {
            tracing::warn!(error = &error as &dyn Error, "the selector's report cannot be read");
            ""
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_trust_anchors_than_the_provisioned_ones_are_refused() {
        let provisioned = |trust_anchors_sha256| Some(Provisioning::Done { trust_anchors_sha256 });
        assert!(is_trusted(provisioned([1; 32]), [1; 32]));
        assert!(!is_trusted(provisioned([1; 32]), [2; 32]));
        for unknown in [None, Some(Provisioning::Never), Some(Provisioning::Presumed)] {
            assert!(is_trusted(unknown, [2; 32]));
        }
    }
}

//! A node without configuration: it can be found and asked how it is, and takes its first configuration from whoever
//! knows the code on its console, or from a client of the CA that its medium carries.
//!
//! `door.rs` judges who that is, `desk.rs` takes the configuration, `console.rs` says what an admin must know,
//! `panel.rs` draws it; the service is in `api/maintenance.rs`. Start reading at [`run`].

mod console;
mod desk;
mod door;
mod panel;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ::discovery::Node;
use layout::path;
use pki::{Bundle, BundleError};
use tokio::sync::watch;

use crate::{
    api::{self, ApiError},
    configuration::{BootClock, ClockError, GenerationStore},
    context::NodeIdentity,
    control_client::Control,
    discovery, etc,
    health::Health,
    identity::{IdentityError, Keys},
    network, notify,
    release::Release,
    storage::{self, Origin, Seed, StorageError, SystemDisk},
    store::Store,
    trust::{Trust, TrustError},
};

pub use desk::{Desk, Refused};
use door::Pairing;
pub use door::{Door, DoorError, Turned};

/// Between looks for a volume that somebody plugged in meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// The pairing code and its tries, below /run: they outlive machined, not the boot.
const PAIRING: &str = "pairing.json";

/// Why the node cannot even be maintained.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The system disk, or what lies on it.
    #[error("storage")]
    Storage(#[source] StorageError),
    /// The CA that the medium carries.
    #[error("the CA of the medium is of no use")]
    Medium(#[source] BundleError),
    /// The time floor.
    #[error("trust")]
    Trust(#[source] TrustError),
    /// Key and certificate.
    #[error("identity")]
    Identity(#[source] IdentityError),
    /// The pairing code.
    #[error("pairing")]
    Door(#[source] DoorError),
    /// The kernel's boot id.
    #[error("this boot")]
    Clock(#[source] ClockError),
    /// The host name.
    #[error("cannot write below {}", path::RUN_ETC)]
    Etc(#[source] std::io::Error),
    /// Only a panic or the end of the process leads here.
    #[error("the node could not finish")]
    Unfinished,
    /// The API.
    #[error("the internal API cannot be served")]
    Api(#[source] ApiError),
}

/// What maintenance needs from the disk.
struct Ground {
    disk: SystemDisk,
    keys: Keys,
    trust: Trust,
    door: Door,
}

/// Serves until the node has a configuration, or there is a volume to look at. STATE is mounted.
pub async fn run(release: &Release, control: &Control) -> Result<(), MaintenanceError> {
    let time_floor_s = release.time_floor_s;
    let ground = blocking(move || Ground::open(time_floor_s)).await?;
    let Ground { disk, keys, trust, door } = ground;
    let node = NodeIdentity { node_id: keys.node_id.to_string(), machine_id: keys.machine_id.clone() };
    let hostname = node.hostname(&config::NodeConfig::default());
    etc::render(&hostname, &node.machine_id, None, false).map_err(MaintenanceError::Etc)?;
    let (address, health, resources) = (watch::Sender::new(None), Health::default(), Store::default());
    let clock = BootClock::open().map_err(MaintenanceError::Clock)?;
    let store = Arc::new(GenerationStore::at(Path::new(path::STATE)));
    let desk = Arc::new(Desk::new(keys, trust, door, clock, store));

    let listener = api::listen().map_err(MaintenanceError::Api)?;
    desk.render().map_err(MaintenanceError::Identity)?;
    notify::ready();
    tracing::info!(node_id = node.node_id, "the node has no configuration and waits for one");
    let found = Node {
        id: node.node_id.clone(),
        name: hostname,
        version: release.version.clone(),
        mode: "maintenance".to_owned(),
        fingerprint: desk.fingerprint(),
        endpoint: None,
    };
    let network = network::run_unconfigured(node, resources.clone(), health.clone(), address.clone());
    let until = until_configured(Arc::clone(&desk), disk);
    let service = api::Maintenance { desk: Arc::clone(&desk), resources, version: release.version.clone() };
    let ended = tokio::select! {
        served = api::serve_maintenance(listener, service, until) => served.map_err(MaintenanceError::Api),
        () = network => Ok(()),
        () = console::run(&desk, &address, &health, control) => Ok(()),
        () = discovery::run(address.subscribe(), || found.clone()) => Ok(()),
    };
    console::clear(control).await;
    ended
}

impl Ground {
    fn open(time_floor_s: u64) -> Result<Self, MaintenanceError> {
        let state = Path::new(path::STATE);
        let disk = storage::find_system_disk().map_err(MaintenanceError::Storage)?;
        let seed = Seed::unpack(&disk).map_err(MaintenanceError::Storage)?;
        let medium = seed.and_then(|seed| seed.admin_ca());
        let medium =
            medium.map(|pem| Bundle::from_pem(&pem)).transpose().map_err(MaintenanceError::Medium)?;
        let keys = Keys::open(state).map_err(MaintenanceError::Identity)?;
        let door = match medium {
            Some(medium) => Door::Clients(medium),
            None => Door::Code(
                Pairing::open(&pairing_file(), &keys.key.public_key_der()).map_err(MaintenanceError::Door)?,
            ),
        };
        let trust = Trust::open(state, time_floor_s).map_err(MaintenanceError::Trust)?;
        Ok(Self { disk, keys, trust, door })
    }
}

fn pairing_file() -> PathBuf {
    Path::new(path::RUN).join(PAIRING)
}

/// Returns when a configuration was taken, or when a volume with one is there and nobody is configuring the node.
async fn until_configured(desk: Arc<Desk>, disk: SystemDisk) {
    let disk = Arc::new(disk);
    loop {
        if tokio::time::timeout(LOOK_INTERVAL, desk.configured()).await.is_ok() {
            return;
        }
        let disk = Arc::clone(&disk);
        let found = tokio::task::spawn_blocking(move || Origin::find(&disk)).await;
        // A volume that cannot be read is for the start to complain about.
        if !matches!(found, Ok(Ok(None))) && desk.close() {
            tracing::info!("somebody brought a configuration volume");
            return;
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MaintenanceError> + Send + 'static,
) -> Result<T, MaintenanceError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(MaintenanceError::Unfinished))
}

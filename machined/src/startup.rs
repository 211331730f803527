//! From nothing to a served API: disk, STATE, configuration, identity; then DATA and the controllers.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    error::Error,
    io,
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use control::Request;
use layout::path;
use tokio::sync::watch;

use crate::{
    api::{self, ApiError},
    apid_files::{self, RenderError},
    cluster,
    configuration::{APID, Chosen, Executor, Manager, NodeKeeper, Parts},
    context::{Context, NodeIdentity},
    control_client::Control,
    controllers,
    error_chain::error_chain,
    etc,
    firewall::Firewall,
    follow::Settled,
    foundation::{self, Foundation, FoundationError},
    health::{Health, Status},
    identity::Identity,
    kubernetes, logs, maintenance, network, notify, recovery,
    release::Release,
    settings, shipping,
    storage::{self, BootState, Mirror, StorageError, SystemDisk},
    store::Store,
    timesync, trust, update, volumes,
};

/// Between attempts at what only a person or another disk can mend.
const RETRY: Duration = Duration::from_secs(10);
/// Services that have yet to be restarted for a change, below /run: a boot starts them all.
const OWED_RESTARTS: &str = "owed-restarts";

/// Why machined cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The image does not say what it is.
    #[error("cannot read the release's facts")]
    Release(#[source] io::Error),
    /// Rendered files cannot be written.
    #[error("cannot write below {}", path::RUN_ETC)]
    Etc(#[source] io::Error),
    /// BOOTSTATE is gone since it was read.
    #[error("the mirror of STATE cannot be kept")]
    Mirror(#[source] StorageError),
    /// apid does not learn where to listen.
    #[error("where the API is served cannot be written")]
    Addresses(#[source] RenderError),
    /// Not even a thread can be started.
    #[error("logs cannot be kept")]
    Logs(#[source] io::Error),
    /// The API cannot be served.
    #[error("the internal API cannot be served")]
    Api(#[source] ApiError),
}

/// Runs for ever.
pub async fn run() -> Result<Infallible, StartupError> {
    let release = Release::read().map_err(StartupError::Release)?;
    let control = Control::default();
    tokio::spawn(notify::keep_alive());
    let foundation = lay(&release, &control).await;
    let Foundation { disk, boot_state, clock, store, chosen, trust, identity, slot, lost } = foundation;
    let node = describe(&identity);
    let config = &chosen.running.config;
    etc::render(&node.hostname(config), &node.machine_id, None, config.cluster.is_some())
        .map_err(StartupError::Etc)?;

    let (data_done, data_ready) = watch::channel(false);
    let (switch, config) = watch::channel(Arc::clone(config));
    let (settled, health, resources) = (Settled::default(), Health::default(), Store::default());
    let owed = Path::new(path::RUN).join(OWED_RESTARTS);
    let executor = Executor::new(switch, settled.clone(), health.clone(), control.clone(), &owed);
    serve_at(&identity.addresses(&config.borrow()), &executor).await?;
    let keeper = NodeKeeper {
        state: path::STATE.into(),
        boot_state: Arc::clone(&boot_state),
        trust: Arc::clone(&trust),
        clock: clock.clone(),
        lost: lost.is_some().then(|| disk.clone()),
    };
    let Chosen { index, running, reboot } = chosen;
    let parts = Parts {
        index,
        running,
        store,
        executor,
        health: health.clone(),
        resources: resources.clone(),
        keeper,
    };
    let gate_s = u32::try_from(parts.running.config.update.gate.deadline.0).unwrap_or(u32::MAX);
    let (manager, generations) = Manager::new(parts);
    let (updates, prepared) = update::prepare(&boot_state, slot, &release, gate_s);
    let foundation = update::Foundation {
        disk: disk.clone(),
        boot_state: Arc::clone(&boot_state),
        trust: Arc::clone(&trust),
        clock: clock.clone(),
        is_lost: lost.is_some(),
    };
    let logs = {
        let trust = Arc::clone(&trust);
        let boot = clock.now().boot.0.parse().map_err(io::Error::other).map_err(StartupError::Logs)?;
        logs::Handle::start(boot, logs::Clock::new(move || trust.floor_s())).map_err(StartupError::Logs)?
    };
    let context = Arc::new(Context {
        store: resources,
        control,
        config,
        settled,
        generations,
        updates,
        release,
        slot: slot_said(),
        node,
        identity: Arc::new(identity),
        data_ready,
        address: watch::Sender::new(None),
        time_servers: watch::Sender::default(),
        health,
        logs,
    });
    let listener = api::listen().map_err(StartupError::Api)?;
    notify::ready();
    tracing::info!(node_id = context.node.node_id, "the internal API is served");

    // Before links come up: no moment without it.
    let mut firewall = Firewall::of_node(&context);
    firewall.step().await;
    tokio::spawn(firewall.run());
    tokio::spawn(trust::run(Arc::clone(&trust), context.logs.clone()));
    tokio::spawn(logs::run(Arc::clone(&context), lost.is_none()));
    tokio::spawn(controllers::run(Arc::clone(&context)));
    tokio::spawn(network::run(Arc::clone(&context)));
    tokio::spawn(timesync::run(Arc::clone(&context), Arc::clone(&trust)));
    tokio::spawn(update::run(Arc::clone(&context), prepared, foundation));
    match lost {
        None => {
            let mirror = Mirror::of(&disk).map_err(StartupError::Mirror)?;
            tokio::spawn(bring_up_data(Arc::clone(&context), disk, boot_state, data_done));
            tokio::spawn(kubernetes::run(Arc::clone(&context)));
            tokio::spawn(cluster::run(Arc::clone(&context)));
            tokio::spawn(settings::run(Arc::clone(&context)));
            tokio::spawn(shipping::run(Arc::clone(&context)));
            tokio::spawn(volumes::run(Arc::clone(&context)));
            tokio::spawn(recovery::keep_mirror(Arc::clone(&context), trust, mirror));
        }
        Some(why) => context.health.set("storage", Status::Unhealthy, "StateLost", in_recovery(&why)),
    }
    tokio::spawn(manager.run(reboot));
    api::serve(listener, context, clock).await.map_err(StartupError::Api)?;
    // The server ends only with an error.
    std::future::pending().await
}

/// Tells apid where to listen. When it may listen elsewhere already, in maintenance or for an earlier life of machined,
/// it is started anew.
async fn serve_at(addresses: &BTreeSet<IpAddr>, executor: &Executor<Control>) -> Result<(), StartupError> {
    let anew = apid_files::listens_elsewhere(addresses);
    // Noted before it is written: should machined end in between, its next life does the rest.
    if anew && let Err(error) = executor.owe(&[APID]) {
        tracing::error!(error = error_chain(&error), "apid's restart is not noted");
    }
    apid_files::render_addresses(addresses).map_err(StartupError::Addresses)?;
    if anew && let Err(error) = executor.pay(APID).await {
        tracing::error!(error = error_chain(&error), "apid still listens elsewhere");
    }
    Ok(())
}

/// Tries until the foundation stands. What is wrong goes to the console: there is no API to ask yet.
async fn lay(release: &Release, control: &Control) -> Foundation {
    let mut said = String::new();
    loop {
        let for_foundation = release.clone();
        let laid = tokio::task::spawn_blocking(move || foundation::lay(&for_foundation)).await;
        let error = match laid {
            Ok(Ok(foundation)) => return foundation,
            Ok(Err(FoundationError::Unconfigured)) => match maintenance::run(release, control).await {
                Ok(()) => continue,
                Err(error) => error_chain(&error),
            },
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

/// Tries to bring up DATA until it succeeds.
async fn bring_up_data(
    context: Arc<Context>,
    disk: SystemDisk,
    boot_state: Arc<Mutex<BootState>>,
    done: watch::Sender<bool>,
) {
    let disk = Arc::new(disk);
    loop {
        let (disk, boot_state) = (Arc::clone(&disk), Arc::clone(&boot_state));
        let identity = Arc::clone(&context.identity);
        let brought =
            tokio::task::spawn_blocking(move || foundation::bring_up_data(&disk, &boot_state, &identity));
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

fn in_recovery(why: &str) -> String {
    format!(
        "{why}. The node answers its known admins from the mirror of STATE and runs no pods: `osctl reset` makes it a new node"
    )
}

fn describe(identity: &Identity) -> NodeIdentity {
    NodeIdentity { node_id: identity.node_id().to_owned(), machine_id: identity.machine_id().to_owned() }
}

fn slot_said() -> &'static str {
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

//! Sends every line of the node's logs to the log servers of the configuration.
//!
//! A task for each server ([`server`]) reads the kept logs ([`feed`]) behind what that server has got: a server that cannot
//! be reached holds up nobody, and gets what it missed once it can, as far as that is still kept. What each has got is noted
//! every few minutes ([`positions`]). Lines begin with the document Logging. Start reading at [`run`].

mod condition;
mod feed;
mod line;
mod pause;
mod positions;
mod server;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use config::{LogDestination, Logging, NodeConfig};
use layout::path;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{interval, timeout},
};

use crate::{context::Context, error_chain::error_chain, health::Health, logs};
use feed::Feed;
use line::Form;
use positions::Positions;
use server::{Server, State};

/// Name of the condition.
const CONDITION: &str = "logging";
/// What each server has got is noted so often, for the sake of flash: after a power cut so much comes twice.
const NOTE_INTERVAL: Duration = Duration::from_secs(300);
/// For DATA to be there: what servers have got is noted there. Without it lines begin with the next one that comes.
const DATA_WITHIN: Duration = Duration::from_secs(60);

/// How each log server stands.
type States = BTreeMap<LogDestination, State>;

/// Obeys the configuration for ever.
pub async fn run(context: Arc<Context>) {
    let mut shipping = Shipping::new(context.logs.clone());
    let load = shipping.load();
    tokio::join!(load, shipping.obey_for_ever(&context));
}

/// Notes what servers have got, if that has changed.
async fn keep(file: &Path, positions: &Positions, noted: &mut BTreeMap<String, u64>) {
    let (now, file) = (positions.snapshot(), PathBuf::from(file));
    if now == *noted {
        return;
    }
    let to_save = now.clone();
    match tokio::task::spawn_blocking(move || positions::save(file, to_save)).await {
        Ok(Ok(())) => *noted = now,
        Ok(Err(error)) => {
            tracing::warn!(error = error_chain(&error), "what log servers have got is not noted")
        }
        Err(error) => tracing::warn!(%error, "what log servers have got is not noted"),
    }
}

/// Logs on their way.
struct Shipping {
    logs: logs::Handle,
    form: watch::Sender<Form>,
    /// The task that sends to a server ends with its set.
    servers: BTreeMap<LogDestination, JoinSet<()>>,
    states: watch::Sender<States>,
    positions: Positions,
    /// Whether positions are what an earlier life of machined noted, if they can be.
    loaded: watch::Sender<bool>,
    lookups: Arc<Semaphore>,
}

impl Shipping {
    fn new(logs: logs::Handle) -> Self {
        Self {
            logs,
            form: watch::Sender::default(),
            servers: BTreeMap::new(),
            states: watch::Sender::default(),
            positions: Positions::default(),
            loaded: watch::Sender::new(false),
            lookups: Arc::new(Semaphore::new(1)),
        }
    }

    /// Learns what servers have got.
    fn load(&self) -> impl Future<Output = ()> + use<> {
        let (mut news, positions, loaded) = (self.logs.news(), self.positions.clone(), self.loaded.clone());
        async move {
            let on_data = timeout(DATA_WITHIN, news.wait_for(|news| news.on_data)).await;
            if on_data.is_ok()
                && let Err(error) = positions.load(Path::new(path::SHIPPING))
            {
                tracing::warn!(
                    error = error_chain(&error),
                    "what log servers have got is not known: they begin anew"
                );
            }
            loaded.send_replace(true);
        }
    }

    async fn obey_for_ever(&mut self, context: &Context) {
        let mut follower = context.follower(CONDITION);
        let mut states = self.states.subscribe();
        let mut note = interval(NOTE_INTERVAL);
        let mut noted = BTreeMap::new();
        loop {
            let config = follower.current();
            self.obey(&config, context.node.hostname(&config));
            self.report(&context.health);
            follower.settle(&config);
            loop {
                tokio::select! {
                    () = follower.changed() => break,
                    // The sender is `self.states`.
                    _ = states.changed() => self.report(&context.health),
                    _ = note.tick() => keep(Path::new(path::SHIPPING), &self.positions, &mut noted).await,
                }
            }
        }
    }

    /// Begins and ends what the configuration says. Servers that stay keep their connection and what waits for them.
    fn obey(&mut self, config: &NodeConfig, node: String) {
        let Logging { destinations, fields } = config.logging.clone().unwrap_or_default();
        self.form.send_replace(Form { node, fields });
        self.servers.retain(|destination, _| destinations.contains(destination));
        self.states.send_modify(|states| states.retain(|destination, _| destinations.contains(destination)));
        self.positions.retain(&destinations);
        for destination in destinations {
            if !self.servers.contains_key(&destination) {
                self.servers.insert(destination.clone(), self.begin(destination));
            }
        }
    }

    fn begin(&self, destination: LogDestination) -> JoinSet<()> {
        self.states.send_modify(|states| drop(states.insert(destination.clone(), State::Connecting)));
        let (states, lookups) = (self.states.clone(), Arc::clone(&self.lookups));
        let (logs, form, positions) = (self.logs.clone(), self.form.subscribe(), self.positions.clone());
        let mut loaded = self.loaded.subscribe();
        let mut task = JoinSet::new();
        task.spawn(async move {
            // The sender is kept as long as this task.
            loaded.wait_for(|loaded| *loaded).await.ok();
            if let Ok(feed) = Feed::open(destination.clone(), logs, form, positions).await {
                Server { destination, feed, states, lookups }.run().await;
            }
        });
        task
    }

    fn report(&self, health: &Health) {
        let (status, reason, message) = condition::of(&self.states.borrow());
        health.set(CONDITION, status, reason, message);
    }
}

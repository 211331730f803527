//! Sends every line of the node's logs to the log servers of the configuration.
//!
//! One controller reads all logs and puts each line into a [`queue`] for each server, which never waits: a server that
//! cannot be reached holds up nobody, and its oldest lines are dropped and counted. A task for each server
//! ([`server`]) empties its queue. Memory is bounded: see [`queue::QUEUE_MAX_BYTES`]. Lines begin with the document
//! Logging, and what a server has not got when machined ends is lost. Start reading at [`run`].

mod condition;
mod line;
mod pause;
mod queue;
mod server;
mod severity;
mod sources;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use config::{LogDestination, Logging, NodeConfig};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::sleep,
};

use crate::{
    context::Context,
    error_chain::error_chain,
    health::{Health, Status},
    logs::LogError,
};
use line::Form;
use queue::Queue;
use server::{Server, State};
use sources::{Entry, Sources};

/// Name of the condition.
const CONDITION: &str = "logging";
/// After logs could not be read.
const RETRY: Duration = Duration::from_secs(10);

/// How each log server stands.
type States = BTreeMap<LogDestination, State>;

/// Obeys the configuration for ever.
pub async fn run(context: Arc<Context>) {
    let mut follower = context.follower(CONDITION);
    let mut shipping = Shipping::new();
    loop {
        let config = follower.current();
        let obeyed = shipping.obey(&config, context.node.hostname(&config));
        if obeyed.is_ok() {
            shipping.report(&context.health);
        }
        if let Err(error) = &obeyed {
            unread(&context.health, error);
        }
        follower.settle(&config);
        if obeyed.is_ok() {
            let Err(error) = tokio::select! {
                () = follower.changed() => continue,
                ended = shipping.ship(&context.health) => ended,
            };
            unread(&context.health, &error);
        }
        shipping.sources = None;
        tokio::select! {
            () = follower.changed() => {}
            () = sleep(RETRY) => {}
        }
    }
}

fn unread(health: &Health, error: &LogError) {
    health.set(CONDITION, Status::Unhealthy, "LogsNotRead", error_chain(error));
}

/// Logs on their way.
struct Shipping {
    /// None while there is nobody to send them to.
    sources: Option<Sources>,
    form: watch::Sender<Form>,
    servers: BTreeMap<LogDestination, Running>,
    states: watch::Sender<States>,
    lookups: Arc<Semaphore>,
}

/// A server's queue, and the task that empties it for as long as this is kept.
struct Running {
    queue: Arc<Queue>,
    _task: JoinSet<()>,
}

impl Shipping {
    fn new() -> Self {
        Self {
            sources: None,
            form: watch::Sender::default(),
            servers: BTreeMap::new(),
            states: watch::Sender::default(),
            lookups: Arc::new(Semaphore::new(1)),
        }
    }

    /// Begins and ends what the configuration says. Servers that stay keep their connection and what waits for them.
    fn obey(&mut self, config: &NodeConfig, node: String) -> Result<(), LogError> {
        let Logging { destinations, fields } = config.logging.clone().unwrap_or_default();
        self.form.send_replace(Form { node, fields });
        self.servers.retain(|destination, _| destinations.contains(destination));
        self.states.send_modify(|states| states.retain(|destination, _| destinations.contains(destination)));
        if destinations.is_empty() {
            self.sources = None;
        } else if self.sources.is_none() {
            self.sources = Some(Sources::open()?);
        }
        for destination in destinations {
            if !self.servers.contains_key(&destination) {
                self.servers.insert(destination.clone(), self.begin(destination));
            }
        }
        Ok(())
    }

    fn begin(&self, destination: LogDestination) -> Running {
        let queue = Arc::new(Queue::default());
        self.states.send_modify(|states| drop(states.insert(destination.clone(), State::Connecting)));
        let server = Server {
            destination,
            queue: Arc::clone(&queue),
            form: self.form.subscribe(),
            states: self.states.clone(),
            lookups: Arc::clone(&self.lookups),
        };
        let mut task = JoinSet::new();
        task.spawn(server.run());
        Running { queue, _task: task }
    }

    /// Moves lines from the logs to the queues until logs cannot be read. Safe to cancel.
    async fn ship(&mut self, health: &Health) -> Result<Infallible, LogError> {
        let mut states = self.states.subscribe();
        loop {
            let Some(sources) = &mut self.sources else { return std::future::pending().await };
            let (form, servers) = (&self.form, &self.servers);
            let take = |entry: Entry<'_>| {
                let line = form.borrow().line(SystemTime::now(), &entry);
                servers.values().for_each(|server| server.queue.push(Arc::clone(&line)));
            };
            tokio::select! {
                read = sources.read(take) => read?,
                // The sender is `self.states`.
                _ = states.changed() => self.report(health),
            }
        }
    }

    fn report(&self, health: &Health) {
        let (status, reason, message) = condition::of(&self.states.borrow());
        health.set(CONDITION, status, reason, message);
    }
}

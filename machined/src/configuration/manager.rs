//! The one task that decides which generations there are and which one runs.
//!
//! It drives `generation::Index` as that crate's front page says. What takes time, a run and its gate, is a job beside
//! it: requests, deadlines and a revert never wait for one. A change that is overtaken is dropped where it stands; what
//! it restarted or should have is made up for by the next.

use std::{sync::Arc, time::Duration};

use bootstate::Slot;
use config::NodeConfig;
use generation::{Event, Generation, Index, Mode, Moment, Refusal};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    executor::Executor,
    report::{Report, Reporter},
    running::Running,
    services::Services,
    store::{GenerationStore, StoreError},
};
use crate::{health::Health, store::Store};

/// Requests that wait; each is answered after a few writes.
const COMMANDS_MAX: usize = 8;
/// Why a request is not granted. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It does not fit what is under way.
    #[error("the change is refused")]
    Step(#[source] Refusal),
    /// It cannot be kept.
    #[error("the change cannot be kept")]
    Store(#[source] StoreError),
    /// What it trusts cannot be kept.
    #[error("what the generation trusts cannot be kept: {0}")]
    Trust(String),
    /// The node is about to be reset.
    #[error("the node is about to be reset")]
    Resetting,
    /// The reset cannot be noted.
    #[error("the reset cannot be begun: {0}")]
    Reset(String),
    /// The manager is gone; its process ends.
    #[error("machined is ending")]
    Ending,
}

/// A checked change.
#[derive(Debug)]
pub struct Change {
    /// The base that it was made for.
    pub base: Generation,
    /// How it takes effect.
    pub mode: Mode,
    /// How long it may run unconfirmed.
    pub timeout_s: u32,
    /// Who signed it.
    pub author: String,
    /// The node's clock.
    pub created_s: i64,
    /// Whether it is kept although a name server or mirror that it names does not answer.
    pub accept_unreachable: bool,
    /// The whole configuration.
    pub text: String,
    /// What it says.
    pub config: NodeConfig,
}

/// A change that is under way.
#[derive(Debug)]
pub struct Accepted {
    /// The generation that it makes; for a rollback the one that is taken back.
    pub generation: Generation,
    /// What is told of it.
    pub reports: mpsc::Receiver<Report>,
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, Refused>>;

pub(super) enum Command {
    Apply(Box<Change>, Answer<Accepted>),
    Rollback { base: Generation, author: String, answer: Answer<Accepted> },
    Confirm(Generation, Answer<()>),
    SlotConfirmed(Slot, Answer<()>),
    Reset { wipe_data: bool, answer: Answer<()> },
}

/// What the manager knows, for readers.
#[derive(Clone, Debug)]
pub struct View {
    /// All generations.
    pub index: Index,
    /// The one that runs.
    pub running: Arc<Running>,
}

/// The manager as others see it.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<View>,
    store: Arc<GenerationStore>,
}

impl Handle {
    /// What there is now.
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// What there is; told of every change.
    pub fn views(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// The texts.
    pub fn store(&self) -> Arc<GenerationStore> {
        Arc::clone(&self.store)
    }

    /// Makes a change.
    pub async fn apply(&self, change: Change) -> Result<Accepted, Refused> {
        self.ask(|answer| Command::Apply(Box::new(change), answer)).await
    }

    /// Ends a trial, or drops what is staged.
    pub async fn roll_back(&self, base: Generation, author: String) -> Result<Accepted, Refused> {
        self.ask(|answer| Command::Rollback { base, author, answer }).await
    }

    /// Keeps a generation on trial.
    pub async fn confirm(&self, generation: Generation) -> Result<(), Refused> {
        self.ask(|answer| Command::Confirm(generation, answer)).await
    }

    /// Tells that the slot that runs is kept, with the configuration that runs.
    pub async fn slot_confirmed(&self, slot: Slot) -> Result<(), Refused> {
        self.ask(|answer| Command::SlotConfirmed(slot, answer)).await
    }

    /// Notes a reset for the next start, and reboots.
    pub async fn reset(&self, wipe_data: bool) -> Result<(), Refused> {
        self.ask(|answer| Command::Reset { wipe_data, answer }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Refused::Ending)?;
        answered.await.map_err(|_| Refused::Ending)?
    }
}

/// What the manager needs of the node besides services. All of it blocks.
pub trait Keeper: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Moment;
    /// Keeps for good what a generation trusts that is about to be confirmed.
    fn keep_trust(&self, config: &NodeConfig) -> Result<(), String>;
    /// Notes for the next start that the node is to be reset.
    fn note_reset(&self, wipe_data: bool) -> Result<(), String>;
}

/// Everything the manager works with.
pub struct Parts<S, K> {
    /// All generations, after [`Event::Boot`].
    pub index: Index,
    /// What the node was started with.
    pub running: Running,
    /// The files.
    pub store: GenerationStore,
    /// Switches configurations.
    pub executor: Executor<S>,
    /// Conditions.
    pub health: Health,
    /// Resources.
    pub resources: Store,
    /// The node.
    pub keeper: K,
}

/// A run under way.
pub(super) struct Job {
    pub(super) generation: Generation,
    /// Carries the plan out, then watches the gate.
    pub(super) task: JoinHandle<Result<(), String>>,
    /// Told in between.
    pub(super) executed: Option<oneshot::Receiver<()>>,
}

/// What becomes of a job.
pub(super) enum News {
    /// The node obeys the generation. Its conditions are still watched.
    Executed,
    /// The end.
    Ended(Generation, Result<(), String>),
}

/// The manager.
pub struct Manager<S, K> {
    pub(super) index: Index,
    pub(super) running: Arc<Running>,
    pub(super) store: Arc<GenerationStore>,
    pub(super) executor: Arc<Executor<S>>,
    pub(super) health: Health,
    pub(super) resources: Store,
    pub(super) keeper: Arc<K>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) view: watch::Sender<View>,
    pub(super) job: Option<Job>,
    pub(super) reporter: Option<Reporter>,
    /// The generation of which nothing outside of the node has to answer.
    pub(super) accepted_unreachable: Option<Generation>,
    pub(super) resetting: bool,
}

impl<S: Services, K: Keeper> Manager<S, K> {
    /// A manager and its handle.
    pub fn new(parts: Parts<S, K>) -> (Self, Handle) {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let running = Arc::new(parts.running);
        let store = Arc::new(parts.store);
        let view = watch::Sender::new(View { index: parts.index.clone(), running: Arc::clone(&running) });
        let handle = Handle { commands: sender, view: view.subscribe(), store: Arc::clone(&store) };
        let manager = Self {
            index: parts.index,
            running,
            store,
            executor: Arc::new(parts.executor),
            health: parts.health,
            resources: parts.resources,
            keeper: Arc::new(parts.keeper),
            commands,
            view,
            job: None,
            reporter: None,
            accepted_unreachable: None,
            resetting: false,
        };
        manager.publish();
        (manager, handle)
    }

    /// Runs until every handle is gone. `reboot_owed` is what the boot event asked for.
    pub async fn run(mut self, reboot_owed: bool) {
        if reboot_owed {
            self.reboot().await;
        } else {
            self.watch_start().await;
        }
        loop {
            let deadline_ms = self.index.deadline_ms();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                news = news(&mut self.job) => self.hear(news).await,
                () = due(deadline_ms, self.keeper.now()) => self.happen(Event::Tick).await,
            }
            self.publish();
            self.conclude();
        }
    }
}

/// What becomes of the job; nothing while there is none.
async fn news(job: &mut Option<Job>) -> News {
    let Some(Job { generation, task, executed }) = job else { return std::future::pending().await };
    let runs = async {
        match executed {
            Some(executed) => executed.await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        ended = task => News::Ended(*generation, ended.unwrap_or_else(|error| Err(error.to_string()))),
        // A job that ends without a word has ended above.
        _ = runs => News::Executed,
    }
}

/// Waits for a deadline in milliseconds since boot. Late is harmless, early is asked for again.
async fn due(deadline_ms: Option<u64>, now: Moment) {
    match deadline_ms {
        Some(at_ms) => {
            tokio::time::sleep(Duration::from_millis(at_ms.saturating_sub(now.since_boot_ms))).await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;

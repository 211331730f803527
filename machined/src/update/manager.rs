//! The one task that decides what becomes of an upgrade.
//!
//! It drives the state machine of the crate `update` as that one's front page says. What takes time is a job beside it,
//! so that requests and deadlines never wait; what is written to BOOTSTATE is written between two steps.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bootstate::{Record, Slot};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use update::{Action, Boot, Event, Failure, Phase, Source, Task, Upgrade, Work};

use super::{
    fetch::Meter,
    handle::{Command, Inbox, Refused},
    node::Node,
    source::ClientSource,
    store::StoreError,
    view::{Automation, Progress, View},
};
use crate::error_chain::error_chain;

/// Between two looks at the progress of a job.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);
/// Between two looks at what is healthy, while a staged release waits for a reboot.
const HEALTH_PAUSE: Duration = Duration::from_secs(60);
/// By then PID 1 has noted in BOOTSTATE that this boot is alive.
const ALIVE: Duration = Duration::from_secs(90);
/// Between attempts at what only time can mend.
pub(super) const AGAIN: Duration = Duration::from_secs(10);
/// Answers of jobs that wait; there is one at a time, and one that was stopped.
const ANSWERS_MAX: usize = 4;

/// Everything the manager works with.
pub struct Parts<N> {
    /// The node.
    pub node: N,
    /// What was kept.
    pub upgrade: Upgrade,
    /// What machined finds.
    pub boot: Boot,
    /// Requests, and who watches.
    pub inbox: Inbox,
    /// Counts what a job does.
    pub meter: Meter,
    /// What the node does by itself.
    pub automation: watch::Receiver<Option<Automation>>,
}

/// The manager.
pub struct Manager<N> {
    pub(super) node: Arc<N>,
    upgrade: Upgrade,
    record: Record,
    running: Slot,
    commands: mpsc::Receiver<Command>,
    view: watch::Sender<Arc<View>>,
    pub(super) meter: Meter,
    automation: watch::Receiver<Option<Automation>>,
    /// Who has the release, of an upgrade from a client.
    pub(super) client: Option<ClientSource>,
    pub(super) job: Option<JoinHandle<()>>,
    pub(super) reboot: Option<JoinHandle<()>>,
    pub(super) answers: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
}

impl<N: Node> Manager<N> {
    /// Runs until every handle is gone.
    pub async fn run(parts: Parts<N>) {
        let Parts { node, upgrade, boot, inbox, meter, automation } = parts;
        let manager = Self {
            node: Arc::new(node),
            upgrade,
            record: boot.record.clone(),
            running: boot.running,
            commands: inbox.commands,
            view: inbox.view,
            meter,
            automation,
            client: None,
            job: None,
            reboot: None,
            answers: mpsc::channel(ANSWERS_MAX),
        };
        manager.follow(boot).await;
    }

    async fn follow(mut self, boot: Boot) {
        while let Err(error) = self.take(Event::Boot(Box::new(boot.clone()))).await {
            tracing::error!(error = error_chain(&error), "upgrades wait");
            sleep(AGAIN).await;
        }
        let mut progress = self.meter.subscribe();
        let (mut next_progress, mut next_look) = (Instant::now(), Instant::now());
        let mut alive = Some(Instant::now() + ALIVE);
        loop {
            let shown = self.publish();
            let now = self.node.now();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                Some(event) = self.answers.1.recv() => self.happen(event).await,
                () = due(self.upgrade.wake_ms(&now), now.since_boot_ms) => self.happen(Event::Tick).await,
                () = differs(&mut progress, shown, next_progress) => {
                    next_progress = Instant::now() + PROGRESS_PAUSE;
                }
                () = sleep_until(next_look), if self.is_staged() => {
                    next_look = Instant::now() + HEALTH_PAUSE;
                    self.happen(Event::Seen(self.node.healthy())).await;
                }
                () = at(alive) => {
                    alive = None;
                    self.record = self.blocking(N::record).await.unwrap_or_else(|| self.record.clone());
                }
                Ok(()) = self.automation.changed() => {}
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        let (granted, answer) = match command {
            Command::Upgrade(request, client, answer) => {
                let former = std::mem::replace(&mut self.client, client);
                let granted = self.take(Event::Request(request)).await;
                if granted.is_err() {
                    self.client = former;
                }
                (granted, answer)
            }
            Command::Rollback(author, answer) => (self.take(Event::Rollback { author }).await, answer),
            Command::Cancel(author, answer) => (self.take(Event::Cancel { author }).await, answer),
        };
        self.publish();
        // Whoever asked may have hung up; what he asked for is done all the same.
        answer.send(granted).ok();
    }

    /// An event that nobody waits for.
    async fn happen(&mut self, event: Event) {
        let verified = match &event {
            Event::Verified { task, .. } => Some(*task),
            _ => None,
        };
        let Err(error) = self.take(event).await else { return };
        let reason = error_chain(&error);
        tracing::error!(reason, "upgrades stay as they were");
        // A slot that was read back is read back again, once the state can be kept.
        if let Some(task) = verified {
            let failed = Event::Failed { task, failure: Failure::Passing, reason };
            self.take(failed).await.ok();
        }
    }

    /// Takes an event, and those that follow from it at once.
    async fn take(&mut self, event: Event) -> Result<(), Refused> {
        let mut follow = self.step(event).await?;
        while let Some(event) = follow.pop_front() {
            match self.step(event).await {
                Ok(more) => follow.extend(more),
                Err(error) => tracing::error!(error = error_chain(&error), "upgrades stay as they were"),
            }
        }
        if !self.upgrade.work().is_some_and(is_from_client) {
            self.client = None;
        }
        Ok(())
    }

    async fn step(&mut self, event: Event) -> Result<VecDeque<Event>, Refused> {
        let mut next = self.upgrade.clone();
        let actions = next.step(&self.node.now(), event).map_err(Refused::Step)?;
        let mut follow = VecDeque::new();
        for action in actions {
            follow.extend(self.perform(&next, action).await?);
        }
        self.upgrade = next;
        Ok(follow)
    }

    /// Does what the state machine says; gives what came of it, if that is known at once.
    async fn perform(&mut self, next: &Upgrade, action: Action) -> Result<Option<Event>, Refused> {
        match action {
            Action::Persist => self.save(next).await.map_err(Refused::Store)?,
            Action::Note => {
                if let Err(error) = self.save(next).await {
                    tracing::error!(error = error_chain(&error), "the state of upgrades is not kept");
                }
            }
            Action::Stop => self.stop(),
            Action::Resolve { task, request } => self.resolve(task, *request),
            Action::Fetch { task, source, target } => self.fetch(task, source, *target),
            Action::Verify { task, target } => {
                self.verify(task, *target, next.work().is_some_and(update::Work::is_automatic));
            }
            Action::StartGate { task, deadline_ms, before } => self.judge(task, deadline_ms, before),
            Action::BeginTrial { task, release } => {
                return Ok(Some(self.record(task, move |node| node.begin_trial(release)).await));
            }
            Action::EndTrial { task, slot } => {
                return Ok(Some(self.record(task, move |node| node.end_trial(slot)).await));
            }
            Action::Confirm { task, slot } => {
                let recorded = self.record(task, move |node| node.confirm(slot)).await;
                if matches!(recorded, Event::Recorded { .. }) {
                    self.node.confirmed(slot).await;
                }
                return Ok(Some(recorded));
            }
            Action::RaiseFloor(floor) => {
                // It comes again.
                self.record(update::Task::default(), move |node| node.raise_floor(floor)).await;
            }
            // A release that is not healthy is left at once.
            Action::Reboot => self.reboot(next.work().is_some_and(|work| is_rebooting(&work.phase))),
        }
        Ok(None)
    }

    async fn save(&self, upgrade: &Upgrade) -> Result<(), StoreError> {
        let upgrade = upgrade.clone();
        self.blocking(move |node| node.save(&upgrade)).await
    }

    async fn record(
        &mut self,
        task: Task,
        write: impl FnOnce(&N) -> Result<Record, String> + Send + 'static,
    ) -> Event {
        match self.blocking(write).await {
            Ok(record) => {
                self.record = record.clone();
                Event::Recorded { task, record: Box::new(record) }
            }
            Err(reason) => {
                tracing::error!(reason, "BOOTSTATE is not written");
                Event::RecordFailed { task, reason }
            }
        }
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&N) -> T + Send + 'static) -> T {
        let node = Arc::clone(&self.node);
        match tokio::task::spawn_blocking(move || work(&node)).await {
            Ok(result) => result,
            // It panics in a process that is ending.
            Err(_) => std::future::pending().await,
        }
    }

    fn is_staged(&self) -> bool {
        self.upgrade.work().is_some_and(|work| matches!(work.phase, Phase::Staged { .. }))
    }

    /// Shows readers what there is; gives the progress that it shows.
    fn publish(&self) -> Progress {
        let progress = self.meter.read();
        let view = View {
            upgrade: self.upgrade.clone(),
            record: self.record.clone(),
            running: self.running,
            progress,
            automation: self.automation.borrow().clone(),
        };
        self.view.send_if_modified(|shown| {
            let is_news = **shown != view;
            if is_news {
                *shown = Arc::new(view);
            }
            is_news
        });
        progress
    }
}

fn is_rebooting(phase: &Phase) -> bool {
    matches!(phase, Phase::Rebooting { .. })
}

fn is_from_client(work: &Work) -> bool {
    work.request().is_some_and(|request| request.source == Source::Client)
}

/// Waits for a deadline in milliseconds since boot. Late is harmless, early is asked for again.
async fn due(deadline_ms: Option<u64>, now_ms: u64) {
    match deadline_ms {
        Some(at_ms) => sleep(Duration::from_millis(at_ms.saturating_sub(now_ms))).await,
        None => std::future::pending().await,
    }
}

async fn at(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits until there is another progress than what is shown, and not sooner than then.
async fn differs(progress: &mut watch::Receiver<Progress>, shown: Progress, not_before: Instant) {
    if progress.wait_for(|progress| *progress != shown).await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep_until(not_before).await;
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;

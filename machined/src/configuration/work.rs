//! What the manager does about requests, deadlines and ended jobs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use config::plan::{Plan, plan};
use generation::{Action, Apply, Event, Generation, Index};
use tokio::sync::oneshot;

use super::{
    executor::Steps,
    gate,
    manager::{Accepted, Change, Command, Job, Keeper, Manager, News, Refused, View},
    report::{self, Progress, Reporter},
    running::{self, Running},
    services::Services,
    steps::steps,
    store::{GenerationStore, StoreError},
};
use crate::{error_chain::error_chain, health::Status, probes};

/// For the conditions of a change: a kubelet that restarts on a slow disk needs half of it.
const GATE: Duration = Duration::from_secs(90);
/// What a gate leaves of a trial's time, so that its own reason is the one that is kept.
const GATE_MARGIN: Duration = Duration::from_secs(2);
/// Conditions that say nothing of how a change goes: its own, whether somebody else can be reached, and releases.
const ASIDE: [&str; 4] = ["configuration", "logging", crate::logs::CONDITION, "update"];

impl<S: Services, K: Keeper> Manager<S, K> {
    pub(super) async fn obey(&mut self, command: Command) {
        // Whoever asked may have hung up; what he asked for is done all the same.
        match command {
            Command::Apply(change, answer) => drop(answer.send(self.apply(*change).await)),
            Command::Rollback { base, author, answer } => {
                drop(answer.send(self.roll_back(base, author).await));
            }
            Command::Confirm(generation, answer) => {
                drop(answer.send(self.happen_or(Event::Confirm { generation }).await));
            }
            Command::SlotConfirmed(slot, answer) => {
                drop(answer.send(self.happen_or(Event::SlotConfirmed { slot }).await));
            }
            Command::Reset { wipe_data, answer } => {
                let noted = self.note_reset(wipe_data).await;
                let is_noted = noted.is_ok();
                drop(answer.send(noted));
                if is_noted {
                    self.reboot().await;
                }
            }
        }
    }

    async fn apply(&mut self, change: Change) -> Result<Accepted, Refused> {
        let Change { base, mode, timeout_s, author, created_s, accept_unreachable, text, config } = change;
        let forth = plan(&self.running.config, &config);
        let back = plan(&config, &self.running.config);
        let apply = Apply {
            mode,
            base,
            needs_reboot: forth.needs_reboot(),
            undo_needs_reboot: back.needs_reboot(),
            needs_confirmation: forth.needs_confirmation(),
            timeout_s,
            author,
            created_s,
        };
        self.check_open()?;
        let (mut next, generation) = (self.index.clone(), self.index.next());
        let actions = next.step(&self.keeper.now(), Event::Apply(apply)).map_err(Refused::Step)?;
        self.blocking(move |store, _| store.save(generation, &text)).await.map_err(Refused::Store)?;
        let (reporter, reports) = Reporter::new(generation);
        self.reporter = Some(reporter);
        self.accepted_unreachable = accept_unreachable.then_some(generation);
        if let Err(error) = self.perform(next, actions).await {
            self.reporter = None;
            return Err(Refused::Store(error));
        }
        Ok(Accepted { generation, reports })
    }

    async fn roll_back(&mut self, base: Generation, author: String) -> Result<Accepted, Refused> {
        let generation = self.index.trial().map_or(self.index.confirmed(), |trial| trial.generation);
        let (reporter, reports) = Reporter::new(generation);
        self.happen_or(Event::Rollback { base, author }).await?;
        self.reporter = Some(reporter);
        Ok(Accepted { generation, reports })
    }

    async fn note_reset(&mut self, wipe_data: bool) -> Result<(), Refused> {
        self.check_open()?;
        self.blocking(move |_, keeper| keeper.note_reset(wipe_data)).await.map_err(Refused::Reset)?;
        self.resetting = true;
        Ok(())
    }

    fn check_open(&self) -> Result<(), Refused> {
        if self.resetting { Err(Refused::Resetting) } else { Ok(()) }
    }

    /// After a start: finishes what an earlier life of machined owes, and watches the gate of a trial.
    pub(super) async fn watch_start(&mut self) {
        let executor = Arc::clone(&self.executor);
        let resume = async move { executor.resume().await.map_err(|error| error_chain(&error)) };
        let Some(trial) = self.index.trial().filter(|trial| trial.generation == self.index.running()) else {
            let generation = self.running.generation;
            self.job = Some(Job { generation, task: tokio::spawn(resume), executed: None });
            return;
        };
        if trial.generation != self.running.generation {
            let reason = self.running.damage.clone().unwrap_or_default();
            self.happen(Event::GateFailed { generation: trial.generation, reason }).await;
            return;
        }
        let (index, confirmed) = (self.index.clone(), self.index.confirmed());
        let former = self.blocking(move |store, _| running::load_best(store, &index, confirmed)).await;
        // Without the former one nobody knows what changed: then everything must be well.
        let names = former.map_or_else(
            |_| crate::health::CONDITIONS.into_iter().filter(|name| !ASIDE.contains(name)).collect(),
            |former| steps(&plan(&former.config, &self.running.config), &self.running.config).conditions,
        );
        let (conditions, within) = (self.health.subscribe(), self.gate_time(&self.index));
        let task = tokio::spawn(async move {
            resume.await?;
            gate::pass(conditions, &names, within).await
        });
        self.job = Some(Job { generation: self.running.generation, task, executed: None });
    }

    /// Takes note of what became of a run.
    pub(super) async fn hear(&mut self, news: News) {
        let (generation, result) = match (news, &mut self.job) {
            (News::Ended(generation, result), _) => (generation, result),
            (News::Executed, Some(job)) => {
                job.executed = None;
                return;
            }
            (News::Executed, None) => return,
        };
        self.job = None;
        let on_trial = self.index.trial().is_some_and(|trial| trial.generation == generation);
        match result {
            Ok(()) => self.happen(Event::GatePassed { generation }).await,
            Err(reason) if on_trial => self.happen(Event::GateFailed { generation, reason }).await,
            Err(reason) => {
                tracing::error!(
                    generation = generation.0,
                    reason,
                    "the configuration is not wholly in force"
                );
            }
        }
    }

    /// An event that nobody waits for. When it cannot be kept, it happens again at the deadline or the next boot.
    pub(super) async fn happen(&mut self, event: Event) {
        if let Err(error) = self.happen_or(event).await {
            tracing::error!(error = error_chain(&error), "generations stay as they were");
        }
    }

    async fn happen_or(&mut self, event: Event) -> Result<(), Refused> {
        let mut next = self.index.clone();
        let actions = next.step(&self.keeper.now(), event).map_err(Refused::Step)?;
        if next.confirmed() != self.index.confirmed() && next.confirmed() == self.running.generation {
            let config = Arc::clone(&self.running.config);
            self.blocking(move |_, keeper| keeper.keep_trust(&config)).await.map_err(Refused::Trust)?;
        }
        self.perform(next, actions).await.map_err(Refused::Store)
    }

    async fn perform(&mut self, next: Index, actions: Vec<Action>) -> Result<(), StoreError> {
        for action in actions {
            match action {
                Action::Persist => self.save(&next).await?,
                Action::Record => {
                    if let Err(error) = self.save(&next).await {
                        tracing::error!(error = error_chain(&error), "the index of generations is not kept");
                    }
                }
                Action::Run(generation) => self.bring_to(&next, generation).await,
                Action::Reboot => self.reboot().await,
                Action::Remove(generation) => {
                    if let Err(error) = self.blocking(move |store, _| store.remove(generation)).await {
                        tracing::warn!(error = error_chain(&error), "an old generation stays");
                    }
                }
            }
        }
        self.index = next;
        Ok(())
    }

    async fn save(&self, index: &Index) -> Result<(), StoreError> {
        let index = index.clone();
        self.blocking(move |store, _| store.save_index(&index)).await
    }

    /// Begins to bring the node to a generation. What is under way towards another one is dropped.
    async fn bring_to(&mut self, next: &Index, generation: Generation) {
        if let Some(job) = self.job.take() {
            job.task.abort();
        }
        let on_trial = next.trial().is_some_and(|trial| trial.generation == generation);
        let index = next.clone();
        let loaded = self
            .blocking(move |store, _| match on_trial {
                // No other one can stand in for it.
                true => running::load(store, generation),
                false => running::load_best(store, &index, generation),
            })
            .await;
        self.job = Some(match loaded {
            Ok(running) => self.switch(next, Arc::new(running), on_trial),
            Err(error) => {
                let task = tokio::spawn(async move { Err(error_chain(&error)) });
                Job { generation, task, executed: None }
            }
        });
    }

    fn switch(&mut self, next: &Index, new: Arc<Running>, on_trial: bool) -> Job {
        let plan: Plan = plan(&self.running.config, &new.config);
        let accept_unreachable = self.accepted_unreachable == Some(new.generation);
        let steps = steps(&plan, &new.config);
        let gate = on_trial.then(|| (self.can_be_lost(&steps), self.gate_time(next)));
        let reporter = self.reporter.clone();
        let (executor, conditions) = (Arc::clone(&self.executor), self.health.subscribe());
        let (generation, config) = (new.generation, Arc::clone(&new.config));
        let former = std::mem::replace(&mut self.running, new);
        let (obeys, executed) = oneshot::channel();
        let task = tokio::spawn(async move {
            let progress = |line| {
                if let Some(reporter) = &reporter {
                    reporter.progress(line);
                }
            };
            let executed = executor.execute(&steps, &config, progress).await;
            executed.map_err(|error| error_chain(&error))?;
            obeys.send(()).ok();
            let Some((names, within)) = gate else { return Ok(()) };
            if !names.is_empty() {
                let names: Vec<&str> = names.iter().copied().collect();
                progress(format!("waiting for {} to be healthy", names.join(", ")));
            }
            gate::pass(conditions, &names, within).await?;
            if accept_unreachable { Ok(()) } else { probes::run(&former.config, &config).await }
        });
        Job { generation, task, executed: Some(executed) }
    }

    /// The conditions that the change can make worse: what was broken before need not be mended by it.
    fn can_be_lost(&self, steps: &Steps) -> BTreeSet<&'static str> {
        let conditions = self.health.subscribe();
        let conditions = conditions.borrow();
        let is_broken = |name: &&str| {
            conditions.get(*name).is_some_and(|condition| condition.status == Status::Unhealthy)
        };
        steps.conditions.iter().filter(|name| !is_broken(name)).copied().collect()
    }

    fn gate_time(&self, next: &Index) -> Duration {
        let now_ms = self.keeper.now().since_boot_ms;
        let left_ms = next.deadline_ms().map_or(u64::MAX, |deadline_ms| deadline_ms.saturating_sub(now_ms));
        Duration::from_millis(left_ms).saturating_sub(GATE_MARGIN).min(GATE)
    }

    pub(super) async fn reboot(&self) {
        if let Err(error) = self.executor.services().reboot().await {
            tracing::error!(error = error_chain(&error), "the node does not reboot");
        }
    }

    /// Shows readers what there is.
    pub(super) fn publish(&self) {
        let (status, reason, message) = report::condition(&self.index, &self.running, &self.keeper.now());
        self.health.set("configuration", status, reason, message);
        self.resources.replace_all(report::resources(&self.index, self.running.generation));
        self.view.send_replace(View { index: self.index.clone(), running: Arc::clone(&self.running) });
    }

    /// Tells who made a change how it ended, once it has.
    pub(super) fn conclude(&mut self) {
        let Some(reporter) = self.reporter.take() else { return };
        let progress = match &self.job {
            Some(Job { executed: Some(_), .. }) => Progress::Begun,
            Some(Job { executed: None, .. }) => Progress::Obeyed,
            None => Progress::Ended,
        };
        match report::outcome(&self.index, reporter.generation(), &self.keeper.now(), progress) {
            Some(outcome) => reporter.end(outcome),
            None => self.reporter = Some(reporter),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&GenerationStore, &K) -> T + Send + 'static,
    ) -> T {
        let (store, keeper) = (Arc::clone(&self.store), Arc::clone(&self.keeper));
        match tokio::task::spawn_blocking(move || work(&store, &keeper)).await {
            Ok(result) => result,
            // It panics in a process that is ending.
            Err(_) => std::future::pending().await,
        }
    }
}

//! The simulated node: an executor that does one thing at a time, and may end between any two.

mod outside;

use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
};

use bootstate::{Record, Slot, SlotState};

use super::{
    disk::{Content, Disk, Number, number, release},
    random::Random,
};
use crate::{
    Action, Boot, BootId, Event, Failure, Installed, Moment, Phase, Policy, Refusal, Request, Target, Task,
    Upgrade, fixture,
};

/// When PID 1 says in BOOTSTATE that the slot came alive; earlier than the real one, since power cuts are more frequent.
const ALIVE_MS: u64 = 40_000;

/// How a release behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Healthy,
    /// Its gate finds something wrong.
    Unhealthy,
    /// Its gate never ends by itself.
    GateHangs,
    /// Its kernel never gets to machined; a watchdog ends it.
    KernelHangs,
}

/// How much goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Stormy,
    Calm,
}

/// What machined is busy with outside of the state machine.
#[derive(Clone, Debug)]
enum Job {
    Resolve { task: Task, request: Box<Request> },
    Fetch { task: Task, target: Box<Target>, written: u8 },
    Verify { task: Task, target: Box<Target> },
    Gate { task: Task },
}

/// machined's memory.
#[derive(Default)]
struct Life {
    upgrade: Rc<Upgrade>,
    /// The state as it is once the actions are done, and those.
    step: Option<(Rc<Upgrade>, VecDeque<Action>)>,
    job: Option<Job>,
    /// The task whose answer is the step.
    verifying: Option<Task>,
    /// What was read back, and not written since.
    verified: Option<Target>,
}

/// What must be justified.
#[derive(Default)]
pub(super) struct History {
    pub(super) gate_passed: BTreeSet<Number>,
    /// Versions whose verdict is known, so that they may not be tried without leave.
    failed: BTreeSet<Number>,
    pub(super) trials: u64,
    pub(super) confirmations: u64,
    pub(super) returns: u64,
    pub(super) steps: u64,
}

pub(super) struct Node {
    pub(super) disk: Disk,
    pub(super) behaviour: Vec<Behaviour>,
    pub(super) history: History,
    pub(super) weather: Weather,
    policy: Policy,
    random: Random,
    life: Life,
    running: Slot,
    boots: u64,
    since_boot_ms: u64,
    alive: bool,
    now_s: u64,
}

impl Node {
    pub(super) fn new(mut random: Random, releases: usize) -> Self {
        let mut behaviour = vec![Behaviour::Healthy];
        behaviour.extend((1..releases).map(|_| match random.below(8) {
            0 => Behaviour::Unhealthy,
            1 => Behaviour::GateHangs,
            2 => Behaviour::KernelHangs,
            _ => Behaviour::Healthy,
        }));
        let policy = outside::policy(&mut random);
        let mut history = History::default();
        history.gate_passed.insert(0);
        let mut node = Self {
            disk: Disk::new(),
            behaviour,
            history,
            weather: Weather::Stormy,
            policy,
            random,
            life: Life::default(),
            running: Slot::A,
            boots: 0,
            since_boot_ms: 0,
            alive: false,
            now_s: fixture::START_S,
        };
        node.boot();
        node
    }

    pub(super) fn upgrade(&self) -> &Upgrade {
        &self.life.upgrade
    }

    pub(super) fn runs(&self) -> Number {
        self.disk.slots.get(self.running).root.unwrap()
    }

    /// Whether nothing happens but by time or people.
    pub(super) fn rests(&self) -> bool {
        let phase = self.upgrade().work().map(|work| &work.phase);
        let done = matches!(phase, None | Some(Phase::Staged { .. } | Phase::BackingOff));
        self.life.step.is_none() && self.life.job.is_none() && done
    }

    /// One thing happens.
    pub(super) fn advance(&mut self) {
        self.history.steps += 1;
        self.pass_time();
        if self.since_boot_ms > ALIVE_MS && !self.alive {
            self.alive = true;
            let running = self.running;
            let marked = self.disk.change(None, |record| {
                record.mark_alive(running);
                true
            });
            assert!(marked.is_ok());
        }
        if self.weather == Weather::Stormy {
            match self.random.below(60) {
                0 => return self.boot(),
                1 => return self.start_machined(),
                2 | 3 => return self.ask(),
                _ => {}
            }
        }
        let idle = self.random.below(3);
        match (&mut self.life.step, &self.life.job) {
            (Some(_), _) => self.act(),
            (None, Some(_)) if idle > 0 => self.work(),
            (None, _) => self.wait(),
        }
        self.check();
    }

    fn pass_time(&mut self) {
        let milliseconds = 1 + self.random.below(2_000);
        self.since_boot_ms += milliseconds;
        self.now_s += u64::from(self.random.below(1000) < milliseconds) * 2;
    }

    fn now(&self) -> Moment {
        let boot = BootId(self.boots.to_string());
        Moment { boot, since_boot_ms: self.since_boot_ms, now_s: self.now_s }
    }

    /// The power comes back, or never went in order to reboot.
    fn boot(&mut self) {
        loop {
            self.boots += 1;
            self.since_boot_ms = 20_000;
            self.alive = false;
            let plan = self.disk.select();
            self.running = plan.slot;
            let Content { uki, root } = *self.disk.slots.get(plan.slot);
            assert_eq!(uki, root, "a half-written slot was started");
            match self.behaviour[usize::from(uki.unwrap())] {
                Behaviour::KernelHangs => self.now_s += 120,
                Behaviour::Healthy | Behaviour::Unhealthy | Behaviour::GateHangs => break,
            }
        }
        self.start_machined();
    }

    fn start_machined(&mut self) {
        let state = self.disk.state.as_deref().map(|state| Upgrade::decode(state).expect("it is whole"));
        self.life = Life { upgrade: Rc::new(state.unwrap_or_default()), ..Life::default() };
        let record = self.disk.record();
        let boot = Boot { running: self.running, record, installed: self.installed(), gate_s: 300 };
        self.step(Event::Boot(Box::new(boot))).expect("a boot is never refused");
    }

    fn installed(&self) -> Installed {
        fixture::installed(self.runs())
    }

    fn step(&mut self, event: Event) -> Result<(), Refusal> {
        let mut upgrade = (*self.life.upgrade).clone();
        self.life.verifying = match &event {
            Event::Verified { task, .. } => Some(*task),
            _ => None,
        };
        match upgrade.step(&self.now(), event) {
            Ok(actions) => {
                self.life.step = Some((Rc::new(upgrade), actions.into()));
                Ok(())
            }
            Err(refusal) => {
                let mut followed = (*self.life.upgrade).clone();
                followed.follow_clock(&self.now());
                assert_eq!(upgrade, followed, "a refusal changes nothing");
                Err(refusal)
            }
        }
    }

    /// What nobody but the executor does.
    fn act(&mut self) {
        let Some((upgrade, mut actions)) = self.life.step.take() else { return };
        let Some(action) = actions.pop_front() else {
            self.life.upgrade = upgrade;
            return;
        };
        self.life.step = Some((upgrade.clone(), actions));
        let fails = self.weather == Weather::Stormy && self.random.below(40) == 0;
        match action {
            Action::Persist if fails => self.forget_step(),
            Action::Note if fails => {}
            Action::Persist | Action::Note => self.persist(&upgrade),
            Action::Stop => self.life.job = None,
            Action::Resolve { task, request } => self.life.job = Some(Job::Resolve { task, request }),
            Action::Fetch { task, target, .. } => {
                assert_ne!(target.slot, self.running, "the running slot is never written");
                let armed = matches!(
                    self.disk.record().slot(target.slot).state(),
                    SlotState::Trial { tries_left: 1.. }
                );
                assert!(!armed, "a slot on trial is never written");
                self.life.job = Some(Job::Fetch { task, target, written: 0 });
            }
            Action::Verify { task, target } => self.life.job = Some(Job::Verify { task, target }),
            Action::BeginTrial { task, release } => self.begin_trial(task, release, &upgrade),
            Action::EndTrial { task, slot } => self.record(task, |record| {
                let _ = record.fail(slot);
                true
            }),
            Action::Confirm { task, slot } => {
                assert_eq!(slot, self.running);
                assert!(self.history.gate_passed.contains(&self.runs()), "confirmed without its gate");
                self.history.confirmations += 1;
                self.history.failed.remove(&self.runs());
                self.record(task, |record| record.confirm(slot).is_ok());
            }
            Action::RaiseFloor(floor) => {
                let raised = self.disk.change(None, |record| record.raise_rollback_floor(floor).is_ok());
                assert!(raised.is_ok(), "the floor {floor} shuts a slot out");
            }
            Action::StartGate { task, deadline_ms, .. } => {
                assert!(deadline_ms <= crate::GATE_LATEST_MS);
                self.life.job = Some(Job::Gate { task });
            }
            Action::Reboot => self.boot(),
        }
    }

    /// Whoever asked is told, and so is the state machine if it was its executor.
    fn forget_step(&mut self) {
        self.life.step = None;
        if let Some(task) = self.life.verifying.take() {
            let reason = "the state cannot be written".to_owned();
            self.step(Event::Failed { task, failure: Failure::Passing, reason }).unwrap();
        }
    }

    fn persist(&mut self, upgrade: &Upgrade) {
        self.disk.state = Some(upgrade.encode().unwrap());
        self.history.failed.extend(upgrade.failed().iter().map(|failed| number(&failed.version)));
    }

    fn begin_trial(&mut self, task: Task, release: bootstate::Release, upgrade: &Upgrade) {
        let target = self.life.verified.take().expect("only what was read back goes on trial");
        assert_eq!(target.release(), release);
        let work = upgrade.work().unwrap();
        let number = number(&release.version);
        let returning = upgrade.is_returning();
        let request = work.request();
        let leave = returning || request.is_none_or(|request| request.allow.failed);
        assert!(leave || !self.history.failed.contains(&number), "{number} was tried again without leave");
        assert!(returning || target.version.precedence(&upgrade.floor()).is_ge());
        let deferred_until_s = upgrade.deferred_until_s(&release.version).filter(|_| work.is_automatic());
        assert!(deferred_until_s.is_none_or(|until_s| until_s <= self.now_s), "{number} was tried too soon");
        self.history.trials += 1;
        self.history.returns += u64::from(returning);
        let running = self.running;
        self.record(task, |record| record.begin_trial(running, release).is_ok());
    }

    /// Writes BOOTSTATE; the power may fail at it, and so may the disk.
    fn record(&mut self, task: Task, change: impl FnOnce(&mut Record) -> bool) {
        let stormy = self.weather == Weather::Stormy;
        let trouble = if stormy { self.random.below(30) } else { u64::MAX };
        let writes = (trouble < 3).then_some(u32::from(trouble == 2));
        let result = self.disk.change(writes, change);
        if trouble == 0 {
            return self.boot();
        }
        // The answer comes after the rest of the actions.
        self.finish_step();
        let event = match result {
            Ok(record) => Event::Recorded { task, record: Box::new(record) },
            Err(()) => Event::RecordFailed { task, reason: "the disk refuses".to_owned() },
        };
        self.step(event).expect("answers are never refused");
    }

    fn finish_step(&mut self) {
        while self.life.step.as_ref().is_some_and(|(_, actions)| !actions.is_empty()) {
            self.act();
        }
        if let Some((upgrade, _)) = self.life.step.take() {
            self.life.upgrade = upgrade;
        }
    }

    /// What holds at every moment.
    fn check(&mut self) {
        if !std::mem::take(&mut self.disk.changed) {
            return;
        }
        let record = self.disk.record();
        let bootable = Slot::ALL.into_iter().any(|slot| {
            let Content { uki, root } = *self.disk.slots.get(slot);
            let Some(number) = uki.filter(|_| uki == root) else { return false };
            let proven = match record.slot(slot).state() {
                SlotState::Confirmed => self.history.gate_passed.contains(&number),
                // The selector turned to it when the confirmed one did not come alive.
                SlotState::Failed => record.active() == slot,
                SlotState::Empty | SlotState::Trial { .. } => false,
            };
            proven && record.slot(slot).release() == Some(&release(number, slot))
        });
        assert!(bootable, "no confirmed slot boots");
        for slot in Slot::ALL {
            if let Some(release) = record.slot(slot).release() {
                assert!(release.version.precedence(&record.rollback_floor()).is_ge());
            }
        }
    }
}

//! What goes on beside the state machine: downloads, gates, the policy, people.

use super::{Behaviour, Job, Node, Number, Weather};
use crate::{
    Allow, Before, Decision, Ending, Event, Failure, Origin, Phase, Policy, Request, Situation, Source,
    Target, Task, Weekdays, Window, fixture, next,
    simulation::{
        disk::{number, release, version},
        random::Random,
    },
};

impl Node {
    /// What goes on beside the state machine.
    pub(super) fn work(&mut self) {
        let Some(mut job) = self.life.job.take() else { return };
        let stormy = self.weather == Weather::Stormy;
        let fails = stormy && self.random.below(6) == 0;
        let event = match &mut job {
            Job::Resolve { task, .. } | Job::Fetch { task, .. } if fails => self.failed(*task),
            Job::Resolve { task, request } => {
                let newest = (self.behaviour.len() - 1) as Number;
                let known = if request.version.is_unknown() { newest } else { number(&request.version) };
                Event::Resolved { task: *task, manifest: Box::new(fixture::manifest(known)) }
            }
            Job::Fetch { task, target, written } => {
                self.life.verified = None;
                self.write(target, *written);
                *written += 1;
                if *written < 3 {
                    self.life.job = Some(job);
                    return;
                }
                Event::Fetched { task: *task }
            }
            Job::Verify { task, target } => self.verify(*task, target),
            Job::Gate { task } => match self.behaviour[usize::from(self.runs())] {
                Behaviour::Healthy if !fails => {
                    self.history.gate_passed.insert(self.disk.slots.get(self.running).root.unwrap());
                    Event::GatePassed { task: *task }
                }
                Behaviour::GateHangs => {
                    self.since_boot_ms += 60_000;
                    self.life.job = Some(job);
                    return self.wait();
                }
                Behaviour::Healthy | Behaviour::Unhealthy | Behaviour::KernelHangs => {
                    Event::GateFailed { task: *task, reason: "pods do not run".to_owned() }
                }
            },
        };
        self.step(event).expect("answers are never refused");
    }

    fn failed(&mut self, task: Task) -> Event {
        let failure = match self.random.below(8) {
            0 => Failure::Final,
            1 => Failure::Progressed,
            _ => Failure::Passing,
        };
        Event::Failed { task, failure, reason: "the server is gone".to_owned() }
    }

    /// One part of the slot: its UKI's first block goes first and comes last.
    fn write(&mut self, target: &Target, part: u8) {
        self.disk.changed = true;
        let content = self.disk.slots.get_mut(target.slot);
        let number = Some(number(&target.version));
        match part {
            0 => content.uki = None,
            1 => content.root = number,
            _ => content.uki = number,
        }
    }

    fn verify(&mut self, task: Task, target: &Target) -> Event {
        let content = *self.disk.slots.get(target.slot);
        let release_number = number(&target.version);
        assert_eq!(release(release_number, target.slot), target.release());
        let whole = content.uki == Some(release_number)
            && (content.root == Some(release_number) || target.manifest.is_none());
        if !whole {
            let reason = "it reads back differently".to_owned();
            return Event::Failed { task, failure: Failure::Passing, reason };
        }
        self.life.verified = Some(target.clone());
        let busy = self.random.below(4) == 0;
        Event::Verified { task, before: Before::default(), busy }
    }

    /// Nothing is to be done: time passes, and the policy is asked.
    pub(super) fn wait(&mut self) {
        let now = self.now();
        let backs_off = self.life.upgrade.work().is_some_and(|work| work.phase == Phase::BackingOff);
        if backs_off && self.random.below(2) == 0 {
            return self.follow_channel();
        }
        if let Some(wake_ms) = self.life.upgrade.wake_ms(&now) {
            let ahead_ms = wake_ms.saturating_sub(now.since_boot_ms);
            self.since_boot_ms += ahead_ms;
            self.now_s += ahead_ms.div_ceil(1000);
            return self.step(Event::Tick).expect("time is never refused");
        }
        if self.life.upgrade.work().is_some() || self.life.job.is_some() {
            return;
        }
        self.follow_channel();
    }

    fn follow_channel(&mut self) {
        let installed = self.installed();
        let situation = Situation { now_s: self.now_s, machine_id: "node", busy: false };
        let channel = fixture::channel(self.behaviour.len() as u8);
        match next(&self.policy, &channel, &installed, &self.life.upgrade, &situation) {
            Decision::Nothing(_) => self.now_s += 600,
            Decision::Wait { until_s, .. } => self.now_s = until_s,
            Decision::Now { version, until_s } => {
                let request = Request {
                    origin: Origin::Automatic { until_s },
                    source: Source::Configured,
                    version,
                    ending: Ending::Reboot,
                    allow: Allow::default(),
                };
                self.step(Event::Request(Box::new(request))).expect("the policy asks for what is suitable");
            }
        }
    }

    /// People ask for something, sensible or not.
    pub(super) fn ask(&mut self) {
        if self.life.step.is_some() {
            return;
        }
        let author = "admin".to_owned();
        let event = match self.random.below(8) {
            0 | 1 => Event::Cancel { author },
            2 | 3 => Event::Rollback { author },
            _ => Event::Request(Box::new(request(&mut self.random, self.behaviour.len() as u64))),
        };
        if let Event::Request(request) = &event
            && request.allow.failed
        {
            self.history.failed.clear();
        }
        let _ = self.step(event);
    }
}

pub(super) fn policy(random: &mut Random) -> Policy {
    let windows = match random.below(3) {
        0 => vec![Window { days: Weekdays::ALL, start_s: 7200, duration_s: 4 * 3600 }],
        _ => Vec::new(),
    };
    Policy { windows, random_delay_s: 1800 }
}

fn request(random: &mut Random, releases: u64) -> Request {
    let version = if random.below(3) == 0 {
        bootstate::ReleaseVersion::UNKNOWN
    } else {
        version(random.below(releases) as Number)
    };
    let ending = match random.below(6) {
        0 => Ending::Write,
        1 => Ending::Stage,
        _ => Ending::Reboot,
    };
    let source =
        if random.below(2) == 0 { Source::Client } else { Source::Url("https://example.org".into()) };
    let allow = Allow { downgrade: random.below(2) == 0, failed: random.below(4) == 0, ..Allow::default() };
    Request { origin: Origin::Admin { author: "admin".into() }, source, version, ending, allow }
}

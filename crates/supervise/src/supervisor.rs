//! The table of services, stepped by events.

use control::ServiceState;

use crate::backoff::Random;
use crate::exit::ExitStatus;
use crate::service::{Context, Service, View};
use crate::spec::{KillScope, Spec, TableError, validate};

/// A gap between two steps that can only mean that the supervisor itself stood still (a paused machine, a clock
/// that jumped). Its caller steps at least every ten seconds.
const STALL_MS: u64 = 30_000;

/// A service of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub(crate) usize);

/// Process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(pub u32);

/// One attempt to make a process; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub(crate) u64);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Run the service and keep it running; clears a spent budget.
    Start(ServiceId),
    /// Stop the service and leave it stopped.
    Stop(ServiceId),
    /// Stop the service, then start it; starts one that is down.
    Restart(ServiceId),
    /// [`Action::Spawn`] made a process.
    Started {
        /// Of the action.
        token: Token,
        /// The process.
        pid: Pid,
    },
    /// [`Action::Spawn`] made none.
    SpawnFailed {
        /// Of the action.
        token: Token,
    },
    /// The process says that its service is ready. Other processes than main ones are ignored.
    Ready {
        /// Who says so.
        pid: Pid,
    },
    /// The process gives a sign of life.
    KeepAlive {
        /// Who gives it.
        pid: Pid,
    },
    /// A process was reaped: a main process, or any other one, which is ignored.
    Exited {
        /// Which.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
    },
    /// Time passed; due at [`Supervisor::deadline_ms`], and harmless at any time.
    Timer,
    /// The machine goes down: nothing is started any more. Running services are stopped one by one with
    /// [`Event::Stop`].
    Shutdown,
}

/// What the caller must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a process and answer with [`Event::Started`] or [`Event::SpawnFailed`].
    Spawn {
        /// Of which service.
        service: ServiceId,
        /// To be named in the answer.
        token: Token,
    },
    /// Signal the main process or its whole cgroup.
    Kill {
        /// Which service.
        service: ServiceId,
        /// Its main process; already reaped when the scope is the group and the process has ended.
        pid: Pid,
        /// The signal.
        signal: Signal,
        /// Whom it reaches.
        scope: KillScope,
    },
    /// The state changed.
    StateChanged {
        /// Of which service.
        service: ServiceId,
        /// To this.
        state: ServiceState,
    },
    /// An essential service spent its budget: reboot in order. Said once until it recovers.
    EssentialExhausted {
        /// Which.
        service: ServiceId,
    },
    /// The service of an earlier [`Action::EssentialExhausted`] has run for its minimum time.
    EssentialRecovered {
        /// Which.
        service: ServiceId,
    },
}

/// Signals that end services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// Supervises the services of one table.
pub struct Supervisor {
    services: Vec<Service>,
    context: Context,
}

impl Supervisor {
    /// Takes a table over; all services are stopped. `seed` feeds the jitter.
    pub fn new(specs: Vec<Spec>, seed: u64) -> Result<Self, TableError> {
        validate(&specs)?;
        let services =
            specs.into_iter().enumerate().map(|(index, spec)| Service::new(ServiceId(index), spec)).collect();
        let context = Context {
            now_ms: 0,
            random: Random::new(seed),
            next_token: 0,
            going_down: false,
            actions: Vec::new(),
        };
        Ok(Self { services, context })
    }

    /// Takes one event in. `now_ms` is of a clock that does not go back; should it do so, it counts as standing
    /// still.
    pub fn step(&mut self, now_ms: u64, event: Event) -> Vec<Action> {
        self.advance_clock(now_ms);
        self.dispatch(event);
        self.start_waiting();
        for service in &mut self.services {
            service.publish(&mut self.context);
        }
        std::mem::take(&mut self.context.actions)
    }

    /// When [`Event::Timer`] is due, if ever.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.services.iter().filter_map(Service::deadline_ms).min()
    }

    /// The services, in the order of the table.
    pub fn ids(&self) -> impl Iterator<Item = ServiceId> + use<> {
        (0..self.services.len()).map(ServiceId)
    }

    /// The service of that name.
    pub fn find(&self, name: &str) -> Option<ServiceId> {
        self.services.iter().position(|service| service.spec().name == name).map(ServiceId)
    }

    /// What the table says of it.
    pub fn spec(&self, id: ServiceId) -> Option<&Spec> {
        self.services.get(id.0).map(Service::spec)
    }

    /// Its present state. `None` for an id of another table.
    pub fn view(&self, id: ServiceId) -> Option<View> {
        self.services.get(id.0).map(Service::view)
    }

    fn advance_clock(&mut self, now_ms: u64) {
        let now_ms = now_ms.max(self.context.now_ms);
        let gap_ms = now_ms.saturating_sub(self.context.now_ms);
        self.context.now_ms = now_ms;
        if gap_ms > STALL_MS {
            self.services.iter_mut().for_each(|service| service.forgive(gap_ms));
        }
    }

    fn dispatch(&mut self, event: Event) {
        let Self { services, context } = self;
        match event {
            Event::Timer => services.iter_mut().for_each(|service| service.timer(context)),
            Event::Shutdown => {
                context.going_down = true;
                services.iter_mut().for_each(Service::shut_down);
            }
            Event::Start(id) | Event::Stop(id) | Event::Restart(id) => {
                if let Some(service) = services.get_mut(id.0) {
                    control(service, context, event);
                }
            }
            Event::Ready { pid } | Event::KeepAlive { pid } | Event::Exited { pid, .. } => {
                if let Some(service) = services.iter_mut().find(|service| service.has_pid(pid)) {
                    observe(service, context, event);
                }
            }
            Event::Started { token, .. } | Event::SpawnFailed { token } => {
                if let Some(service) = services.iter_mut().find(|service| service.is_spawning(token)) {
                    observe(service, context, event);
                }
            }
        }
    }

    fn start_waiting(&mut self) {
        let startable: Vec<usize> = (0..self.services.len()).filter(|&index| self.may_start(index)).collect();
        for index in startable {
            if let Some(service) = self.services.get_mut(index) {
                service.spawn(&mut self.context);
            }
        }
    }

    fn may_start(&self, index: usize) -> bool {
        let Some(service) = self.services.get(index) else { return false };
        service.wants_to_start()
            && service.spec().dependencies.iter().all(|name| {
                self.services.iter().any(|other| other.spec().name == *name && has_process(other.state()))
            })
    }
}

fn has_process(state: ServiceState) -> bool {
    matches!(state, ServiceState::Starting | ServiceState::Running)
}

/// What somebody wants of a service.
fn control(service: &mut Service, context: &mut Context, event: Event) {
    match event {
        Event::Start(_) if !context.going_down => service.start(),
        Event::Restart(_) if !context.going_down => service.restart(context),
        Event::Stop(_) => service.stop(context),
        Event::Start(_)
        | Event::Restart(_)
        | Event::Started { .. }
        | Event::SpawnFailed { .. }
        | Event::Ready { .. }
        | Event::KeepAlive { .. }
        | Event::Exited { .. }
        | Event::Timer
        | Event::Shutdown => {}
    }
}

/// What became of a service's process.
fn observe(service: &mut Service, context: &mut Context, event: Event) {
    match event {
        Event::Started { pid, .. } => service.started(context, pid),
        Event::SpawnFailed { .. } => service.spawn_failed(context),
        Event::Ready { .. } => service.ready(context),
        Event::KeepAlive { .. } => service.keep_alive(context),
        Event::Exited { status, .. } => service.exited(context, status),
        Event::Start(_) | Event::Stop(_) | Event::Restart(_) | Event::Timer | Event::Shutdown => {}
    }
}

//! The machine as PID 1 runs it: carries out what the supervisor decides.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;

use control::{Response, ServiceName, ServiceState, ServiceStatus};
use rustix::process::{
    PidfdFlags, Signal as OsSignal, WaitOptions, WaitStatus, kill_process, pidfd_open, pidfd_send_signal,
    wait,
};
use supervise::{
    Action, Event, ExitStatus, KillScope, Pid, ServiceId, Signal, Supervisor, TableError, Token,
};

use crate::cgroup::Cgroups;
use crate::clock::boottime_ms;
use crate::console::Console;
use crate::control_server::ControlServer;
use crate::health::BootHealth;
use crate::kmsg;
use crate::launch::{self, Helper, Parameters};
use crate::notify::NotifySocket;
use crate::output::Output;
use crate::shutdown::Shutdown;
use crate::table::{SERVICES, Service};
use crate::test_hooks::TestHooks;
use crate::watchdog::Watchdogs;

/// Children taken per wake-up, so that a flood of orphans does not keep PID 1 from its other work.
const REAPS_PER_WAKE_UP: usize = 256;

/// What a helper is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// BOOTSTATE, for [`BootHealth`].
    BootRecord,
    /// The end of a shutdown.
    Unmount,
}

/// A service beside its supervision.
pub struct Runtime {
    pub id: ServiceId,
    pub service: &'static Service,
    pub parameters: Option<Parameters>,
    pub output: Output,
    process: Option<(Pid, Option<OwnedFd>)>,
}

/// All that PID 1 holds.
pub struct Machine {
    pub supervisor: Supervisor,
    pub runtimes: Vec<Runtime>,
    pub cgroups: Cgroups,
    pub control: ControlServer,
    pub notify: NotifySocket,
    pub watchdogs: Watchdogs,
    pub console: Console,
    pub health: BootHealth,
    pub helpers: Vec<(Purpose, Helper)>,
    pub shutdown: Option<Shutdown>,
    pub hooks: TestHooks,
    exhausted: BTreeSet<ServiceId>,
}

/// Without these PID 1 cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A defect of the table; its test finds it first.
    #[error("the service table is not valid")]
    Table(#[source] TableError),
    /// A pipe for output.
    #[error("cannot make the output pipe of {service}")]
    Output {
        /// Whose.
        service: &'static str,
        #[source]
        source: io::Error,
    },
    /// The socket in /run/init.
    #[error("cannot bind the control socket")]
    Control(#[source] io::Error),
    /// The socket in /run/init.
    #[error("cannot bind the notify socket")]
    Notify(#[source] io::Error),
}

impl Machine {
    /// With every service stopped.
    pub fn new(cgroups: Cgroups, watchdogs: Watchdogs, seed: u64) -> Result<Self, MachineError> {
        let specs = SERVICES.iter().map(|service| service.spec.clone()).collect();
        let supervisor = Supervisor::new(specs, seed).map_err(MachineError::Table)?;
        let runtimes = supervisor
            .ids()
            .zip(SERVICES)
            .map(|(id, service)| Runtime::new(id, service))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            supervisor,
            runtimes,
            cgroups,
            control: ControlServer::bind().map_err(MachineError::Control)?,
            notify: NotifySocket::bind().map_err(MachineError::Notify)?,
            watchdogs,
            console: Console::default(),
            health: BootHealth::new(),
            helpers: Vec::new(),
            shutdown: None,
            hooks: TestHooks::read(),
            exhausted: BTreeSet::new(),
        })
    }

    /// Starts the services that PID 1 starts by itself.
    pub fn start(&mut self) {
        self.hooks.begin();
        for id in
            self.runtimes.iter().filter(|runtime| runtime.service.autostart).map(|r| r.id).collect::<Vec<_>>()
        {
            self.event(Event::Start(id));
        }
    }

    /// Takes an event in and carries out all that follows from it.
    pub fn event(&mut self, event: Event) {
        let mut pending = vec![event];
        while let Some(event) = pending.pop() {
            for action in self.supervisor.step(boottime_ms(), event) {
                pending.extend(self.carry_out(action));
            }
        }
    }

    /// Reaps; returns whether there may be more.
    pub fn reap(&mut self) -> bool {
        for _ in 0..REAPS_PER_WAKE_UP {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    self.reaped(Pid(pid.as_raw_nonzero().get().unsigned_abs()), exit_status(status));
                }
                Ok(None) | Err(_) => return false,
            }
        }
        true
    }

    /// Whether the service has no process and gets none.
    pub fn is_down(&self, name: &str) -> bool {
        self.supervisor
            .find(name)
            .and_then(|id| self.supervisor.view(id))
            .is_none_or(|view| matches!(view.state, ServiceState::Stopped | ServiceState::Failed))
    }

    /// Whether every essential service runs.
    pub fn is_serving(&self) -> bool {
        self.runtimes.iter().filter(|runtime| runtime.service.spec.essential).all(|runtime| {
            self.supervisor.view(runtime.id).is_some_and(|view| view.state == ServiceState::Running)
        })
    }

    /// The status of every service.
    pub fn statuses(&self) -> Vec<ServiceStatus> {
        self.runtimes.iter().filter_map(|runtime| self.status(runtime)).collect()
    }

    /// Draws the status screen anew.
    pub fn draw_console(&self) {
        self.console.draw(self.runtimes.iter().filter_map(|runtime| {
            let view = self.supervisor.view(runtime.id)?;
            Some((runtime.service.spec.name, state_name(view.state)))
        }));
    }

    fn status(&self, runtime: &Runtime) -> Option<ServiceStatus> {
        let view = self.supervisor.view(runtime.id)?;
        Some(ServiceStatus {
            name: ServiceName(runtime.service.spec.name.to_owned()),
            state: view.state,
            pid: view.pid.map(|pid| pid.0),
            restarts: view.restarts,
            last_exit: view.last_exit.map(|end| end.to_string()).unwrap_or_default(),
            since_boottime_ms: view.since_ms,
            essential: runtime.service.spec.essential,
            cgroup: runtime.service.cgroup.to_owned(),
        })
    }

    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Spawn { service, token } => return Some(self.spawn(service, token)),
            Action::Kill { service, pid, signal, scope } => self.kill(service, pid, signal, scope),
            Action::StateChanged { service, state } => self.announce(service, state),
            Action::EssentialExhausted { service } => {
                kmsg::error!("service {} is essential and does not run", self.name(service));
                self.exhausted.insert(service);
                self.health.set_exhausted(true);
            }
            Action::EssentialRecovered { service } => {
                kmsg::notice!("service {} has recovered", self.name(service));
                self.exhausted.remove(&service);
                self.health.set_exhausted(!self.exhausted.is_empty());
            }
        }
        None
    }

    fn spawn(&mut self, id: ServiceId, token: Token) -> Event {
        let Some(runtime) = self.runtimes.iter_mut().find(|runtime| runtime.id == id) else {
            return Event::SpawnFailed { token };
        };
        let service = runtime.service;
        let program = self.hooks.replacement(service.spec.name);
        let program = program.map_or_else(|| vec![service.program], <[_]>::to_vec);
        let started = runtime
            .output
            .writer()
            .and_then(|output| launch::service(service, &program, runtime.parameters.as_ref(), output));
        match started {
            Ok(pid) => {
                runtime.process = Some((pid, open_pidfd(pid)));
                Event::Started { token, pid }
            }
            Err(error) => {
                kmsg::error!("cannot start service {}: {error}", service.spec.name);
                Event::SpawnFailed { token }
            }
        }
    }

    fn kill(&self, id: ServiceId, pid: Pid, signal: Signal, scope: KillScope) {
        let Some(runtime) = self.runtimes.iter().find(|runtime| runtime.id == id) else { return };
        match scope {
            KillScope::Main => runtime.signal(pid, signal),
            KillScope::Group => {
                if let Err(error) = self.cgroups.kill(runtime.service.cgroup) {
                    kmsg::error!("{}", kmsg::Chain(&error));
                    runtime.signal(pid, signal);
                }
            }
        }
    }

    fn announce(&mut self, id: ServiceId, state: ServiceState) {
        let status = self.runtimes.iter().find(|runtime| runtime.id == id).and_then(|r| self.status(r));
        let Some(status) = status else { return };
        if matches!(state, ServiceState::Backoff | ServiceState::Failed) {
            kmsg::warning!("service {} ended: {}", status.name.0, status.last_exit);
        }
        kmsg::notice!("service {} {}", status.name.0, state_name(state));
        self.control.broadcast(&Response::Changed(status));
        self.draw_console();
    }

    fn reaped(&mut self, pid: Pid, status: ExitStatus) {
        for runtime in &mut self.runtimes {
            if runtime.process.as_ref().is_some_and(|(own, _)| *own == pid) {
                runtime.process = None;
            }
        }
        if let Some(index) = self.helpers.iter().position(|(_, helper)| helper.pid == pid) {
            let (purpose, helper) = self.helpers.swap_remove(index);
            if purpose == Purpose::BootRecord {
                let answer = (status == ExitStatus::Code(0)).then(|| helper.answer());
                self.health.task_ended(boottime_ms(), answer.as_deref());
            }
        }
        self.event(Event::Exited { pid, status });
    }

    fn name(&self, id: ServiceId) -> &'static str {
        self.supervisor.spec(id).map_or("", |spec| spec.name)
    }
}

impl Runtime {
    fn new(id: ServiceId, service: &'static Service) -> Result<Self, MachineError> {
        let name = service.spec.name;
        let output = Output::open(layout::path::SERVICE_LOGS, name)
            .map_err(|source| MachineError::Output { service: name, source })?;
        Ok(Self { id, service, parameters: None, output, process: None })
    }

    /// Signals the main process unless it has been reaped.
    fn signal(&self, pid: Pid, signal: Signal) {
        let signal = match signal {
            Signal::Terminate => OsSignal::TERM,
            Signal::Kill => OsSignal::KILL,
        };
        let result = match &self.process {
            Some((own, Some(pidfd))) if *own == pid => pidfd_send_signal(pidfd, signal),
            Some((own, None)) if *own == pid => os_pid(pid).map_or(Ok(()), |pid| kill_process(pid, signal)),
            Some(_) | None => Ok(()),
        };
        if let Err(error) = result {
            kmsg::error!("cannot signal service {}: {error}", self.service.spec.name);
        }
    }
}

/// Lower-case name of a state, as in log lines.
pub fn state_name(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Stopped => "stopped",
        ServiceState::Waiting => "waiting",
        ServiceState::Starting => "starting",
        ServiceState::Running => "running",
        ServiceState::Backoff => "backoff",
        ServiceState::Stopping => "stopping",
        ServiceState::Failed => "failed",
    }
}

fn os_pid(pid: Pid) -> Option<rustix::process::Pid> {
    i32::try_from(pid.0).ok().and_then(rustix::process::Pid::from_raw)
}

/// `None` when descriptors run out; the plain id does as well, since only PID 1 reaps.
fn open_pidfd(pid: Pid) -> Option<OwnedFd> {
    pidfd_open(os_pid(pid)?, PidfdFlags::empty()).ok()
}

fn exit_status(status: WaitStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        (None, None) => ExitStatus::Code(0),
    }
}

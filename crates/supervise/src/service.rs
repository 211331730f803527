//! The life of one service.

use control::ServiceState;

use crate::backoff::{History, Random, Verdict};
use crate::exit::{ExitStatus, Fault, LastExit};
use crate::spec::{KillScope, Readiness, Spec};
use crate::supervisor::{Action, Pid, ServiceId, Signal, Token};

/// What a step works with besides the services.
pub(crate) struct Context {
    pub(crate) now_ms: u64,
    pub(crate) random: Random,
    pub(crate) next_token: u64,
    pub(crate) going_down: bool,
    pub(crate) actions: Vec<Action>,
}

/// A service as others may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Present state.
    pub state: ServiceState,
    /// Main process, while there is one.
    pub pid: Option<Pid>,
    /// Starts after the first.
    pub restarts: u32,
    /// How the latest run ended.
    pub last_exit: Option<LastExit>,
    /// When the state last changed.
    pub since_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Process {
    pid: Pid,
    started_ms: u64,
}

/// What a stop is for.
#[derive(Clone, Copy, Debug)]
enum Cause {
    Asked,
    Restart,
    Fault(Fault),
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Stopped,
    Waiting,
    Spawning { token: Token },
    Starting { process: Process, deadline_ms: u64 },
    Running { process: Process, keep_alive_by_ms: Option<u64>, settles_at_ms: Option<u64> },
    Stopping { process: Process, kill_at_ms: u64, cause: Cause },
    Backoff { until_ms: u64 },
    Failed,
}

pub(crate) struct Service {
    id: ServiceId,
    spec: Spec,
    phase: Phase,
    wanted: bool,
    exhausted: bool,
    history: History,
    starts: u32,
    last_exit: Option<LastExit>,
    published: ServiceState,
    since_ms: u64,
}

impl Service {
    pub(crate) fn new(id: ServiceId, spec: Spec) -> Self {
        Self {
            id,
            spec,
            phase: Phase::Stopped,
            wanted: false,
            exhausted: false,
            history: History::default(),
            starts: 0,
            last_exit: None,
            published: ServiceState::Stopped,
            since_ms: 0,
        }
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(crate) fn state(&self) -> ServiceState {
        match self.phase {
            Phase::Stopped => ServiceState::Stopped,
            Phase::Waiting => ServiceState::Waiting,
            Phase::Spawning { .. } | Phase::Starting { .. } => ServiceState::Starting,
            Phase::Running { .. } => ServiceState::Running,
            Phase::Stopping { .. } => ServiceState::Stopping,
            Phase::Backoff { .. } => ServiceState::Backoff,
            Phase::Failed => ServiceState::Failed,
        }
    }

    pub(crate) fn view(&self) -> View {
        View {
            state: self.state(),
            pid: self.process().map(|process| process.pid),
            restarts: self.starts.saturating_sub(1),
            last_exit: self.last_exit,
            since_ms: self.since_ms,
        }
    }

    pub(crate) fn has_pid(&self, pid: Pid) -> bool {
        self.process().is_some_and(|process| process.pid == pid)
    }

    pub(crate) fn is_spawning(&self, token: Token) -> bool {
        matches!(self.phase, Phase::Spawning { token: own } if own == token)
    }

    pub(crate) fn start(&mut self) {
        self.wanted = true;
        self.history.clear();
        match self.phase {
            Phase::Stopped | Phase::Backoff { .. } | Phase::Failed => self.phase = Phase::Waiting,
            Phase::Stopping { process, kill_at_ms, cause: Cause::Asked } => {
                self.phase = Phase::Stopping { process, kill_at_ms, cause: Cause::Restart };
            }
            Phase::Waiting
            | Phase::Spawning { .. }
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. } => {}
        }
    }

    pub(crate) fn stop(&mut self, context: &mut Context) {
        self.wanted = false;
        match self.phase {
            Phase::Waiting | Phase::Backoff { .. } | Phase::Failed => self.phase = Phase::Stopped,
            Phase::Starting { process, .. } | Phase::Running { process, .. } => {
                self.begin_stop(context, process, Cause::Asked);
            }
            Phase::Stopping { process, kill_at_ms, .. } => {
                self.phase = Phase::Stopping { process, kill_at_ms, cause: Cause::Asked };
            }
            Phase::Stopped | Phase::Spawning { .. } => {}
        }
    }

    pub(crate) fn restart(&mut self, context: &mut Context) {
        self.start();
        match self.phase {
            Phase::Starting { process, .. } | Phase::Running { process, .. } => {
                self.begin_stop(context, process, Cause::Restart);
            }
            Phase::Stopping { process, kill_at_ms, .. } => {
                self.phase = Phase::Stopping { process, kill_at_ms, cause: Cause::Restart };
            }
            Phase::Stopped
            | Phase::Waiting
            | Phase::Spawning { .. }
            | Phase::Backoff { .. }
            | Phase::Failed => {}
        }
    }

    /// The machine goes down: what has no process never gets one again.
    pub(crate) fn shut_down(&mut self) {
        if matches!(self.phase, Phase::Waiting | Phase::Backoff { .. }) {
            self.phase = Phase::Stopped;
        }
    }

    pub(crate) fn wants_to_start(&self) -> bool {
        matches!(self.phase, Phase::Waiting)
    }

    pub(crate) fn spawn(&mut self, context: &mut Context) {
        let token = Token(context.next_token);
        context.next_token = context.next_token.wrapping_add(1);
        self.phase = Phase::Spawning { token };
        context.actions.push(Action::Spawn { service: self.id, token });
    }

    pub(crate) fn started(&mut self, context: &mut Context, pid: Pid) {
        self.starts = self.starts.saturating_add(1);
        let process = Process { pid, started_ms: context.now_ms };
        if !self.wanted || context.going_down {
            self.begin_stop(context, process, Cause::Asked);
            return;
        }
        match self.spec.readiness {
            Readiness::Started => self.run(context, process),
            Readiness::Notify { start_deadline_ms, .. } => {
                let deadline_ms = context.now_ms.saturating_add(start_deadline_ms);
                self.phase = Phase::Starting { process, deadline_ms };
            }
        }
    }

    pub(crate) fn spawn_failed(&mut self, context: &mut Context) {
        self.last_exit = Some(LastExit { fault: Some(Fault::Spawn), status: None });
        self.ended_unasked(context);
    }

    pub(crate) fn ready(&mut self, context: &mut Context) {
        if let Phase::Starting { process, .. } = self.phase {
            self.run(context, process);
        }
    }

    pub(crate) fn keep_alive(&mut self, context: &mut Context) {
        let next_ms = self.keep_alive_by_ms(context.now_ms);
        if let Phase::Running { keep_alive_by_ms, .. } = &mut self.phase {
            *keep_alive_by_ms = next_ms;
        }
    }

    pub(crate) fn exited(&mut self, context: &mut Context, status: ExitStatus) {
        let Some(process) = self.process() else { return };
        let cause = match self.phase {
            Phase::Stopping { cause, .. } => Some(cause),
            Phase::Stopped
            | Phase::Waiting
            | Phase::Spawning { .. }
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Backoff { .. }
            | Phase::Failed => None,
        };
        let fault = match cause {
            Some(Cause::Fault(fault)) => Some(fault),
            Some(Cause::Asked | Cause::Restart) | None => None,
        };
        self.last_exit = Some(LastExit { fault, status: Some(status) });
        if self.spec.stop.scope == KillScope::Group {
            // Whatever the main process left behind would live on beside the next instance.
            self.kill(context, process, Signal::Kill, KillScope::Group);
        }
        let ran_ms = context.now_ms.saturating_sub(process.started_ms);
        if ran_ms >= self.spec.restart.minimum_run_ms {
            self.history.settled();
        }
        match cause {
            Some(Cause::Restart) if self.wanted && !context.going_down => self.phase = Phase::Waiting,
            Some(Cause::Asked | Cause::Restart) => self.phase = Phase::Stopped,
            Some(Cause::Fault(_)) | None => self.ended_unasked(context),
        }
    }

    /// Acts on every deadline that has passed.
    pub(crate) fn timer(&mut self, context: &mut Context) {
        let now_ms = context.now_ms;
        match self.phase {
            Phase::Starting { process, deadline_ms } if now_ms >= deadline_ms => {
                self.begin_stop(context, process, Cause::Fault(Fault::StartDeadline));
            }
            Phase::Running { process, keep_alive_by_ms, settles_at_ms } => {
                if settles_at_ms.is_some_and(|at_ms| now_ms >= at_ms) {
                    self.phase = Phase::Running { process, keep_alive_by_ms, settles_at_ms: None };
                    self.settled(context);
                }
                if keep_alive_by_ms.is_some_and(|by_ms| now_ms >= by_ms) {
                    self.begin_stop(context, process, Cause::Fault(Fault::KeepAlive));
                }
            }
            Phase::Stopping { process, kill_at_ms, cause } if now_ms >= kill_at_ms => {
                let kill_at_ms = now_ms.saturating_add(self.spec.stop.timeout_ms);
                self.phase = Phase::Stopping { process, kill_at_ms, cause };
                self.kill(context, process, Signal::Kill, self.spec.stop.scope);
            }
            Phase::Backoff { until_ms } if now_ms >= until_ms => self.phase = Phase::Waiting,
            Phase::Stopped
            | Phase::Waiting
            | Phase::Spawning { .. }
            | Phase::Starting { .. }
            | Phase::Stopping { .. }
            | Phase::Backoff { .. }
            | Phase::Failed => {}
        }
    }

    /// When [`Self::timer`] is due next.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Starting { deadline_ms, .. } => Some(deadline_ms),
            Phase::Running { keep_alive_by_ms, settles_at_ms, .. } => {
                keep_alive_by_ms.into_iter().chain(settles_at_ms).min()
            }
            Phase::Stopping { kill_at_ms, .. } => Some(kill_at_ms),
            Phase::Backoff { until_ms } => Some(until_ms),
            Phase::Stopped | Phase::Waiting | Phase::Spawning { .. } | Phase::Failed => None,
        }
    }

    /// The supervisor itself stood still for `gap_ms`: services could not be heard and are not to blame.
    pub(crate) fn forgive(&mut self, gap_ms: u64) {
        match &mut self.phase {
            Phase::Starting { deadline_ms, .. } => *deadline_ms = deadline_ms.saturating_add(gap_ms),
            Phase::Running { keep_alive_by_ms: Some(by_ms), .. } => *by_ms = by_ms.saturating_add(gap_ms),
            Phase::Running { keep_alive_by_ms: None, .. }
            | Phase::Stopped
            | Phase::Waiting
            | Phase::Spawning { .. }
            | Phase::Stopping { .. }
            | Phase::Backoff { .. }
            | Phase::Failed => {}
        }
    }

    /// Reports the state when it is another than last time.
    pub(crate) fn publish(&mut self, context: &mut Context) {
        let state = self.state();
        if state != self.published {
            self.published = state;
            self.since_ms = context.now_ms;
            context.actions.push(Action::StateChanged { service: self.id, state });
        }
    }

    fn process(&self) -> Option<Process> {
        match self.phase {
            Phase::Starting { process, .. }
            | Phase::Running { process, .. }
            | Phase::Stopping { process, .. } => Some(process),
            Phase::Stopped
            | Phase::Waiting
            | Phase::Spawning { .. }
            | Phase::Backoff { .. }
            | Phase::Failed => None,
        }
    }

    fn run(&mut self, context: &mut Context, process: Process) {
        let settles_at_ms = Some(context.now_ms.saturating_add(self.spec.restart.minimum_run_ms));
        let keep_alive_by_ms = self.keep_alive_by_ms(context.now_ms);
        self.phase = Phase::Running { process, keep_alive_by_ms, settles_at_ms };
    }

    fn keep_alive_by_ms(&self, now_ms: u64) -> Option<u64> {
        match self.spec.readiness {
            Readiness::Notify { keep_alive_ms: Some(interval_ms), .. } => {
                Some(now_ms.saturating_add(interval_ms))
            }
            Readiness::Notify { keep_alive_ms: None, .. } | Readiness::Started => None,
        }
    }

    fn settled(&mut self, context: &mut Context) {
        self.history.settled();
        if self.exhausted {
            self.exhausted = false;
            self.history.clear();
            context.actions.push(Action::EssentialRecovered { service: self.id });
        }
    }

    fn begin_stop(&mut self, context: &mut Context, process: Process, cause: Cause) {
        let kill_at_ms = context.now_ms.saturating_add(self.spec.stop.timeout_ms);
        self.phase = Phase::Stopping { process, kill_at_ms, cause };
        self.kill(context, process, Signal::Terminate, KillScope::Main);
    }

    fn kill(&self, context: &mut Context, process: Process, signal: Signal, scope: KillScope) {
        context.actions.push(Action::Kill { service: self.id, pid: process.pid, signal, scope });
    }

    fn ended_unasked(&mut self, context: &mut Context) {
        if !self.wanted || context.going_down {
            self.phase = Phase::Stopped;
            return;
        }
        self.phase = match self.history.failed(&self.spec.restart, context.now_ms, &mut context.random) {
            Verdict::Retry { wait_ms } => Phase::Backoff { until_ms: context.now_ms.saturating_add(wait_ms) },
            Verdict::Exhausted if self.spec.essential => self.exhausted(context),
            Verdict::Exhausted => {
                self.wanted = false;
                Phase::Failed
            }
        };
    }

    fn exhausted(&mut self, context: &mut Context) -> Phase {
        if !self.exhausted {
            self.exhausted = true;
            context.actions.push(Action::EssentialExhausted { service: self.id });
        }
        let wait_ms = context.random.jitter(self.spec.restart.slow_ms);
        Phase::Backoff { until_ms: context.now_ms.saturating_add(wait_ms) }
    }
}

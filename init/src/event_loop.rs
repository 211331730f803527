//! The one loop of PID 1.

use std::io;
use std::os::fd::AsFd;

use control::PowerAction;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use supervise::Event;

use crate::clock::boottime_ms;
use crate::control_server::ClientId;
use crate::machine::Machine;

/// How often a shutdown looks for what nobody reports: empty cgroups.
const SHUTDOWN_POLL_MS: u64 = 100;
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// What the loop itself waits on.
pub struct Sources {
    signals: SignalFd,
    timer: std::os::fd::OwnedFd,
}

/// Why there is no loop.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// Blocking signals, or their descriptor.
    #[error("cannot take signals")]
    Signals(#[source] Errno),
    /// The timer's descriptor.
    #[error("cannot make a timer")]
    Timer(#[source] rustix::io::Errno),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Signals,
    Timer,
    Notify,
    Listener,
    Client(ClientId),
    Output(usize),
}

impl Sources {
    /// Blocks the signals that PID 1 reads from a descriptor.
    pub fn open() -> Result<Self, LoopError> {
        let mask: SigSet =
            [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPWR].into_iter().collect();
        mask.thread_block().map_err(LoopError::Signals)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags).map_err(LoopError::Signals)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags).map_err(LoopError::Timer)?;
        Ok(Self { signals, timer })
    }

    /// Runs the machine until it is stopped.
    pub fn run(self, mut machine: Machine) -> ! {
        let mut more_to_reap = false;
        loop {
            self.set_timer(next_deadline_ms(&machine));
            let ready = self.wait(&machine, more_to_reap);
            if more_to_reap || ready.contains(&Source::Signals) {
                self.take_signals(&mut machine);
                more_to_reap = machine.reap();
            }
            for source in ready {
                self.handle(&mut machine, source);
            }
            let now_ms = boottime_ms();
            machine.hooks.strike(now_ms);
            // After the notify socket: whoever has just given a sign of life is not late.
            machine.event(Event::Timer);
            machine.check_health();
            machine.advance_shutdown();
            machine.watchdogs.feed(now_ms);
        }
    }

    fn wait(&self, machine: &Machine, at_once: bool) -> Vec<Source> {
        let mut sources = vec![Source::Signals, Source::Timer, Source::Notify, Source::Listener];
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::new(&self.timer, PollFlags::IN),
            PollFd::new(&machine.notify.fd, PollFlags::IN),
            PollFd::new(&machine.control.listener, PollFlags::IN),
        ];
        for (id, fd) in machine.control.clients() {
            sources.push(Source::Client(id));
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        for (index, runtime) in machine.runtimes.iter().enumerate() {
            sources.push(Source::Output(index));
            fds.push(PollFd::new(&runtime.output.reader, PollFlags::IN));
        }
        // An interrupted poll is a turn without ready descriptors.
        let _ = poll(&mut fds, at_once.then_some(&NO_WAIT));
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        sources.into_iter().zip(&fds).filter(|(_, fd)| is_ready(fd)).map(|(source, _)| source).collect()
    }

    fn handle(&self, machine: &mut Machine, source: Source) {
        match source {
            // Taken before everything else.
            Source::Signals => {}
            Source::Timer => self.clear_timer(),
            Source::Notify => {
                for (pid, message) in machine.notify.receive() {
                    if message.ready {
                        machine.event(Event::Ready { pid });
                    }
                    if message.keep_alive {
                        machine.event(Event::KeepAlive { pid });
                    }
                }
            }
            Source::Listener => machine.control.accept(),
            Source::Client(id) => machine.serve(id),
            Source::Output(index) => {
                if let Some(runtime) = machine.runtimes.get_mut(index) {
                    runtime.output.transfer();
                }
            }
        }
    }

    /// SIGCHLD says only that there is something to reap. SIGINT comes from Ctrl-Alt-Del.
    fn take_signals(&self, machine: &mut Machine) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGINT)) => machine.begin_shutdown(PowerAction::Reboot, "Ctrl-Alt-Del"),
                Ok(Ok(Signal::SIGTERM)) => machine.begin_shutdown(PowerAction::Reboot, "SIGTERM"),
                Ok(Ok(Signal::SIGPWR)) => machine.begin_shutdown(PowerAction::PowerOff, "SIGPWR"),
                _ => {}
            }
        }
    }

    fn set_timer(&self, deadline_ms: u64) {
        // An all-zero time would disarm it.
        let deadline_ms = deadline_ms.max(1);
        let seconds = i64::try_from(deadline_ms.div_euclid(1_000)).unwrap_or(i64::MAX);
        let nanoseconds = i64::try_from(deadline_ms.rem_euclid(1_000)).unwrap_or(0).saturating_mul(1_000_000);
        let value =
            Itimerspec { it_interval: NO_WAIT, it_value: Timespec { tv_sec: seconds, tv_nsec: nanoseconds } };
        // Cannot fail with a valid time; without a timer the watchdog would be PID 1's judge.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &value);
    }

    fn clear_timer(&self) {
        let mut expirations = [0; 8];
        let _: io::Result<usize> = rustix::io::read(&self.timer, &mut expirations).map_err(io::Error::from);
    }
}

/// The watchdogs' own deadline bounds every wait.
fn next_deadline_ms(machine: &Machine) -> u64 {
    let shutdown_ms = machine
        .shutdown
        .as_ref()
        .map(|shutdown| shutdown.deadline_ms().min(boottime_ms().saturating_add(SHUTDOWN_POLL_MS)));
    [machine.supervisor.deadline_ms(), machine.health.deadline_ms(), shutdown_ms]
        .into_iter()
        .flatten()
        .fold(machine.watchdogs.deadline_ms(), u64::min)
}

//! Faults on order, for the tests on the real image. Without `cairn.test_hooks=1` on the kernel command line,
//! which is part of the signed UKI, nothing here has an effect.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::time::{ClockId, Timespec, clock_settime};

use crate::kmsg;
use crate::launch::SELF;

/// Where QEMU's `-fw_cfg opt/cairn.test` appears.
const FAULTS: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/cairn.test/raw";
const SWITCH: &str = "cairn.test_hooks=1";
/// A fault of this image, whichever machine starts it: `cairn.fault=break-service:kubelet`.
const WORD: &str = "cairn.fault=";
/// Absent on every image.
const ABSENT: &str = "/usr/bin/does-not-exist";

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    HangAfter { s: u64 },
    PanicAfter { s: u64 },
    BreakService { name: String },
    CrashService { name: String },
    MuteService { name: String },
    Orphans { count: u32 },
    SetClock { s: i64 },
}

/// The faults of this boot.
#[derive(Debug, Default)]
pub struct TestHooks {
    faults: Vec<Fault>,
}

impl TestHooks {
    /// Reads what the test ordered.
    pub fn read() -> Self {
        let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        Self::ordered(&command_line, || fs::read_to_string(FAULTS).unwrap_or_default())
    }

    fn ordered(command_line: &str, from_the_machine: impl FnOnce() -> String) -> Self {
        let words = || command_line.split_ascii_whitespace();
        if !words().any(|word| word == SWITCH) {
            return Self::default();
        }
        let of_the_image = words().filter_map(|word| parse_line(&word.strip_prefix(WORD)?.replace(':', " ")));
        Self { faults: of_the_image.chain(parse(&from_the_machine())).collect() }
    }

    /// The program to run instead of the service's own, with arguments that come before the service's.
    pub fn replacement(&self, service: &str) -> Option<&'static [&'static str]> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::BreakService { name } if name == service => Some(&[ABSENT][..]),
            Fault::CrashService { name } if name == service => Some(&[SELF, "exit", "1"][..]),
            Fault::MuteService { name } if name == service => Some(&[SELF, "mute"][..]),
            Fault::BreakService { .. }
            | Fault::CrashService { .. }
            | Fault::MuteService { .. }
            | Fault::HangAfter { .. }
            | Fault::PanicAfter { .. }
            | Fault::Orphans { .. }
            | Fault::SetClock { .. } => None,
        })
    }

    /// Strikes at once, or starts what is to strike from another process.
    pub fn begin(&self) {
        for fault in &self.faults {
            match fault {
                Fault::Orphans { count } => flood(*count),
                Fault::SetClock { s } => set_clock(*s),
                Fault::BreakService { .. }
                | Fault::CrashService { .. }
                | Fault::MuteService { .. }
                | Fault::HangAfter { .. }
                | Fault::PanicAfter { .. } => {}
            }
        }
    }

    /// Does to PID 1 what is due.
    #[allow(clippy::panic)] // Ordered.
    pub fn strike(&self, now_ms: u64) {
        let due = |s: u64| now_ms >= s.saturating_mul(1_000);
        for fault in &self.faults {
            match *fault {
                Fault::HangAfter { s } if due(s) => loop {
                    std::thread::park();
                },
                Fault::PanicAfter { s } if due(s) => panic!("ordered by a test"),
                Fault::HangAfter { .. }
                | Fault::PanicAfter { .. }
                | Fault::BreakService { .. }
                | Fault::CrashService { .. }
                | Fault::MuteService { .. }
                | Fault::Orphans { .. }
                | Fault::SetClock { .. } => {}
            }
        }
    }
}

/// `init mute`: what says that it is ready and serves nobody, in a service's place.
pub fn mute() -> io::Result<Infallible> {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return Err(io::ErrorKind::NotFound.into()) };
    UnixDatagram::unbound()?.send_to(b"READY=1", socket)?;
    loop {
        std::thread::park();
    }
}

/// Firmware may take a clock at 1970 for one at 2070; a board without a clock says 1970.
fn set_clock(s: i64) {
    let time = Timespec { tv_sec: s, tv_nsec: 0 };
    if let Err(error) = clock_settime(ClockId::Realtime, time) {
        kmsg::error!("cannot set the clock: {error}");
    }
}

/// The process is reaped like an orphan itself.
fn flood(count: u32) {
    let mut command = Command::new(SELF);
    command.args(["orphans", &count.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        kmsg::error!("cannot start the orphans' helper: {error}");
    }
}

/// One fault a line; unknown lines are ignored.
fn parse(text: &str) -> Vec<Fault> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Fault> {
    let (fault, argument) = line.trim().split_once(' ')?;
    let name = || argument.to_owned();
    match fault {
        "hang-pid1-after-s" => Some(Fault::HangAfter { s: argument.parse().ok()? }),
        "panic-pid1-after-s" => Some(Fault::PanicAfter { s: argument.parse().ok()? }),
        "break-service" => Some(Fault::BreakService { name: name() }),
        "crash-service" => Some(Fault::CrashService { name: name() }),
        "mute-service" => Some(Fault::MuteService { name: name() }),
        "set-clock-s" => Some(Fault::SetClock { s: argument.parse().ok()? }),
        "orphans" => Some(Fault::Orphans { count: argument.parse().ok()? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_line_by_line() {
        let text = "hang-pid1-after-s 30\nbreak-service apid\n\nnonsense\ncrash-service kubelet\nhang-pid1-after-s x\n\
                    orphans 7\nset-clock-s 60\n";
        let hooks = TestHooks { faults: parse(text) };
        assert_eq!(hooks.faults.len(), 5);
        assert_eq!(hooks.faults[3], Fault::Orphans { count: 7 });
        assert_eq!(hooks.faults[4], Fault::SetClock { s: 60 });
        assert_eq!(hooks.faults[0], Fault::HangAfter { s: 30 });
        assert_eq!(hooks.replacement("apid"), Some(&[ABSENT][..]));
        assert_eq!(hooks.replacement("kubelet"), Some(&[SELF, "exit", "1"][..]));
        assert_eq!(hooks.replacement("machined"), None);
    }

    #[test]
    fn an_image_orders_faults_on_its_command_line_once_hooks_are_allowed() {
        let machine = || "break-service apid".to_owned();
        let words = "quiet cairn.fault=mute-service:apid cairn.fault=hang-pid1-after-s:0 cairn.fault=x";
        assert!(TestHooks::ordered(words, machine).faults.is_empty());
        let hooks = TestHooks::ordered(&format!("{words} {SWITCH}"), machine);
        let name = || "apid".to_owned();
        let expected = [
            Fault::MuteService { name: name() },
            Fault::HangAfter { s: 0 },
            Fault::BreakService { name: name() },
        ];
        assert_eq!(hooks.faults, expected);
        assert_eq!(hooks.replacement("apid"), Some(&[SELF, "mute"][..]));
    }

    #[test]
    #[should_panic(expected = "ordered by a test")]
    fn a_panic_comes_when_it_is_due() {
        let hooks = TestHooks { faults: parse("panic-pid1-after-s 5") };
        hooks.strike(4_999);
        hooks.strike(5_000);
    }
}

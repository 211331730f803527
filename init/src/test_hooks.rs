//! Faults on order, for the tests on the real image. Without `cairn.test_hooks=1` on the kernel command line,
//! which is part of the signed UKI, nothing here has an effect.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_settime};

use crate::kmsg;
use crate::launch::SELF;

/// Where QEMU's `-fw_cfg opt/cairn.test` appears.
const FAULTS: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/cairn.test/raw";
const SWITCH: &str = "cairn.test_hooks=1";
/// Absent on every image.
const ABSENT: &str = "/usr/bin/does-not-exist";

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    HangAfter { s: u64 },
    PanicAfter { s: u64 },
    BreakService { name: String },
    CrashService { name: String },
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
        if !command_line.split_ascii_whitespace().any(|word| word == SWITCH) {
            return Self::default();
        }
        Self { faults: parse(&fs::read_to_string(FAULTS).unwrap_or_default()) }
    }

    /// The program to run instead of the service's own, with arguments that come before the service's.
    pub fn replacement(&self, service: &str) -> Option<&'static [&'static str]> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::BreakService { name } if name == service => Some(&[ABSENT][..]),
            Fault::CrashService { name } if name == service => Some(&[SELF, "exit", "1"][..]),
            Fault::BreakService { .. }
            | Fault::CrashService { .. }
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
                    std::thread::sleep(Duration::from_secs(3_600));
                },
                Fault::PanicAfter { s } if due(s) => panic!("ordered by a test"),
                Fault::HangAfter { .. }
                | Fault::PanicAfter { .. }
                | Fault::BreakService { .. }
                | Fault::CrashService { .. }
                | Fault::Orphans { .. }
                | Fault::SetClock { .. } => {}
            }
        }
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
    #[should_panic(expected = "ordered by a test")]
    fn a_panic_comes_when_it_is_due() {
        let hooks = TestHooks { faults: parse("panic-pid1-after-s 5") };
        hooks.strike(4_999);
        hooks.strike(5_000);
    }
}

//! When PID 1 has a bug: leave a note, start over as something much simpler, and reboot.

use std::os::unix::process::CommandExt;
use std::panic::{self, PanicHookInfo};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use rustix::process::{WaitOptions, wait};

use crate::kmsg;
use crate::launch::{Helper, SELF};

/// What processes get to end by themselves.
const TERMINATE_FOR: Duration = Duration::from_secs(3);
/// What unmounting may take.
const UNMOUNT_FOR: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// Makes a panic of PID 1 end in [`run`], in a fresh process image with the same id.
pub fn install() {
    panic::set_hook(Box::new(|info| {
        kmsg::critical!("PID 1 panicked: {}", epitaph(info));
        let error = Command::new(SELF).arg0("init").arg("emergency").exec();
        kmsg::critical!("cannot enter emergency mode: {error}");
        restart();
    }));
}

fn epitaph(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("no message");
    info.location().map_or_else(|| message.to_owned(), |location| format!("{message}, at {location}"))
}

/// Stops everything, writes everything out and reboots. A watchdog that was armed still is.
pub fn run() -> ! {
    kmsg::critical!("emergency: stopping all processes and rebooting");
    // Inherited from the former image; without this no helper could be signalled.
    let _ = SigSet::empty().thread_set_mask();
    let everyone = Pid::from_raw(-1);
    let _ = kill(everyone, Signal::SIGTERM);
    reap_for(TERMINATE_FOR, None);
    let _ = kill(everyone, Signal::SIGKILL);
    reap_for(Duration::from_millis(300), None);
    match Helper::start("unmount") {
        Ok(helper) => reap_for(UNMOUNT_FOR, Some(helper.pid.0)),
        Err(error) => kmsg::critical!("emergency: cannot unmount: {error}"),
    }
    restart()
}

/// Reaps until the time is up, this process has ended, or there is none left.
fn reap_for(limit: Duration, awaited: Option<u32>) {
    let mut left = limit;
    while !left.is_zero() {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, _))) if awaited == Some(pid.as_raw_nonzero().get().unsigned_abs()) => return,
            Ok(Some(_)) => {}
            Ok(None) => {
                sleep(POLL);
                left = left.saturating_sub(POLL);
            }
            Err(_) => return,
        }
    }
}

fn restart() -> ! {
    kmsg::critical!("emergency: rebooting");
    let _ = reboot(RebootMode::RB_AUTOBOOT);
    // The kernel panics when PID 1 ends, and reboots.
    std::process::exit(1)
}

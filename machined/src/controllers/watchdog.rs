//! Whether a hardware watchdog guards the node (kernel Documentation/ABI/testing/sysfs-class-watchdog).

use std::{fs, path::Path, time::Duration};

use crate::{context::Context, health::Status};

const CLASS: &str = "/sys/class/watchdog";
/// PID 1 arms it once; what can change later is a driver that gives up.
const INTERVAL: Duration = Duration::from_secs(60);

/// What the kernel says of all watchdogs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// There is none.
    NoHardware,
    /// None of those there are is armed.
    Idle,
    /// At least one is armed.
    Armed,
}

/// Looks again and again, for ever.
pub async fn run(context: &Context) {
    loop {
        let (status, reason, message) = judge(look(Path::new(CLASS)));
        context.health.set("watchdog", status, reason, message);
        tokio::time::sleep(INTERVAL).await;
    }
}

fn look(class: &Path) -> Guard {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    entries.fold(Guard::NoHardware, |guard, entry| {
        let state = fs::read_to_string(entry.path().join("state")).unwrap_or_default();
        if guard == Guard::Armed || state.trim() == "active" { Guard::Armed } else { Guard::Idle }
    })
}

/// A machine without a watchdog is as well as it can be: the reason says that there is none.
fn judge(guard: Guard) -> (Status, &'static str, &'static str) {
    match guard {
        Guard::NoHardware => (Status::Healthy, "NoHardwareWatchdog", ""),
        Guard::Armed => (Status::Healthy, "Armed", ""),
        Guard::Idle => (
            Status::Unhealthy,
            "NotArmed",
            "the hardware watchdog is not armed: a hang would last; see `osctl dmesg`, then reboot the node",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_armed_watchdog_is_enough() {
        let class = tempfile::tempdir().unwrap();
        assert_eq!(look(&class.path().join("none")), Guard::NoHardware);
        assert_eq!(look(class.path()), Guard::NoHardware);
        for (name, state, expected) in [
            ("watchdog1", "inactive\n", Guard::Idle),
            ("watchdog0", "active\n", Guard::Armed),
            ("watchdog2", "inactive\n", Guard::Armed),
        ] {
            fs::create_dir(class.path().join(name)).unwrap();
            fs::write(class.path().join(name).join("state"), state).unwrap();
            assert_eq!(look(class.path()), expected);
        }
    }
}

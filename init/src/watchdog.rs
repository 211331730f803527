//! Hardware watchdogs, fed by the poll loop and by nothing else.

use std::fs::{File, OpenOptions};
use std::io::Write;

use crate::{kmsg, raw};

/// A node that does not come round its loop for so long is reset.
const TIMEOUT_S: i32 = 60;
/// An ordered shutdown, with file systems that take their time.
const SHUTDOWN_TIMEOUT_S: i32 = 120;
/// Time between two feedings: several fit into the timeout.
const INTERVAL_MS: u64 = 10_000;
/// A chipset has one, a board sometimes a second one.
const DEVICES: [&str; 4] = ["/dev/watchdog0", "/dev/watchdog1", "/dev/watchdog2", "/dev/watchdog3"];

/// All watchdogs of the machine. Dropping this leaves them armed.
#[derive(Default)]
pub struct Watchdogs {
    devices: Vec<File>,
    next_ms: u64,
}

impl Watchdogs {
    /// Takes over what the firmware, the selector and the kernel have armed, and arms the rest.
    pub fn open() -> Self {
        let devices: Vec<File> = DEVICES.iter().filter_map(|path| open(path)).collect();
        if devices.is_empty() {
            kmsg::notice!("no hardware watchdog");
        }
        Self { devices, next_ms: 0 }
    }

    /// Feeds them when it is time.
    pub fn feed(&mut self, now_ms: u64) {
        if now_ms < self.next_ms {
            return;
        }
        self.next_ms = now_ms.saturating_add(INTERVAL_MS);
        for device in &mut self.devices {
            // A watchdog that cannot be fed resets the machine, which is its job.
            let _ = device.write_all(b"1");
        }
    }

    /// When [`Self::feed`] is due.
    pub fn deadline_ms(&self) -> u64 {
        self.next_ms
    }

    /// Allows for a shutdown's length.
    pub fn extend(&mut self) {
        for device in &self.devices {
            let _ = raw::set_watchdog_timeout(device, SHUTDOWN_TIMEOUT_S);
        }
        self.next_ms = 0;
    }

    /// Disarms them: the machine is about to be without power, on purpose.
    pub fn disarm(self) {
        for mut device in self.devices {
            let _ = device.write_all(b"V");
        }
    }
}

fn open(path: &str) -> Option<File> {
    let device = OpenOptions::new().write(true).open(path).ok()?;
    match raw::set_watchdog_timeout(&device, TIMEOUT_S) {
        Ok(timeout_s) => kmsg::notice!("watchdog {path} armed, {timeout_s} s"),
        Err(error) => kmsg::warning!("watchdog {path} armed, cannot set its timeout: {error}"),
    }
    Some(device)
}

//! When something happens, as the state machine of generations counts it.

use std::{fs, io, path::PathBuf, time::Duration};

use generation::{BootId, Moment};
use nix::time::{ClockId, clock_gettime};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel does not say which boot this is.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct ClockError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The time since the kernel started.
#[derive(Clone, Debug)]
pub struct BootClock {
    boot: BootId,
}

impl BootClock {
    /// The clock of this boot.
    pub fn open() -> Result<Self, ClockError> {
        let id = fs::read_to_string(BOOT_ID).map_err(|source| ClockError { path: BOOT_ID.into(), source })?;
        Ok(Self { boot: BootId(id.trim().to_owned()) })
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        let since_boot_ms = u64::try_from(since_boot.as_millis()).unwrap_or(u64::MAX);
        Moment { boot: self.boot.clone(), since_boot_ms }
    }
}

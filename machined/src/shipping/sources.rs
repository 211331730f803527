//! All logs of the node: those of its services and the kernel's.

use std::path::Path;

use layout::path::SERVICE_LOGS;

use super::severity;
use crate::logs::{
    LogError,
    kernel::{self, Kmsg},
    tail::Tails,
};

/// What the kernel's log is called beside the services'.
const KERNEL: &str = "kernel";

/// A line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Who wrote it.
    pub service: &'a str,
    /// Syslog's name for how severe it is, where that is known.
    pub severity: Option<&'static str>,
    /// As it was written.
    pub message: &'a str,
}

/// Open logs.
pub struct Sources {
    services: Tails,
    kernel: Kmsg,
}

impl Sources {
    /// Begins with what is written from now on.
    pub fn open() -> Result<Self, LogError> {
        let kernel =
            Kmsg::open_at_end().map_err(|source| LogError::read(Path::new(kernel::DEVICE), source))?;
        Ok(Self { services: Tails::open(Path::new(SERVICE_LOGS))?, kernel })
    }

    /// Waits for lines and hands them over. Safe to cancel.
    pub async fn read(&mut self, mut take: impl FnMut(Entry<'_>)) -> Result<(), LogError> {
        tokio::select! {
            changed = self.services.changed() => {
                changed?;
                self.services.read(|service, message| {
                    take(Entry { service, severity: severity::of_line(message), message });
                })
            }
            record = self.kernel.next() => {
                let record = record.map_err(|source| LogError::read(Path::new(kernel::DEVICE), source))?;
                let severity = severity::of_kernel(record.severity);
                take(Entry { service: KERNEL, severity, message: &record.message });
                Ok(())
            }
        }
    }
}

//! What stands where lines are missing.

use crate::record::{Entry, Record};

/// Facility daemon, severity warning (RFC 5424, section 6.2.1).
const PRIORITY: u16 = 3 * 8 + 4;

/// Lines that were dropped before they could be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    lines: u64,
    /// The last of them, without its message.
    last: Record,
}

impl Gap {
    /// Counts a line.
    pub fn add(gap: &mut Option<Self>, record: Record) {
        let lines = gap.as_ref().map_or(0, |gap| gap.lines) + 1;
        let last = Record { entry: Entry { message: Vec::new(), ..record.entry }, ..record };
        *gap = Some(Self { lines, last });
    }

    /// The line that says so.
    pub fn record(self) -> Record {
        let Self { lines, last } = self;
        let message = format!("{lines} lines are missing here: the logs could not be written").into_bytes();
        Record { entry: Entry { priority: Some(PRIORITY), message, ..last.entry }, ..last }
    }
}

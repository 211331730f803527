//! Lines in the kernel's log, which is the only log there is before machined runs.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;

/// The kernel refuses records that are longer (`PRINTKRB_RECORD_MAX`, 1024) with their header.
const LINE_MAX_BYTES: usize = 900;

/// Kernel log levels (linux/kern_levels.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The machine is about to go.
    Critical = 2,
    /// Something does not work.
    Error = 3,
    /// Something is not as it should be.
    Warning = 4,
    /// A milestone; reaches the console.
    Notice = 5,
    /// For whoever reads the log.
    Info = 6,
}

/// Writes one line. Nobody can be told of a failure, so it is ignored.
///
/// The device is opened anew each time: one open file is limited to ten lines in five seconds.
pub fn log(level: Level, message: fmt::Arguments<'_>) {
    if let Ok(mut device) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = device.write_all(record(level, &message.to_string()).as_bytes());
    }
}

/// A record as /dev/kmsg wants it, of one line, without control characters and not too long.
fn record(level: Level, message: &str) -> String {
    let mut line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.truncate(line.floor_char_boundary(LINE_MAX_BYTES));
    format!("<{}>cairn: {line}\n", level as u8)
}

macro_rules! critical {
    ($($message:tt)*) => { $crate::kmsg::log($crate::kmsg::Level::Critical, format_args!($($message)*)) };
}
macro_rules! error {
    ($($message:tt)*) => { $crate::kmsg::log($crate::kmsg::Level::Error, format_args!($($message)*)) };
}
macro_rules! warning {
    ($($message:tt)*) => { $crate::kmsg::log($crate::kmsg::Level::Warning, format_args!($($message)*)) };
}
macro_rules! notice {
    ($($message:tt)*) => { $crate::kmsg::log($crate::kmsg::Level::Notice, format_args!($($message)*)) };
}
macro_rules! info {
    ($($message:tt)*) => { $crate::kmsg::log($crate::kmsg::Level::Info, format_args!($($message)*)) };
}
pub(crate) use {critical, error, info, notice, warning};

/// An error with all of its sources, for one line.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_bounded_line() {
        assert_eq!(record(Level::Notice, "a\nb\u{1b}[2J"), "<5>cairn: a b [2J\n");
        let long = record(Level::Error, &"é".repeat(LINE_MAX_BYTES));
        assert_eq!(long.len(), "<3>cairn: \n".len() + LINE_MAX_BYTES);
    }
}

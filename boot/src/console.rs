//! Lines on the firmware's console, where there is one.

// The firmware's table has to be looked at before the safe wrapper, which panics on a machine without a console.
#![allow(unsafe_code)]

use core::error::Error;
use core::fmt::{Arguments, Write};

/// Writes one line. A console that fails must not stop a boot.
pub fn write_line(text: Arguments<'_>) {
    let Some(table) = uefi::table::system_table_raw() else { return };
    // SAFETY: the entry point has set the system table, which the firmware keeps until boot services end; this
    // program never ends them.
    if unsafe { table.as_ref() }.stdout.is_null() {
        return;
    }
    uefi::system::with_stdout(|stdout| _ = writeln!(stdout, "cairn: {text}"));
}

/// Writes what failed, and why.
pub fn error(error: &dyn Error) {
    write_line(format_args!("{error}"));
    let mut cause = error.source();
    while let Some(error) = cause {
        write_line(format_args!("  because: {error}"));
        cause = error.source();
    }
}

/// Writes one line, formatted as by `format!`.
macro_rules! line {
    ($($argument:tt)*) => { $crate::console::write_line(format_args!($($argument)*)) };
}
pub(crate) use line;

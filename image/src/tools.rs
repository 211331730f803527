//! Programs of the SDK that assembly calls.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Result, bail};

/// Environment of every program: nothing of the host's, and no clock.
pub const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/sbin:/usr/bin"),
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
    ("SOURCE_DATE_EPOCH", "0"),
    ("MTOOLS_SKIP_CHECK", "1"),
];

/// Runs programs of the SDK.
pub trait Tools {
    /// Runs a program to its end with [`ENVIRONMENT`]; an error only when it cannot be started.
    fn run(&self, program: &str, arguments: &[OsString]) -> Result<Output>;
    /// How the program sees a path of the host.
    fn inside(&self, host_path: &Path) -> Result<PathBuf>;
}

/// Runs a program and fails with what it said when it fails.
pub(crate) fn run(tools: &dyn Tools, program: &str, arguments: &[OsString]) -> Result<Output> {
    let output = tools.run(program, arguments)?;
    if !output.status.success() {
        bail!("{program} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}

/// Arguments from texts and paths.
#[macro_export]
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => { [$(::std::ffi::OsString::from($argument)),*] };
}

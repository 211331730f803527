//! Programs of the SDK run without changing root: through the SDK's own dynamic loader.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, bail};
use image::tools::{ENVIRONMENT, Tools};

/// An SDK root whose programs are run.
#[derive(Clone, Debug)]
pub struct Programs {
    root: PathBuf,
}

impl Programs {
    /// Programs of the SDK at `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A file of the SDK.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A command for a program, named by its path in the SDK or by its name in /usr/bin or /usr/sbin.
    pub fn command(&self, program: &str) -> Command {
        let path = if program.contains('/') { self.file(program) } else { self.find(program) };
        let libraries = self.file("/usr/lib/x86_64-linux-gnu");
        let mut command = Command::new(self.file("/usr/lib64/ld-linux-x86-64.so.2"));
        command.arg("--argv0").arg(program).arg("--library-path").arg(&libraries).arg(path);
        command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
        command
    }

    /// Runs a program to its end; a failure carries what it printed on standard error.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .with_context(|| format!("cannot run {program} of the SDK"))?;
        if !output.status.success() {
            bail!("{program} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(output)
    }

    fn find(&self, name: &str) -> PathBuf {
        let user = self.file("/usr/bin").join(name);
        if user.exists() { user } else { self.file("/usr/sbin").join(name) }
    }
}

impl Tools for Programs {
    fn run(&self, program: &str, arguments: &[OsString]) -> Result<Output> {
        self.command(program)
            .env_clear()
            .envs(ENVIRONMENT)
            .args(arguments)
            .output()
            .with_context(|| format!("cannot run {program} of the SDK"))
    }

    fn inside(&self, host_path: &Path) -> Result<PathBuf> {
        // Nothing changes root: paths are the host's.
        Ok(std::path::absolute(host_path)?)
    }
}

//! `cargo xtask check`: what a machine can say of the code.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{build::kernel, cache, report::Step, sdk::Sdk};

/// Formatting, lints, documentation, kernel fragments and, when cargo-deny is installed, dependencies.
pub fn check(repository: &Path, sdk: &Sdk) -> Result<()> {
    let cargo: [(&str, &[&str]); 3] = [
        ("fmt", &["fmt", "--all", "--check"]),
        (
            "clippy",
            &["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"],
        ),
        ("doc", &["doc", "--workspace", "--no-deps", "--locked", "--quiet"]),
    ];
    for (name, arguments) in cargo {
        run(repository, name, arguments)?;
    }
    let step = Step::start("kernel fragments", "every line must be in the final configuration");
    kernel::check(repository, sdk)?;
    step.done();
    deny(repository)
}

fn run(repository: &Path, name: &str, arguments: &[&str]) -> Result<()> {
    let step = Step::start(name, &format!("cargo {}", arguments.join(" ")));
    let status = Command::new("cargo")
        .args(arguments)
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(repository)
        .status()?;
    if !status.success() {
        bail!("{name} found something to mend (see above)");
    }
    step.done();
    Ok(())
}

/// cargo-deny is a build of several minutes: it is installed once into the cache.
fn deny(repository: &Path) -> Result<()> {
    let root = cache::scratch("tools")?;
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        let step = Step::start("cargo-deny", "installing into the cache, about 6 min");
        let status = Command::new("cargo")
            .args(["install", "--quiet", "--locked", "--version", "0.20.2", "cargo-deny", "--root"])
            .arg(&root)
            .status()?;
        if !status.success() {
            bail!("cannot install cargo-deny");
        }
        step.done();
    }
    let step = Step::start("deny", "licences, bans and sources of dependencies");
    let status = Command::new(program)
        .args(["--offline", "--workspace", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
        .current_dir(repository)
        .status()?;
    if !status.success() {
        bail!("deny found something to mend (see above)");
    }
    step.done();
    Ok(())
}

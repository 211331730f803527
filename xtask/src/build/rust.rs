//! Our own programs for a device, built with the SDK's Rust.
//!
//! Sources are mirrored by content into one tree in the cache, so that cargo's mtime-based freshness holds across
//! clones, and every path that the compiler sees is the same on every host.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cache::{self, Artifact, Key},
    sdk::Sdk,
};

/// Programs that share one set of compiler flags.
pub struct Group {
    name: &'static str,
    hint: &'static str,
    /// Target triple.
    pub target: &'static str,
    /// Packages of the workspace.
    pub packages: &'static [&'static str],
    /// Files that come out, below `target/<target>/release`.
    outputs: &'static [&'static str],
    /// Parts of the source tree that go in.
    sources: &'static [&'static str],
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// The group whose build folder it shares.
    target_of: &'static str,
}

const SELECTOR: Group = Group {
    name: "selector",
    hint: "the UEFI selector, about 30 s",
    target: "x86_64-unknown-uefi",
    packages: &["boot"],
    outputs: &["boot.efi"],
    sources: &["Cargo.toml", "Cargo.lock", "boot", "crates/bootstate", "crates/layout"],
    arguments: &["-Zbuild-std=core,compiler_builtins,alloc", "-Zbuild-std-features=compiler-builtins-mem"],
    environment: &[("RUSTC_BOOTSTRAP", "1"), ("CARGO_TARGET_X86_64_UNKNOWN_UEFI_LINKER", "lld-link")],
    target_of: "selector",
};
/// Linked statically: PID 1 locks its memory and must not depend on libraries of the root; containers have none.
pub const STATIC: Group = Group {
    name: "static-programs",
    hint: "PID 1 and the programs of our container images, about 1 min",
    target: "x86_64-unknown-linux-gnu",
    packages: &["init", "pause", "hello", "probe"],
    outputs: &["init", "pause", "hello", "probe"],
    sources: &["Cargo.toml", "Cargo.lock", "crates", "init", "image/images"],
    arguments: &[],
    environment: &[(
        "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
        "-Ctarget-feature=+crt-static -Crelocation-model=static",
    )],
    target_of: "static-programs",
};
/// Linked statically: each is alone in its root.
const GUESTS: Group = Group {
    name: "guests",
    hint: "what tests and measurements boot instead of a node, about 20 s",
    target: "x86_64-unknown-linux-gnu",
    packages: &["floor", "verify-reader"],
    outputs: &["floor", "verify-reader"],
    sources: &["Cargo.toml", "Cargo.lock", "tests/qemu/guests"],
    arguments: &[],
    environment: STATIC.environment,
    target_of: "guests",
};
/// What serves a node.
pub const DAEMONS: Group = Group {
    name: "daemons",
    hint: "machined, apid and the time daemon, about 5 min",
    target: "x86_64-unknown-linux-gnu",
    packages: &["machined", "apid", "ntp"],
    outputs: &["machined", "apid", "ntp"],
    sources: &["Cargo.toml", "Cargo.lock", "crates", "proto", "machined", "apid", "image/programs"],
    arguments: &[],
    // The kernel's generator is waited for and enough; timing the processor costs each start a long moment.
    environment: &[("AWS_LC_SYS_NO_JITTER_ENTROPY", "1")],
    target_of: "daemons",
};
/// Built as the daemons are, and alone: with them, its own features of libraries would have them all linked again.
const HOSTILE: Group = Group {
    name: "hostile",
    hint: "a test's apid, about 1 min",
    target: DAEMONS.target,
    packages: &["hostile-apid"],
    outputs: &["hostile-apid"],
    sources: &[
        "Cargo.toml",
        "Cargo.lock",
        "crates",
        "proto",
        "machined",
        "apid",
        "image/programs",
        "tests/qemu/hostile-apid",
    ],
    arguments: DAEMONS.arguments,
    environment: DAEMONS.environment,
    target_of: DAEMONS.name,
};

/// A change of one file of the sources.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// Artifact with the result.
    pub name: &'static str,
    /// The file.
    pub file: &'static str,
    /// What stands in it once.
    pub from: &'static str,
    /// What is to stand there.
    pub to: &'static str,
}

/// What is on a device.
pub const SHIPPED: [&Group; 3] = [&SELECTOR, &STATIC, &DAEMONS];

/// Folders with the built programs.
#[derive(Clone, Debug)]
pub struct RustPrograms {
    /// Holds `boot.efi`.
    pub selector: Artifact,
    /// Holds `init`, `pause`, `hello`, `probe`.
    pub statics: Artifact,
    /// Holds `machined`, `apid`, `ntp`.
    pub daemons: Artifact,
    /// Holds `floor`, `verify-reader`: never on a node.
    pub guests: Artifact,
}

/// Builds everything of ours that runs on a device.
pub fn provide(repository: &Path, sdk: &Sdk) -> Result<RustPrograms> {
    Ok(RustPrograms {
        selector: build(repository, sdk, &SELECTOR)?,
        statics: build(repository, sdk, &STATIC)?,
        daemons: build(repository, sdk, &DAEMONS)?,
        guests: build(repository, sdk, &GUESTS)?,
    })
}

/// Builds what stands in apid's place on the disk of one test.
pub fn hostile(repository: &Path, sdk: &Sdk) -> Result<Artifact> {
    build(repository, sdk, &HOSTILE)
}

/// Builds a group from sources that differ a little, as those of the next release do: for measurements of updates.
pub fn edited(repository: &Path, sdk: &Sdk, of: &Group, edit: &Edit) -> Result<Artifact> {
    let key = key(repository, sdk, of)?.text(edit.file).text(edit.from).text(edit.to);
    cache::artifact(edit.name, key, of.hint, |into| compile(repository, sdk, of, Some(edit), into))
}

fn build(repository: &Path, sdk: &Sdk, group: &Group) -> Result<Artifact> {
    let key = key(repository, sdk, group)?;
    cache::artifact(group.name, key, group.hint, |into| compile(repository, sdk, group, None, into))
}

fn key(repository: &Path, sdk: &Sdk, group: &Group) -> Result<Key> {
    let mut key = Key::new(group.name, 1).text(&sdk.key).text(&group.arguments.join(" "));
    for source in group.sources {
        key = key.path(repository, source)?;
    }
    for (name, value) in group.environment {
        key = key.text(name).text(value);
    }
    Ok(key)
}

fn compile(repository: &Path, sdk: &Sdk, group: &Group, edit: Option<&Edit>, into: &Path) -> Result<()> {
    let scratch = cache::scratch("rust")?;
    let _lock = cache::lock(&scratch.join(".lock"), group.name)?;
    let sources = cache::scratch("rust/source")?;
    mirror(repository, &sources)?;
    if let Some(edit) = edit {
        apply(edit, &sources)?;
    }
    fetch(repository, sdk)?;
    let log = cache::scratch("logs")?.join(format!("{}.log", group.name));
    cache::remove(&log)?;
    let target = cache::scratch(&format!("rust/target-{}", group.target_of))?;
    let mut command = sdk
        .command("cargo")
        .bind(&sources, "/cairn/source")
        .bind(&target, "/cairn/target")
        .bind(&cargo_home()?, "/cairn/cargo")
        .directory("/cairn/source")
        .env("CARGO_HOME", "/cairn/cargo")
        .env("CARGO_TARGET_DIR", "/cairn/target")
        .args(["build", "--release", "--offline", "--locked", "--target", group.target])
        .args(group.arguments.iter().copied());
    for package in group.packages {
        command = command.args(["--package", package]);
    }
    for (name, value) in group.environment {
        command = command.env(name, value);
    }
    command.run_logged(&log)?;
    for output in group.outputs {
        let built = target.join(group.target).join("release").join(output);
        fs::copy(&built, into.join(output)).with_context(|| format!("no {}", built.display()))?;
    }
    Ok(())
}

/// Downloads the locked crates with the host's cargo, so that the build inside the SDK needs no network: ours, and
/// those of the standard library, which the selector builds for UEFI.
fn fetch(repository: &Path, sdk: &Sdk) -> Result<()> {
    let library = sdk.root.join("usr/lib/rustlib/src/rust/library/Cargo.toml");
    for manifest in [repository.join("Cargo.toml"), library] {
        let output = Command::new("cargo")
            .args(["fetch", "--locked", "--quiet", "--manifest-path"])
            .arg(&manifest)
            .env("RUSTC_BOOTSTRAP", "1")
            .output()?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("cargo fetch for {} failed: {}", manifest.display(), errors.trim());
        }
    }
    Ok(())
}

fn cargo_home() -> Result<PathBuf> {
    match std::env::var_os("CARGO_HOME") {
        Some(home) => Ok(home.into()),
        None => Ok(PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cargo")),
    }
}

fn apply(edit: &Edit, sources: &Path) -> Result<()> {
    let Edit { file, from, to, .. } = edit;
    let path = sources.join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if text.matches(from).count() != 1 {
        bail!("{file} does not have {from:?} once");
    }
    Ok(fs::write(path, text.replace(from, to))?)
}

/// Makes `to` equal to `from`, touching only files that differ.
fn mirror(from: &Path, to: &Path) -> Result<()> {
    let mut kept = BTreeSet::new();
    for file in cache::files_below(from)? {
        let relative = file.strip_prefix(from)?.to_owned();
        if relative.starts_with(".cargo") {
            continue;
        }
        let target = to.join(&relative);
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if fs::read(&target).ok().as_ref() != Some(&content) {
            fs::create_dir_all(target.parent().context("file without a folder")?)?;
            fs::write(&target, content)?;
        }
        kept.insert(target);
    }
    for file in cache::files_below(to)? {
        if !kept.contains(&file) {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_keeps_the_mtime_of_equal_files_and_removes_strays() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("a")).unwrap();
        fs::write(from.path().join("a/one"), "1").unwrap();
        fs::write(from.path().join("two"), "2").unwrap();
        mirror(from.path(), to.path()).unwrap();
        let before = fs::metadata(to.path().join("a/one")).unwrap().modified().unwrap();
        fs::write(from.path().join("a/one"), "1").unwrap();
        fs::write(from.path().join("two"), "two").unwrap();
        fs::write(to.path().join("stray"), "").unwrap();
        mirror(from.path(), to.path()).unwrap();
        assert_eq!(fs::metadata(to.path().join("a/one")).unwrap().modified().unwrap(), before);
        assert_eq!(fs::read_to_string(to.path().join("two")).unwrap(), "two");
        assert!(!to.path().join("stray").exists());
    }
}

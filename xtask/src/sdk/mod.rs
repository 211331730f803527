//! The SDK: a Debian root in the cache with every tool that builds what runs on a device.

pub mod exec;
pub mod lock;
mod mirror;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cache::{self, Artifact, Key},
    host,
    report::say,
};
pub use exec::SdkCommand;

const SUITE: &str = "trixie";
/// Packages asked for by name; their dependencies follow.
const PACKAGES: &[&str] = &[
    // The kernel and its tools.
    "linux-source-6.12",
    "gcc",
    "make",
    "bc",
    "bison",
    "flex",
    "libelf-dev",
    "libssl-dev",
    "cpio",
    "kmod",
    "xz-utils",
    "lz4",
    "perl",
    "python3-minimal",
    "patch",
    // Rust and Go programs.
    "libc6-dev",
    "g++",
    "cmake",
    "lld",
    "ca-certificates",
    "git",
    "file",
    // The image.
    "erofs-utils",
    "cryptsetup-bin",
    "systemd-boot-efi",
    "mtools",
    "dosfstools",
    "zstd",
    "e2fsprogs",
    "crun",
    "nftables",
    "mount",
    // Running it.
    "qemu-system-x86",
    "qemu-utils",
    "ovmf",
    // The yardstick of the measurements: a shell script as PID 1. Never in an image.
    "busybox-static",
];
const BACKPORTS: &[&str] = &["rustc", "cargo", "rust-src", "golang-1.26-go"];

/// A ready SDK.
#[derive(Clone, Debug)]
pub struct Sdk {
    /// Root directory.
    pub root: PathBuf,
    /// Artifact key, for the keys of what is built with it.
    pub key: String,
    /// False when the mirror no longer had all locked versions.
    pub locked: bool,
}

impl Sdk {
    /// A command inside the SDK.
    pub fn command(&self, program: &str) -> SdkCommand {
        SdkCommand::new(&self.root, program)
    }
}

/// Makes the SDK, or takes it from the cache.
pub fn provide(repository: &Path) -> Result<Sdk> {
    host::prepare()?;
    let locked = lock::read(repository)?;
    let key = Key::new("sdk", 4)
        .text(&PACKAGES.join(" "))
        .text(&BACKPORTS.join(" "))
        .path(repository, lock::PATH)?;
    let made = cache::artifact("sdk", key, "Debian packages, about 2 min", |into| make(&locked, into))?;
    open(&made)
}

/// Writes the lock anew from what the mirror has now.
pub fn relock(repository: &Path) -> Result<()> {
    host::prepare()?;
    let scratch = cache::scratch("lock")?;
    cache::remove(&scratch)?;
    fs::create_dir_all(&scratch)?;
    make(&lock::Packages::new(), &scratch)?;
    let packages = lock::installed(&scratch.join("root"))?;
    lock::write(repository, &packages)?;
    cache::remove(&scratch)?;
    say(&format!("{} packages locked in {}", packages.len(), lock::PATH));
    Ok(())
}

/// Programs that updates are measured against, and a package of another version.
#[derive(Clone, Debug)]
pub struct Rivals {
    /// Root directory with casync and zchunk.
    pub root: PathBuf,
    /// crun of Debian's development branch.
    pub crun: PathBuf,
    /// Its version.
    pub crun_version: String,
}

/// Fetches the rivals, or takes them from the cache.
pub fn rivals() -> Result<Rivals> {
    host::prepare()?;
    let key = Key::new("rivals", 1);
    let made = cache::artifact("rivals", key, "Debian packages of other updaters, about 1 min", |into| {
        let mirror = mirror::find()?;
        // A snapshot of the development branch does as well, however old.
        let sources =
            format!("deb {0} {SUITE} main\ndeb [check-valid-until=no] {0} sid main\n", mirror.archive);
        let preferences = into.join("preferences");
        fs::write(&preferences, "Package: *\nPin: release n=sid\nPin-Priority: 100\n")?;
        let unpack = "--customize-hook=chroot \"$1\" sh -ec 'cd /srv; apt-get download crun/sid; \
                      dpkg-deb --field crun_*.deb Version > version; dpkg-deb --extract crun_*.deb .'";
        bootstrap(&["casync", "zchunk"], &sources, &preferences, &[unpack], into).map(drop)
    })?;
    let root = made.path.join("root");
    let crun_version = fs::read_to_string(root.join("srv/version"))?.trim().to_owned();
    Ok(Rivals { crun: root.join("srv/usr/bin/crun"), crun_version, root })
}

fn open(made: &Artifact) -> Result<Sdk> {
    let unlocked = fs::read_to_string(made.path.join("unlocked"))?;
    if !unlocked.is_empty() {
        say(&format!(
            "  sdk: {} packages differ from {} (the mirror moved on); images are marked as unlocked",
            unlocked.lines().count(),
            lock::PATH
        ));
    }
    Ok(Sdk { root: made.path.join("root"), key: made.key.clone(), locked: unlocked.is_empty() })
}

fn make(locked: &lock::Packages, into: &Path) -> Result<()> {
    let sources = sources(&mirror::find()?);
    let preferences = into.join("preferences");
    let backports: String = BACKPORTS
        .iter()
        .map(|p| format!("Package: *{p}*\nPin: release n={SUITE}-backports\nPin-Priority: 700\n\n"))
        .collect();
    let rust = "Package: libstd-rust-*\nPin: release n=trixie-backports\nPin-Priority: 700\n\n";
    let mut pinned = locked.clone();
    let root = loop {
        fs::write(&preferences, format!("{}{backports}{rust}", lock::preferences(&pinned)))?;
        let root = bootstrap(&[PACKAGES, BACKPORTS].concat(), &sources, &preferences, &[], into)?;
        let torn = lock::torn(&lock::origins(&root)?, &pinned);
        if torn.is_empty() {
            break root;
        }
        say(&format!(
            "  sdk: the mirror has a part of {} in the locked version; taking the current one",
            torn.join(", ")
        ));
        pinned.retain(|name, _| !torn.contains(name));
        cache::remove(&root)?;
    };
    let unlocked = if locked.is_empty() {
        vec!["no lock file".to_owned()]
    } else {
        lock::differences(locked, &lock::installed(&root)?)
    };
    fs::write(into.join("unlocked"), unlocked.join("\n"))?;
    Ok(())
}

/// Makes a Debian root in `into/root`.
fn bootstrap(
    packages: &[&str],
    sources: &str,
    preferences: &Path,
    options: &[&str],
    into: &Path,
) -> Result<PathBuf> {
    let mode = if host::is_root() { "root" } else { "unshare" };
    let copy = format!("copy-in {} /etc/apt/preferences.d", preferences.display());
    let (archive, list, log) = (into.join("root.tar"), into.join("root.sources.list"), into.join("root.log"));
    fs::write(&list, sources)?;
    let file = fs::File::create(&log)?;
    let status = Command::new("mmdebstrap")
        .arg(format!("--mode={mode}"))
        .args(["--variant=apt", "--format=tar", "--aptopt=Apt::Install-Recommends \"false\""])
        .args(["--aptopt=Acquire::Retries \"3\"", "--skip=cleanup/apt/lists"])
        .arg(format!("--setup-hook={copy}"))
        .arg(format!("--include={}", packages.join(",")))
        .args(options)
        .arg(SUITE)
        .arg(&archive)
        .arg(&list)
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .context("cannot run mmdebstrap")?;
    if !status.success() {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(15).collect();
        bail!("mmdebstrap failed ({status}):\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    let root = into.join("root");
    fs::create_dir(&root)?;
    let status = Command::new("tar")
        .args(["--extract", "--no-same-owner", "--exclude=./dev/*", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(&root)
        .status()?;
    if !status.success() {
        bail!("cannot unpack {} ({status}); is the disk full?", archive.display());
    }
    fs::remove_file(&archive)?;
    Ok(root)
}

fn sources(mirror: &mirror::Mirror) -> String {
    let archive = &mirror.archive;
    let mut text = String::new();
    for suite in [SUITE.to_owned(), format!("{SUITE}-updates"), format!("{SUITE}-backports")] {
        text.push_str(&format!("deb {archive} {suite} main\n"));
    }
    if let Some(security) = &mirror.security {
        text.push_str(&format!("deb {security} {SUITE}-security main\n"));
    }
    text
}

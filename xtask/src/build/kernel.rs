//! The kernel: Debian's 6.12 source, Cairn's patches, fragments per concern on allnoconfig.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cache::{self, Artifact, Key},
    sdk::Sdk,
};

const SOURCE: &str = "/usr/src/linux-source-6.12.tar.xz";
/// Debian package of the source.
pub const PACKAGE: &str = "linux-source-6.12";
const FOLDERS: [&str; 2] = ["fragments", "x86_64"];

/// A built kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// EFI-stub bzImage.
    pub image: PathBuf,
    /// Final configuration.
    pub config: PathBuf,
    /// List of built-in modules for `/lib/modules/<release>`.
    pub modules_builtin: PathBuf,
    /// `uname -r`.
    pub release: String,
    /// Artifact key.
    pub key: String,
}

/// Builds the kernel, or takes it from the cache.
pub fn provide(repository: &Path, sdk: &Sdk) -> Result<Kernel> {
    let source_version = source_version(sdk)?;
    let key = Key::new("kernel", 1).text(&source_version).path(repository, "kernel-config")?;
    let made = cache::artifact("kernel", key, "Linux 6.12, about 12 min on 2 cores", |into| {
        build(repository, sdk, &source_version, "", into)
    })?;
    open(made)
}

/// Builds the kernel again under another name: what a later one shares with it, at most. For measurements of updates.
pub fn renamed(repository: &Path, sdk: &Sdk, kernel: &Kernel) -> Result<Kernel> {
    const SUFFIX: &str = "-next";
    let source_version = source_version(sdk)?;
    let key = Key::new("renamed-kernel", 1).text(&kernel.key).text(SUFFIX);
    let made =
        cache::artifact("renamed-kernel", key, "the kernel under another name, about 2 min", |into| {
            build(repository, sdk, &source_version, SUFFIX, into)
        })?;
    open(made)
}

fn open(made: Artifact) -> Result<Kernel> {
    let file = |name: &str| made.path.join(name);
    Ok(Kernel {
        image: file("bzImage"),
        config: file("config"),
        modules_builtin: file("modules.builtin"),
        release: fs::read_to_string(file("release"))?.trim().to_owned(),
        key: made.key,
    })
}

/// Configures only and checks every fragment line: seconds instead of minutes.
pub fn check(repository: &Path, sdk: &Sdk) -> Result<()> {
    let tree = tree(repository, sdk, &source_version(sdk)?)?;
    configure(repository, sdk, &tree)
}

fn source_version(sdk: &Sdk) -> Result<String> {
    let output = sdk.command("dpkg-query").args(["-W", "-f", "${Version}", PACKAGE]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Source and object trees in the cache; make builds only what changed.
struct Tree {
    source: PathBuf,
    objects: PathBuf,
    log: PathBuf,
}

fn tree(repository: &Path, sdk: &Sdk, version: &str) -> Result<Tree> {
    let key = Key::new("tree", 1).text(version).path(repository, "kernel-config/patches")?.finish();
    let folder = cache::scratch("kernel-tree")?.join(key);
    let source = folder.join("source");
    if !source.exists() {
        unpack(repository, sdk, &folder)?;
    }
    Ok(Tree { source, objects: folder.join("objects"), log: folder.join("build.log") })
}

fn unpack(repository: &Path, sdk: &Sdk, folder: &Path) -> Result<()> {
    let temporary = folder.with_extension("tmp");
    cache::remove(&temporary)?;
    fs::create_dir_all(temporary.join("objects"))?;
    let log = temporary.join("build.log");
    let run = |program: &str, arguments: &[&str]| {
        sdk.command(program)
            .bind(&temporary, "/cairn/kernel")
            .bind(&repository.join("kernel-config"), "/cairn/config")
            .directory("/cairn/kernel")
            .args(arguments.iter().copied())
            .run_logged(&log)
    };
    run("tar", &["--extract", "--no-same-owner", "--file", SOURCE])?;
    fs::rename(temporary.join("linux-source-6.12"), temporary.join("source"))?;
    for patch in cache::files_below(&repository.join("kernel-config/patches"))? {
        let name = patch.file_name().context("patch without a name")?.to_string_lossy().into_owned();
        run("patch", &["--directory=source", "--strip=1", &format!("--input=/cairn/config/patches/{name}")])?;
    }
    fs::rename(&temporary, folder)?;
    Ok(())
}

fn build(repository: &Path, sdk: &Sdk, version: &str, suffix: &str, into: &Path) -> Result<()> {
    let tree = tree(repository, sdk, version)?;
    let _lock = cache::lock(&tree.objects.join(".lock"), "kernel")?;
    configure(repository, sdk, &tree)?;
    let suffix = format!("LOCALVERSION={suffix}");
    make(sdk, &tree, &[&suffix, "bzImage", "modules.builtin"])?;
    for (from, to) in [
        ("arch/x86/boot/bzImage", "bzImage"),
        (".config", "config"),
        ("modules.builtin", "modules.builtin"),
        ("include/config/kernel.release", "release"),
    ] {
        fs::copy(tree.objects.join(from), into.join(to)).with_context(|| format!("kernel output {from}"))?;
    }
    Ok(())
}

fn make(sdk: &Sdk, tree: &Tree, targets: &[&str]) -> Result<()> {
    let jobs = std::thread::available_parallelism()?.get() + 1;
    sdk.command("make")
        .bind(&tree.source, "/cairn/kernel/source")
        .bind(&tree.objects, "/cairn/kernel/objects")
        .env("KBUILD_BUILD_TIMESTAMP", "1970-01-01")
        // Else make counts builds in one tree.
        .env("KBUILD_BUILD_VERSION", "1")
        .env("KBUILD_BUILD_USER", "cairn")
        .env("KBUILD_BUILD_HOST", "cairn")
        .args([
            "-C",
            "/cairn/kernel/source",
            "O=/cairn/kernel/objects",
            "ARCH=x86_64",
            "-s",
            &format!("-j{jobs}"),
        ])
        .args(targets.iter().copied())
        .run_logged(&tree.log)
}

fn configure(repository: &Path, sdk: &Sdk, tree: &Tree) -> Result<()> {
    let wanted = fragments(repository)?;
    make(sdk, tree, &["allnoconfig"])?;
    let config = tree.objects.join(".config");
    let mut text = fs::read_to_string(&config)?;
    for line in &wanted {
        // The last line of an option wins when the kernel reads a .config.
        text.push_str(&line.assignment());
    }
    fs::write(&config, text)?;
    make(sdk, tree, &["olddefconfig"])?;
    let lost = lost(&wanted, &fs::read_to_string(&config)?);
    if !lost.is_empty() {
        bail!(
            "Kconfig dropped these lines (a gate or dependency is missing, or the option is gone in this version):\n  {}",
            lost.join("\n  ")
        );
    }
    Ok(())
}

/// A line of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    option: String,
    value: String,
}

impl Line {
    fn assignment(&self) -> String {
        match self.value.as_str() {
            "n" => format!("# {} is not set\n", self.option),
            value => format!("{}={value}\n", self.option),
        }
    }
}

fn fragments(repository: &Path) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for folder in FOLDERS {
        for path in cache::files_below(&repository.join("kernel-config").join(folder))? {
            let text = fs::read_to_string(&path)?;
            parse(&text, &mut lines).with_context(|| path.display().to_string())?;
        }
    }
    Ok(lines)
}

fn parse(text: &str, lines: &mut Vec<Line>) -> Result<()> {
    for text in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((option, value)) = text.split_once('=').filter(|(option, _)| option.starts_with("CONFIG_"))
        else {
            bail!("{text:?} is not CONFIG_NAME=value");
        };
        if lines.iter().any(|line| line.option == option) {
            bail!("{option} stands twice in the fragments");
        }
        lines.push(Line { option: option.to_owned(), value: value.to_owned() });
    }
    Ok(())
}

fn lost(wanted: &[Line], config: &str) -> Vec<String> {
    let set: std::collections::HashMap<&str, &str> =
        config.lines().filter_map(|line| line.split_once('=')).collect();
    wanted
        .iter()
        .filter(|line| set.get(line.option.as_str()).copied().unwrap_or("n") != line.value)
        .map(|line| format!("{}={}", line.option, line.value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_lines_are_found() {
        let mut wanted = Vec::new();
        parse("# why\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=64\nCONFIG_D=n\n", &mut wanted).unwrap();
        assert!(lost(&wanted, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=64\n").is_empty());
        assert_eq!(lost(&wanted, "CONFIG_B=y\nCONFIG_C=65\n"), ["CONFIG_A=y", "CONFIG_B=n", "CONFIG_C=64"]);
    }

    #[test]
    fn an_option_stands_once() {
        let mut lines = Vec::new();
        parse("CONFIG_A=y\n", &mut lines).unwrap();
        assert!(parse("CONFIG_A=n\n", &mut lines).is_err());
        assert!(parse("A=y\n", &mut lines).is_err());
    }
}

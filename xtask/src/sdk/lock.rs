//! The lock of the SDK: every Debian package with version and hash, in `image/debian.lock`.
//!
//! A mirror moves on. Where it no longer has a locked version the current one is taken, and the SDK says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, bail};

use super::exec::SdkCommand;

/// Path of the lock in the source tree.
pub const PATH: &str = "image/debian.lock";
const HEADER: &str =
    "# Debian packages of the SDK: name, version, SHA-256 of the package file. Renew: cargo xtask lock\n";

/// A package's version and hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// Debian version.
    pub version: String,
    /// SHA-256 of the .deb, hex; empty when the archive's index no longer lists it.
    pub sha256: String,
}

/// Packages by name.
pub type Packages = BTreeMap<String, Locked>;

/// Reads the lock; an absent one is empty.
pub fn read(repository: &Path) -> Result<Packages> {
    let path = repository.join(PATH);
    if !path.exists() {
        return Ok(Packages::new());
    }
    let text = fs::read_to_string(&path)?;
    parse(&text).with_context(|| format!("{} is damaged; cargo xtask lock writes it anew", path.display()))
}

/// Writes the lock.
pub fn write(repository: &Path, packages: &Packages) -> Result<()> {
    let mut text = HEADER.to_owned();
    for (name, locked) in packages {
        writeln!(text, "{name} {} {}", locked.version, locked.sha256)?;
    }
    Ok(fs::write(repository.join(PATH), text)?)
}

/// apt preferences that prefer each locked version, even to a newer one (apt_preferences(5)).
pub fn preferences(packages: &Packages) -> String {
    packages.iter().fold(String::new(), |mut text, (name, locked)| {
        let bare = name.split(':').next().unwrap_or(name);
        writeln!(text, "Package: {bare}\nPin: version {}\nPin-Priority: 1001\n", locked.version).ok();
        text
    })
}

/// What is installed in an SDK, with the hashes of the archive's index.
pub fn installed(root: &Path) -> Result<Packages> {
    let query = ["-W", "-f", "${Package}:${Architecture} ${Version}\n"];
    let list = SdkCommand::new(root, "dpkg-query").args(query).output()?;
    let list = String::from_utf8(list.stdout)?;
    let mut packages = Packages::new();
    let mut wanted = Vec::new();
    for line in list.lines() {
        let (name, version) = line.split_once(' ').context("unexpected output of dpkg-query")?;
        packages.insert(name.to_owned(), Locked { version: version.to_owned(), sha256: String::new() });
        wanted.push(format!("{}={version}", name.trim_end_matches(":all")));
    }
    let index =
        SdkCommand::new(root, "apt-cache").args(["show", "--no-all-versions"]).args(wanted).output()?;
    for stanza in String::from_utf8_lossy(&index.stdout).split("\n\n") {
        let field = |name: &str| stanza.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
        let (Some(package), Some(architecture), Some(version), Some(sha256)) =
            (field("Package"), field("Architecture"), field("Version"), field("SHA256"))
        else {
            continue;
        };
        if let Some(locked) = packages.get_mut(&format!("{package}:{architecture}"))
            && locked.version == version
        {
            locked.sha256 = sha256.to_owned();
        }
    }
    Ok(packages)
}

/// The source package that an installed package was built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Name of the source package.
    pub source: String,
    /// Its version; that of the package itself may count rebuilds besides.
    pub source_version: String,
    /// Version of the package.
    pub version: String,
}

/// Where the installed packages come from.
pub fn origins(root: &Path) -> Result<BTreeMap<String, Origin>> {
    let form = "${Package}:${Architecture} ${source:Package} ${source:Version} ${Version}\n";
    let list = SdkCommand::new(root, "dpkg-query").args(["-W", "-f", form]).output()?;
    let list = String::from_utf8(list.stdout)?;
    let origin = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [name, source, source_version, version] = fields[..] else { return None };
        let [source, source_version, version] = [source, source_version, version].map(str::to_owned);
        Some((name.to_owned(), Origin { source, source_version, version }))
    };
    list.lines().map(|line| origin(line).context("unexpected output of dpkg-query")).collect()
}

/// Pinned packages of which the mirror has only a part in the locked version, so that those installed do not fit
/// together, such as a compiler and the source of its library.
pub fn torn(installed: &BTreeMap<String, Origin>, pinned: &Packages) -> Vec<String> {
    let is_as_pinned =
        |name: &str, origin: &Origin| pinned.get(name).is_some_and(|locked| locked.version == origin.version);
    let mut versions = BTreeMap::<&str, BTreeSet<&str>>::new();
    for origin in installed.values() {
        versions.entry(&origin.source).or_default().insert(&origin.source_version);
    }
    let is_mixed = |source: &str| versions.get(source).is_some_and(|versions| versions.len() > 1);
    let moved: BTreeSet<&str> = installed
        .iter()
        .filter(|(name, origin)| is_mixed(&origin.source) && !is_as_pinned(name, origin))
        .map(|(_, origin)| origin.source.as_str())
        .collect();
    let of_moved = installed.iter().filter(|(_, origin)| moved.contains(origin.source.as_str()));
    of_moved.map(|(name, _)| name).filter(|name| pinned.contains_key(*name)).cloned().collect()
}

/// Lines that say where an SDK differs from the lock.
pub fn differences(locked: &Packages, installed: &Packages) -> Vec<String> {
    let missing = locked
        .iter()
        .filter(|(name, _)| !installed.contains_key(*name))
        .map(|(name, was)| format!("{name}: {} locked, not installed", was.version));
    let changed = installed.iter().filter_map(|(name, now)| match locked.get(name) {
        None => Some(format!("{name}: {} not locked", now.version)),
        Some(was) if was != now => Some(format!("{name}: {} locked, {} taken", was.version, now.version)),
        Some(_) => None,
    });
    missing.chain(changed).collect()
}

fn parse(text: &str) -> Result<Packages> {
    let mut packages = Packages::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [name, version, sha256] = fields[..] else { bail!("line {line:?} has not three fields") };
        packages.insert(name.into(), Locked { version: version.into(), sha256: sha256.into() });
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_what_moved() {
        let locked = parse("# x\na:amd64 1 aa\nb:all 2 bb\nc:all 3 cc\n").unwrap();
        let mut now = locked.clone();
        assert!(differences(&locked, &now).is_empty());
        now.insert("b:all".into(), Locked { version: "2.1".into(), sha256: "b1".into() });
        now.remove("c:all");
        now.insert("d:all".into(), Locked { version: "4".into(), sha256: "dd".into() });
        let lines = differences(&locked, &now);
        assert_eq!(
            lines,
            ["c:all: 3 locked, not installed", "b:all: 2 locked, 2.1 taken", "d:all: 4 not locked"]
        );
    }

    #[test]
    fn packages_of_one_source_are_of_one_version() {
        let pinned =
            parse("cc:amd64 1-1 aa\nlib-src:all 1-1 bb\nother:amd64 1-1+b1 cc\nfree:amd64 2 dd\n").unwrap();
        let origin = |source: &str, source_version: &str, version: &str| Origin {
            source: source.into(),
            source_version: source_version.into(),
            version: version.into(),
        };
        let mut installed = BTreeMap::from([
            ("cc:amd64".to_owned(), origin("cc", "1-1", "1-1")),
            ("lib-src:all".to_owned(), origin("cc", "1-1", "1-1")),
            ("other:amd64".to_owned(), origin("other", "1-1", "1-1+b1")),
        ]);
        assert!(torn(&installed, &pinned).is_empty());
        installed.insert("cc:amd64".into(), origin("cc", "2-1", "2-1"));
        assert_eq!(torn(&installed, &pinned), ["cc:amd64", "lib-src:all"]);
        let freed = Packages::from([("other:amd64".to_owned(), pinned["other:amd64"].clone())]);
        assert!(torn(&installed, &freed).is_empty(), "what is not pinned is not asked for again and again");
        // Mixed in the lock itself.
        let mixed = parse("cc:amd64 2-1 aa\nlib-src:all 1-1 bb\n").unwrap();
        assert!(torn(&installed, &mixed).is_empty());
    }

    #[test]
    fn a_damaged_lock_is_refused() {
        assert!(parse("a:amd64 1\n").is_err());
    }

    #[test]
    fn preferences_pin_every_package() {
        let locked = parse("a:amd64 1 aa\n").unwrap();
        assert_eq!(preferences(&locked), "Package: a\nPin: version 1\nPin-Priority: 1001\n\n");
    }
}

//! Debian packages: which one a file of the SDK is of, by dpkg's own database.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use release::sbom::Component;

use crate::sdk::lock;

const DATABASE: &str = "var/lib/dpkg";
/// Made when it is installed, so it is in no package's list.
const GENERATED: [(&str, &str); 1] = [("/etc/ssl/certs/ca-certificates.crt", "ca-certificates")];

/// The packages of an SDK.
pub struct Packages {
    /// Package by path.
    owners: BTreeMap<String, String>,
    components: BTreeMap<String, Component>,
}

impl Packages {
    /// Reads the SDK's database; digests of the packages are in the lock.
    pub fn read(sdk: &Path, repository: &Path) -> Result<Self> {
        let locked = lock::read(repository)?;
        let status = fs::read_to_string(sdk.join(DATABASE).join("status"))?;
        let mut components = BTreeMap::new();
        for (name, architecture, version) in installed(&status) {
            let copyright =
                fs::read(sdk.join("usr/share/doc").join(&name).join("copyright")).unwrap_or_default();
            let entry =
                locked.get(&format!("{name}:{architecture}")).filter(|entry| entry.version == version);
            let component = Component {
                purl: purl(&name, &version, &architecture),
                name: name.clone(),
                version,
                license: None,
                license_comment: licenses(&String::from_utf8_lossy(&copyright)),
                checksum: entry
                    .map(|entry| ("SHA256", entry.sha256.clone()))
                    .filter(|(_, hash)| !hash.is_empty()),
            };
            components.insert(name, component);
        }
        Ok(Self { owners: owners(&sdk.join(DATABASE).join("info"))?, components })
    }

    /// The package of a file of the SDK.
    pub fn of_file(&self, path: &str) -> Result<&Component> {
        let generated = GENERATED.iter().find(|(file, _)| *file == path).map(|(_, package)| *package);
        let owner = generated.or_else(|| self.owners.get(path).map(String::as_str));
        self.named(owner.with_context(|| format!("{path} is of no Debian package"))?)
    }

    /// A package by its name.
    pub fn named(&self, name: &str) -> Result<&Component> {
        self.components.get(name).with_context(|| format!("the Debian package {name} is not installed"))
    }
}

/// Name, architecture and version of all packages in dpkg's status file.
fn installed(status: &str) -> Vec<(String, String, String)> {
    let fields = |stanza: &str| -> Option<(String, String, String)> {
        let field = |name: &str| {
            stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
        };
        (field("Status")?.ends_with(" installed")).then_some(())?;
        Some((field("Package")?, field("Architecture")?, field("Version")?))
    };
    status.split("\n\n").filter_map(fields).collect()
}

fn owners(info: &Path) -> Result<BTreeMap<String, String>> {
    let mut owners = BTreeMap::new();
    for entry in fs::read_dir(info).with_context(|| format!("cannot list {}", info.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(list) = name.strip_suffix(".list") else { continue };
        let package = list.split(':').next().unwrap_or(list);
        for file in fs::read_to_string(&path)?.lines() {
            // Some packages still say /lib for what lies in /usr/lib.
            let merged = ["/bin/", "/sbin/", "/lib/", "/lib64/"].iter().any(|old| file.starts_with(old));
            let file = if merged { format!("/usr{file}") } else { file.to_owned() };
            owners.insert(file, package.to_owned());
        }
    }
    Ok(owners)
}

/// The short names in a copyright file (DEP 5); they are Debian's and not all SPDX's.
fn licenses(copyright: &str) -> Option<String> {
    let names: BTreeSet<&str> =
        copyright.lines().filter_map(|line| line.strip_prefix("License: ")).map(str::trim).collect();
    let names: Vec<&str> = names.into_iter().collect();
    (!names.is_empty()).then(|| format!("Debian's copyright file names: {}", names.join("; ")))
}

/// Package URL, type deb.
fn purl(name: &str, version: &str, architecture: &str) -> String {
    let escaped = |text: &str| text.replace('%', "%25").replace('+', "%2B").replace(':', "%3A");
    format!("pkg:deb/debian/{}@{}?arch={architecture}", escaped(name), escaped(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_are_read() {
        let status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.41-12\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n";
        assert_eq!(installed(status), [("libc6".into(), "amd64".into(), "2.41-12".into())]);
    }

    #[test]
    fn files_have_owners_wherever_usr_was_merged() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("libc6:amd64.list"), "/lib/x/libc.so.6\n/usr/share/doc\n").unwrap();
        fs::write(folder.path().join("crun.list"), "/usr/bin/crun\n").unwrap();
        fs::write(folder.path().join("crun.md5sums"), "abc  usr/bin/crun\n").unwrap();
        let owners = owners(folder.path()).unwrap();
        assert_eq!(owners["/usr/lib/x/libc.so.6"], "libc6");
        assert_eq!(owners["/usr/bin/crun"], "crun");
    }

    #[test]
    fn purls_are_escaped_and_licences_named_once() {
        assert_eq!(
            purl("libstdc++6", "1:14.2-19~deb13u1", "amd64"),
            "pkg:deb/debian/libstdc%2B%2B6@1%3A14.2-19~deb13u1?arch=amd64"
        );
        let named = licenses("License: MIT\n text\nLicense: GPL-2+\n\nLicense: MIT\n");
        assert_eq!(named.unwrap(), "Debian's copyright file names: GPL-2+; MIT");
        assert_eq!(licenses("free text"), None);
    }
}

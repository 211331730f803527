//! Rust crates: what cargo links into each program, with the features that its build resolves.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use release::sbom::Component;
use serde::Deserialize;

use crate::build::rust::{Group, SHIPPED};

/// Crates in every program of ours, by the program's package.
pub fn read(repository: &Path) -> Result<BTreeMap<String, BTreeSet<Component>>> {
    let lock = std::fs::read_to_string(repository.join("Cargo.lock"))?;
    let checksums = checksums(&lock);
    let mut programs = BTreeMap::new();
    for group in SHIPPED {
        let metadata =
            cargo(repository, &["metadata", "--format-version", "1", "--filter-platform", group.target])?;
        let metadata: Metadata = serde_json::from_str(&metadata)?;
        let linked = linked(&tree(repository, group)?);
        for package in group.packages {
            let mut components = BTreeSet::new();
            for package in metadata.closure(package, &linked)? {
                components.insert(package.component(&checksums));
            }
            programs.insert((*package).to_owned(), components);
        }
    }
    Ok(programs)
}

/// What is linked into a group's programs: features are resolved as the build does, build scripts and macros left out.
fn tree(repository: &Path, group: &Group) -> Result<String> {
    let mut arguments = vec!["tree", "--edges", "normal,no-proc-macro", "--target", group.target];
    arguments.extend(["--prefix", "none", "--format", "{p}"]);
    for package in group.packages {
        arguments.extend(["--package", package]);
    }
    cargo(repository, &arguments)
}

fn cargo(repository: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("cargo");
    command.args(arguments).args(["--locked", "--offline"]).current_dir(repository);
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo {} failed: {}", arguments[0], String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Name and version of each line of a tree, such as `serde v1.0.229 (*)`.
fn linked(tree: &str) -> BTreeSet<(String, String)> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    };
    tree.lines().filter_map(line).collect()
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    id: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// None for what is linked.
    kind: Option<String>,
}

impl Metadata {
    /// The package and all that it links, as far as it is in `linked`.
    fn closure(&self, root: &str, linked: &BTreeSet<(String, String)>) -> Result<Vec<&Package>> {
        let packages: BTreeMap<&str, &Package> =
            self.packages.iter().map(|package| (package.id.as_str(), package)).collect();
        let nodes: BTreeMap<&str, &Node> =
            self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let root = self.packages.iter().find(|package| package.name == root && package.source.is_none());
        let root = root.context("no such package in the workspace")?;
        let (mut found, mut open) = (BTreeMap::from([(root.id.as_str(), root)]), vec![root.id.as_str()]);
        while let Some(id) = open.pop() {
            let node = nodes.get(id).with_context(|| format!("{id} is not resolved"))?;
            for dependency in &node.deps {
                let package = packages.get(dependency.pkg.as_str()).context("unknown dependency")?;
                let is_linked = dependency.dep_kinds.iter().any(|kind| kind.kind.is_none())
                    && linked.contains(&(package.name.clone(), package.version.clone()));
                if is_linked && found.insert(&package.id, package).is_none() {
                    open.push(&package.id);
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

impl Package {
    fn component(&self, checksums: &BTreeMap<(&str, &str), &str>) -> Component {
        let Self { name, version, .. } = self;
        let checksum = checksums.get(&(name.as_str(), version.as_str()));
        // Our own crates are on no registry.
        let kind = if self.source.is_some() { "cargo" } else { "generic/cairn" };
        Component {
            name: name.clone(),
            version: version.clone(),
            purl: format!("pkg:{kind}/{name}@{}", version.replace('+', "%2B")),
            license: self.license.as_deref().map(expression),
            license_comment: None,
            checksum: checksum.map(|checksum| ("SHA256", (*checksum).to_owned())),
        }
    }
}

/// Old manifests write a slash for OR.
fn expression(license: &str) -> String {
    license.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ")
}

/// Digests of the crates' archives in Cargo.lock, by name and version.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    lock.split("[[package]]").filter_map(checksum).collect()
}

fn checksum(stanza: &str) -> Option<((&str, &str), &str)> {
    let field = |name| {
        let value = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        value.map(|value| value.trim_matches('"'))
    };
    Some(((field("name")?, field("version")?), field("checksum")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let text = r#"{
            "packages": [
                {"name": "init", "version": "0.1.0", "id": "init", "license": "Apache-2.0", "source": null},
                {"name": "libc", "version": "0.2.1", "id": "libc", "license": "MIT/Apache-2.0", "source": "registry"},
                {"name": "cc", "version": "1.0.0", "id": "cc", "license": null, "source": "registry"},
                {"name": "extra", "version": "1.0.0", "id": "extra", "license": null, "source": "registry"}
            ],
            "resolve": {"nodes": [
                {"id": "init", "deps": [
                    {"pkg": "libc", "dep_kinds": [{"kind": null}]},
                    {"pkg": "cc", "dep_kinds": [{"kind": "build"}]},
                    {"pkg": "extra", "dep_kinds": [{"kind": null}]}
                ]},
                {"id": "libc", "deps": []}
            ]}
        }"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn only_what_is_linked_counts() {
        let linked = linked("init v0.1.0 (/source/init)\nlibc v0.2.1\ncc v1.0.0\nlibc v0.2.1 (*)\n\n");
        let lock = "version = 4\n\n[[package]]\nname = \"libc\"\nversion = \"0.2.1\"\nchecksum = \"aa\"\n";
        let metadata = metadata();
        let found: Vec<Component> = metadata
            .closure("init", &linked)
            .unwrap()
            .iter()
            .map(|package| package.component(&checksums(lock)))
            .collect();
        let purls: Vec<&str> = found.iter().map(|one| one.purl.as_str()).collect();
        assert_eq!(purls, ["pkg:generic/cairn/init@0.1.0", "pkg:cargo/libc@0.2.1"]);
        assert_eq!(found[1].license.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(expression("MIT / Zlib"), "MIT OR Zlib");
        assert_eq!(found[1].checksum, Some(("SHA256", "aa".into())));
        assert!(metadata.closure("libc", &linked).is_err(), "a stranger's package is no program of ours");
    }
}

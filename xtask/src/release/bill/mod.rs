//! Collects the bill of materials: every file of an image, and what each is made of.
//!
//! Files of the root stand under their paths; beside it, `/BOOT-A` and `/BOOT-B` are the UKIs as they lie in those
//! partitions and `/ESP` is the EFI system partition, which updates leave alone.

mod crates;
mod modules;
mod packages;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use image::tree::Entry;
use release::sbom::{Bill, Component, File};

use self::packages::Packages;
use crate::build::{
    image::{Inputs, SlotFiles, plan},
    kernel,
};

const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// Part of every Rust program.
const RUST_STANDARD_LIBRARY: &str = "libstd-rust-dev";
/// Part of programs that are linked statically.
const C_LIBRARY: &str = "libc6-dev";
const SELECTOR: &str = "/ESP/EFI/BOOT/BOOTX64.EFI";

/// The bill of an image whose slots get these files.
pub fn collect(inputs: &Inputs, slots: &SlotFiles, created_s: u64) -> Result<Bill> {
    let sources = Sources::read(inputs)?;
    let mut files = Vec::new();
    for (path, entry) in plan(inputs)?.entries() {
        match entry {
            Entry::File { source, .. } => {
                let components = sources.of(source).with_context(|| format!("what {path} is made of"))?;
                files.push(file(path, source, components)?);
            }
            Entry::Text { content, .. } => files.push(File::new(path, content.as_bytes())),
            Entry::Directory { .. } | Entry::Link { .. } => {}
        }
    }
    for (path, uki) in [("/BOOT-A", &slots.a), ("/BOOT-B", &slots.b)] {
        let components = [sources.kernel.clone(), sources.packages.of_file(STUB)?.clone()];
        files.push(file(path, uki, components.into())?);
    }
    let selector = inputs.rust.selector.path.join("boot.efi");
    files.push(file(SELECTOR, &selector, sources.crates_of("boot", &[RUST_STANDARD_LIBRARY])?)?);
    Ok(Bill { version: inputs.version.clone(), created_s, files })
}

fn file(path: &str, source: &Path, components: BTreeSet<Component>) -> Result<File> {
    let content = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
    Ok(File { components, ..File::new(path, &content) })
}

/// What files can be made of.
struct Sources<'a> {
    inputs: &'a Inputs,
    packages: Packages,
    crates: BTreeMap<String, BTreeSet<Component>>,
    modules: BTreeMap<PathBuf, BTreeSet<Component>>,
    kernel: Component,
}

impl<'a> Sources<'a> {
    fn read(inputs: &'a Inputs) -> Result<Self> {
        let packages = Packages::read(&inputs.sdk.root, &inputs.repository)?;
        let mut modules = BTreeMap::new();
        for folder in [&inputs.go.kubernetes, &inputs.go.containerd, &inputs.go.cni, &inputs.go.coredns] {
            modules.extend(modules::read(&inputs.sdk, folder)?);
        }
        let kernel = Component {
            name: "linux".into(),
            license: Some("GPL-2.0-only WITH Linux-syscall-note".into()),
            license_comment: None,
            ..packages.named(kernel::PACKAGE)?.clone()
        };
        Ok(Self { inputs, packages, crates: crates::read(&inputs.repository)?, modules, kernel })
    }

    /// What the file is made of, by where it was built or taken from.
    fn of(&self, source: &Path) -> Result<BTreeSet<Component>> {
        let Inputs { sdk, rust, .. } = self.inputs;
        if let Ok(path) = source.strip_prefix(&sdk.root) {
            return Ok([self.packages.of_file(&format!("/{}", path.display()))?.clone()].into());
        }
        if let Some(modules) = self.modules.get(source) {
            return Ok(modules.clone());
        }
        if source == self.inputs.kernel.modules_builtin {
            return Ok([self.kernel.clone()].into());
        }
        let name = source.file_stem().unwrap_or_default().to_string_lossy();
        if source.starts_with(&rust.daemons.path) {
            return self.crates_of(&name, &[RUST_STANDARD_LIBRARY]);
        }
        let program = self.inputs.go.coredns.join(&*name);
        if let Some(modules) = self.modules.get(&program).filter(|_| is_archive(source)) {
            return Ok(modules.clone());
        }
        // PID 1, and the container images, which hold one program each.
        if source.starts_with(&rust.statics.path) || is_archive(source) {
            return self.crates_of(&name, &[RUST_STANDARD_LIBRARY, C_LIBRARY]);
        }
        bail!("{} comes from nowhere known", source.display())
    }

    fn crates_of(&self, program: &str, libraries: &[&str]) -> Result<BTreeSet<Component>> {
        let crates = self.crates.get(program).with_context(|| format!("{program} is no program of ours"))?;
        let mut components = crates.clone();
        for library in libraries {
            components.insert(self.packages.named(library)?.clone());
        }
        Ok(components)
    }
}

fn is_archive(source: &Path) -> bool {
    source.extension().is_some_and(|end| end == "tar")
}

//! From built programs to what boots: container images, root, UKIs, disks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use image::{
    disk::Disk,
    erofs::{self, RootImage},
    oci::{self, ContainerImage},
    root::{Parts, Release},
    tree::Tree,
    uki::{self, Uki},
};
use testbed::programs::Programs;

use super::{
    go::{self, GoPrograms},
    kernel::Kernel,
    rust::RustPrograms,
};
use crate::{
    cache::{self, Artifact, Key},
    sdk::Sdk,
};

/// Rises when the image library changes its output for the same parts; its source is in the key besides.
const REVISION: u32 = 1;
/// A root image is packed already; more effort would cost every build more than it saves.
const PACK_LEVEL: &str = "-9";
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// Lets tests break PID 1 on purpose; never in a release.
const TEST_HOOKS: &[&str] = &["cairn.test_hooks=1"];

/// A bootable image and its parts.
#[derive(Clone, Debug)]
pub struct Image {
    /// Raw disk.
    pub disk: PathBuf,
    /// Raw disk whose kernel command line allows test hooks.
    pub test_disk: PathBuf,
    /// Raw disk of the installer medium.
    pub installer: PathBuf,
    /// Root file system with its hash tree.
    pub root: PathBuf,
    /// Slot A's UKI; slot B's lies beside it.
    pub uki: PathBuf,
    /// Archive of the probe image.
    pub probe_image: PathBuf,
    /// Raw disk that boots as a node does, into an init that only says hello.
    pub floor_disk: PathBuf,
    /// Root file system with the reader of damaged verity devices as init.
    pub verify_reader: PathBuf,
}

/// A disk on which apid was taken over.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// Raw disk.
    pub disk: PathBuf,
    /// Root file system with its hash tree.
    pub root: PathBuf,
}

/// Everything that goes into an image.
pub struct Inputs<'a> {
    /// Source tree.
    pub repository: &'a Path,
    /// SDK.
    pub sdk: &'a Sdk,
    /// Kernel.
    pub kernel: &'a Kernel,
    /// Go programs.
    pub go: &'a GoPrograms,
    /// Rust programs.
    pub rust: &'a RustPrograms,
    /// Where the outputs are kept.
    pub store: &'a Path,
}

/// Assembles the image, or takes it from the cache.
pub fn provide(inputs: &Inputs<'_>) -> Result<Image> {
    let containers = containers(inputs)?;
    let root = root(inputs, &containers)?;
    let ukis = ukis(inputs, &root)?;
    let disks = disks(inputs, &root, &ukis)?;
    let installer = installer(inputs, &root, &ukis, &disks)?;
    let guests = guests(inputs)?;
    Ok(Image {
        disk: disks.path.join("cairn.img"),
        test_disk: disks.path.join("cairn-test.img"),
        installer: installer.path.join("cairn-installer.img"),
        root: root.path.join("root.img"),
        uki: ukis.path.join("a.efi"),
        probe_image: containers.path.join("probe.tar"),
        floor_disk: guests.path.join("floor.img"),
        verify_reader: guests.path.join("verify-reader.img"),
    })
}

/// The release's image but for apid, for one test.
pub fn hostile(inputs: &Inputs<'_>, apid: &Artifact) -> Result<Hostile> {
    let containers = containers(inputs)?;
    let key = root_key(inputs, &containers)?.text(&apid.key).text(&inputs.rust.selector.key);
    let hint = "the image of a node whose apid was taken over; about 1 min";
    let built = cache::artifact_in(inputs.store, "hostile-image", key, hint, |into| {
        let parts = Parts { apid: apid.path.join("hostile-apid"), ..parts(inputs, &containers.path)? };
        let facts = seal_root(inputs, &parts, into)?;
        let (root, uki) = (into.join("root.img"), into.join("a.efi"));
        fs::write(&uki, assemble_uki(inputs, &uki::command_line(&facts, &layout::ROOT_A, &[])?)?)?;
        assemble_disk(inputs, &root, &uki, &into.join("hostile.img"))
    })?;
    Ok(Hostile { disk: built.path.join("hostile.img"), root: built.path.join("root.img") })
}

fn containers(inputs: &Inputs<'_>) -> Result<Artifact> {
    let key = key(inputs, "container-images")?.text(&inputs.rust.statics.key);
    cache::artifact_in(inputs.store, "container-images", key, "pause, hello and probe", |into| {
        for name in ["pause", "hello", "probe"] {
            let program = fs::read(inputs.rust.statics.path.join(name))?;
            let image: ContainerImage = match name {
                "pause" => oci::pause(&program),
                "hello" => oci::hello(&program),
                _ => oci::probe(&program),
            };
            fs::write(into.join(format!("{name}.tar")), image.archive()?)?;
        }
        Ok(())
    })
}

fn root(inputs: &Inputs<'_>, containers: &Artifact) -> Result<Artifact> {
    let key = root_key(inputs, containers)?;
    cache::artifact_in(inputs.store, "root", key, "tree, erofs (lz4hc), hash tree; about 1 min", |into| {
        let facts = seal_root(inputs, &parts(inputs, &containers.path)?, into)?;
        Ok(fs::write(into.join("root.json"), serde_json::to_vec_pretty(&facts)?)?)
    })
}

fn root_key(inputs: &Inputs<'_>, containers: &Artifact) -> Result<Key> {
    let key = key(inputs, "root")?
        .text(&containers.key)
        .text(&inputs.sdk.key)
        .text(&inputs.kernel.key)
        .text(&inputs.rust.statics.key)
        .text(&inputs.rust.daemons.key);
    Ok(inputs.go.keys.iter().fold(key, |key, component| key.text(component)))
}

fn seal_root(inputs: &Inputs<'_>, parts: &Parts, into: &Path) -> Result<RootImage> {
    let tree = into.join("tree");
    image::root::plan(parts)?.write(&tree)?;
    let forbidden = image::forbidden::forbidden(&tree)?;
    if !forbidden.is_empty() {
        bail!("the root must hold no shell, interpreter, package manager or SSH, but has {forbidden:?}");
    }
    let programs = Programs::new(&inputs.sdk.root);
    let facts = erofs::seal(&programs, &tree, &into.join("root.img"))?;
    cache::remove(&tree)?;
    Ok(facts)
}

/// What a root is planned from.
pub fn parts(inputs: &Inputs<'_>, containers: &Path) -> Result<Parts> {
    let (statics, daemons) = (&inputs.rust.statics.path, &inputs.rust.daemons.path);
    let mut plugins: Vec<PathBuf> = cache::files_below(&inputs.go.cni)?;
    plugins.sort();
    Ok(Parts {
        release: release(inputs),
        init: statics.join("init"),
        machined: daemons.join("machined"),
        apid: daemons.join("apid"),
        containerd: inputs.go.containerd.join("containerd"),
        shim: inputs.go.containerd.join("containerd-shim-runc-v2"),
        kubernetes: inputs.go.kubernetes.join("kubernetes"),
        cni_plugins: plugins,
        sdk: inputs.sdk.root.clone(),
        modules_builtin: inputs.kernel.modules_builtin.clone(),
        images: ["pause", "hello"].map(|name| containers.join(format!("{name}.tar"))).into(),
    })
}

fn release(inputs: &Inputs<'_>) -> Release {
    Release {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kubernetes: go::KUBERNETES_VERSION.to_owned(),
        containerd: go::CONTAINERD_VERSION.to_owned(),
        kernel: inputs.kernel.release.clone(),
        unlocked: !inputs.sdk.locked,
    }
}

fn ukis(inputs: &Inputs<'_>, root: &Artifact) -> Result<Artifact> {
    let key = key(inputs, "uki")?.text(&root.key).text(&inputs.kernel.key);
    cache::artifact_in(inputs.store, "uki", key, "one for each slot", |into| {
        let facts: RootImage = serde_json::from_slice(&fs::read(root.path.join("root.json"))?)?;
        for (name, partition, extra) in [
            ("a.efi", &layout::ROOT_A, &[][..]),
            ("b.efi", &layout::ROOT_B, &[]),
            ("test-a.efi", &layout::ROOT_A, TEST_HOOKS),
            ("installer.efi", &layout::INSTALLER_ROOT, &[layout::INSTALLER_WORD]),
        ] {
            let command_line = uki::command_line(&facts, partition, extra)?;
            fs::write(into.join(name), assemble_uki(inputs, &command_line)?)?;
        }
        Ok(())
    })
}

/// A UKI with any command line, for the measurements too.
pub fn assemble_uki(inputs: &Inputs<'_>, command_line: &str) -> Result<Vec<u8>> {
    let stub = inputs.sdk.root.join(STUB.trim_start_matches('/'));
    let uki = Uki {
        stub: &fs::read(&stub).with_context(|| stub.display().to_string())?,
        os_release: &release(inputs).os_release(),
        command_line,
        kernel_release: &inputs.kernel.release,
        kernel: &fs::read(&inputs.kernel.image)?,
    };
    uki.build()
}

fn disks(inputs: &Inputs<'_>, root: &Artifact, ukis: &Artifact) -> Result<Artifact> {
    let key = key(inputs, "disk")?.text(&root.key).text(&ukis.key).text(&inputs.rust.selector.key);
    cache::artifact_in(inputs.store, "disk", key, "raw disk images", |into| {
        for (name, uki) in [("cairn.img", "a.efi"), ("cairn-test.img", "test-a.efi")] {
            assemble_disk(inputs, &root.path.join("root.img"), &ukis.path.join(uki), &into.join(name))?;
        }
        Ok(())
    })
}

/// A disk from any root and UKI.
pub fn assemble_disk(inputs: &Inputs<'_>, root: &Path, uki: &Path, output: &Path) -> Result<()> {
    let selector = inputs.rust.selector.path.join("boot.efi");
    let disk = Disk { version: env!("CARGO_PKG_VERSION"), selector: &selector, uki, root, release: None };
    image::disk::assemble(&Programs::new(&inputs.sdk.root), &disk, output)
}

/// A medium that writes the release's disk onto an internal one.
fn installer(inputs: &Inputs<'_>, root: &Artifact, ukis: &Artifact, disks: &Artifact) -> Result<Artifact> {
    let key = key(inputs, "installer")?.text(&root.key).text(&ukis.key).text(&disks.key);
    cache::artifact_in(inputs.store, "installer", key, "pack the disk image; about 30 s", |into| {
        let programs = Programs::new(&inputs.sdk.root);
        let (disk, packed) = (disks.path.join("cairn.img"), into.join("cairn.img.zst"));
        let output = image::tools::Tools::run(
            &programs,
            "zstd",
            &image::arguments![PACK_LEVEL, "-T0", "--quiet", "-o", &packed, &disk],
        )?;
        if !output.status.success() {
            bail!("zstd failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let medium = Disk {
            version: env!("CARGO_PKG_VERSION"),
            selector: &inputs.rust.selector.path.join("boot.efi"),
            uki: &ukis.path.join("installer.efi"),
            root: &root.path.join("root.img"),
            release: Some(&packed),
        };
        image::disk::assemble(&programs, &medium, &into.join("cairn-installer.img"))?;
        cache::remove(&packed)
    })
}

/// Roots of one program each; for the floor a disk with the node's selector, kernel and command line.
fn guests(inputs: &Inputs<'_>) -> Result<Artifact> {
    let rust = inputs.rust;
    let key = key(inputs, "guest-images")?
        .text(&inputs.sdk.key)
        .text(&inputs.kernel.key)
        .text(&rust.selector.key)
        .text(&rust.guests.key);
    cache::artifact_in(inputs.store, "guest-images", key, "roots of one program", |into| {
        seal_guest(inputs, "verify-reader", &into.join("verify-reader.img"))?;
        let (root, uki) = (into.join("floor-root.img"), into.join("floor.efi"));
        let facts = seal_guest(inputs, "floor", &root)?;
        fs::write(&uki, assemble_uki(inputs, &uki::command_line(&facts, &layout::ROOT_A, &[])?)?)?;
        assemble_disk(inputs, &root, &uki, &into.join("floor.img"))
    })
}

fn seal_guest(inputs: &Inputs<'_>, name: &str, output: &Path) -> Result<RootImage> {
    let tree = output.with_extension("tree");
    let mut plan = Tree::default();
    plan.directory("/dev", 0o755)?;
    plan.program("/sbin/init", &inputs.rust.guests.path.join(name))?;
    plan.write(&tree)?;
    let facts = erofs::seal(&Programs::new(&inputs.sdk.root), &tree, output)?;
    cache::remove(&tree)?;
    Ok(facts)
}

fn key(inputs: &Inputs<'_>, name: &str) -> Result<Key> {
    let repository = inputs.repository;
    Key::new(name, REVISION)
        .path(repository, "image/src")?
        .path(repository, "crates/flash")?
        .path(repository, "crates/layout")?
        .path(repository, "crates/verity")?
        .path(repository, "crates/bootstate")
}

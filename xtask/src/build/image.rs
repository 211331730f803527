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
use testbed::{bed::Hostile, programs::Programs};

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

/// Everything that goes into an image.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Source tree.
    pub repository: PathBuf,
    /// SDK.
    pub sdk: Sdk,
    /// Kernel.
    pub kernel: Kernel,
    /// Go programs.
    pub go: GoPrograms,
    /// Rust programs.
    pub rust: RustPrograms,
    /// Release version.
    pub version: String,
    /// Trust anchor of updates: the keys whose releases a node of this image takes.
    pub update_root: String,
    /// Where the outputs are kept.
    pub store: PathBuf,
}

/// What an update writes into a slot.
#[derive(Clone, Debug)]
pub struct SlotFiles {
    /// Root file system with its hash tree.
    pub root: PathBuf,
    /// What the kernel is told about it.
    pub facts: RootImage,
    /// Slot A's UKI.
    pub a: PathBuf,
    /// Slot B's UKI.
    pub b: PathBuf,
}

/// Assembles the image, or takes it from the cache.
pub fn provide(inputs: &Inputs) -> Result<Image> {
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

/// What an update to this release writes, from the cache where it can be.
pub fn slot_files(inputs: &Inputs) -> Result<SlotFiles> {
    let root = root(inputs, &containers(inputs)?)?;
    let ukis = ukis(inputs, &root)?.path;
    let facts = facts(&root)?;
    Ok(SlotFiles { root: root.path.join("root.img"), facts, a: ukis.join("a.efi"), b: ukis.join("b.efi") })
}

/// What an update to a release with any root writes, into a folder of the caller's.
pub fn slot_files_of(inputs: &Inputs, root: &Tree, into: &Path) -> Result<SlotFiles> {
    let facts = seal_root(inputs, root, into)?;
    let uki = |name: &str, partition| -> Result<PathBuf> {
        let path = into.join(name);
        fs::write(&path, assemble_uki(inputs, &uki::command_line(&facts, partition, &[])?)?)?;
        Ok(path)
    };
    let (a, b) = (uki("a.efi", &layout::ROOT_A)?, uki("b.efi", &layout::ROOT_B)?);
    Ok(SlotFiles { root: into.join("root.img"), facts, a, b })
}

/// A key of everything that an update writes.
pub fn slot_key(inputs: &Inputs, name: &str) -> Result<Key> {
    let root = root_key(inputs, &containers(inputs)?)?.finish();
    Ok(key(inputs, name)?.text(&root).text(&inputs.kernel.key))
}

/// The release's image but for apid, for one test.
pub fn hostile(inputs: &Inputs, apid: &Artifact) -> Result<Hostile> {
    let containers = containers(inputs)?;
    let key = root_key(inputs, &containers)?.text(&apid.key).text(&inputs.rust.selector.key);
    let hint = "the image of a node whose apid was taken over; about 1 min";
    let built = cache::artifact_in(&inputs.store, "hostile-image", key, hint, |into| {
        let parts = Parts { apid: apid.path.join("hostile-apid"), ..parts(inputs, &containers.path)? };
        let facts = seal_root(inputs, &image::root::plan(&parts)?, into)?;
        let (root, uki) = (into.join("root.img"), into.join("a.efi"));
        fs::write(&uki, assemble_uki(inputs, &uki::command_line(&facts, &layout::ROOT_A, &[])?)?)?;
        assemble_disk(inputs, &root, &uki, &into.join("hostile.img"))
    })?;
    Ok(Hostile { disk: built.path.join("hostile.img"), root_image: built.path.join("root.img") })
}

fn containers(inputs: &Inputs) -> Result<Artifact> {
    let key = key(inputs, "container-images")?.text(&inputs.rust.statics.key);
    let key = inputs.go.keys.iter().fold(key, |key, component| key.text(component));
    cache::artifact_in(&inputs.store, "container-images", key, "pause, hello, probe and CoreDNS", |into| {
        let (statics, coredns) = (&inputs.rust.statics.path, &inputs.go.coredns);
        let pack = |name: &str, folder: &Path, image: fn(&[u8]) -> ContainerImage| -> Result<()> {
            let program = fs::read(folder.join(name))?;
            Ok(fs::write(into.join(format!("{name}.tar")), image(&program).archive()?)?)
        };
        pack("pause", statics, oci::pause)?;
        pack("hello", statics, oci::hello)?;
        pack("probe", statics, oci::probe)?;
        pack("coredns", coredns, oci::coredns)
    })
}

fn root(inputs: &Inputs, containers: &Artifact) -> Result<Artifact> {
    let key = root_key(inputs, containers)?;
    cache::artifact_in(&inputs.store, "root", key, "tree, erofs (lz4hc), hash tree; about 1 min", |into| {
        let facts = seal_root(inputs, &image::root::plan(&parts(inputs, &containers.path)?)?, into)?;
        Ok(fs::write(into.join("root.json"), serde_json::to_vec_pretty(&facts)?)?)
    })
}

fn facts(root: &Artifact) -> Result<RootImage> {
    Ok(serde_json::from_slice(&fs::read(root.path.join("root.json"))?)?)
}

fn root_key(inputs: &Inputs, containers: &Artifact) -> Result<Key> {
    let key = key(inputs, "root")?
        .text(&inputs.version)
        .text(&inputs.update_root)
        .text(&containers.key)
        .text(&inputs.sdk.key)
        .text(&inputs.kernel.key)
        .text(&inputs.rust.statics.key)
        .text(&inputs.rust.daemons.key);
    Ok(inputs.go.keys.iter().fold(key, |key, component| key.text(component)))
}

fn seal_root(inputs: &Inputs, plan: &Tree, into: &Path) -> Result<RootImage> {
    let tree = into.join("tree");
    plan.write(&tree)?;
    let forbidden = image::forbidden::forbidden(&tree)?;
    if !forbidden.is_empty() {
        bail!("the root must hold no shell, interpreter, package manager or SSH, but has {forbidden:?}");
    }
    let programs = Programs::new(&inputs.sdk.root);
    let facts = erofs::seal(&programs, &tree, &into.join("root.img"))?;
    cache::remove(&tree)?;
    Ok(facts)
}

/// The release's root.
pub fn plan(inputs: &Inputs) -> Result<Tree> {
    image::root::plan(&parts(inputs, &containers(inputs)?.path)?)
}

/// What a root is planned from.
pub fn parts(inputs: &Inputs, containers: &Path) -> Result<Parts> {
    let (statics, daemons) = (&inputs.rust.statics.path, &inputs.rust.daemons.path);
    let mut plugins: Vec<PathBuf> = cache::files_below(&inputs.go.cni)?;
    plugins.sort();
    Ok(Parts {
        release: release(inputs),
        init: statics.join("init"),
        machined: daemons.join("machined"),
        apid: daemons.join("apid"),
        ntp: daemons.join("ntp"),
        containerd: inputs.go.containerd.join("containerd"),
        shim: inputs.go.containerd.join("containerd-shim-runc-v2"),
        kubernetes: inputs.go.kubernetes.join("kubernetes"),
        cni_plugins: plugins,
        sdk: inputs.sdk.root.clone(),
        modules_builtin: inputs.kernel.modules_builtin.clone(),
        images: ["pause", "hello"].map(|name| containers.join(format!("{name}.tar"))).into(),
        cluster_images: vec![containers.join("coredns.tar")],
        update_root: inputs.update_root.clone(),
    })
}

fn release(inputs: &Inputs) -> Release {
    Release {
        version: inputs.version.clone(),
        kubernetes: go::KUBERNETES_VERSION.to_owned(),
        containerd: go::CONTAINERD_VERSION.to_owned(),
        kernel: inputs.kernel.release.clone(),
        unlocked: !inputs.sdk.locked,
    }
}

fn ukis(inputs: &Inputs, root: &Artifact) -> Result<Artifact> {
    let key = key(inputs, "uki")?.text(&root.key).text(&inputs.kernel.key);
    cache::artifact_in(&inputs.store, "uki", key, "one for each slot", |into| {
        let facts = facts(root)?;
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
pub fn assemble_uki(inputs: &Inputs, command_line: &str) -> Result<Vec<u8>> {
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

fn disks(inputs: &Inputs, root: &Artifact, ukis: &Artifact) -> Result<Artifact> {
    let key = key(inputs, "disk")?.text(&root.key).text(&ukis.key).text(&inputs.rust.selector.key);
    cache::artifact_in(&inputs.store, "disk", key, "raw disk images", |into| {
        for (name, uki) in [("cairn.img", "a.efi"), ("cairn-test.img", "test-a.efi")] {
            assemble_disk(inputs, &root.path.join("root.img"), &ukis.path.join(uki), &into.join(name))?;
        }
        Ok(())
    })
}

/// A disk from any root and UKI.
pub fn assemble_disk(inputs: &Inputs, root: &Path, uki: &Path, output: &Path) -> Result<()> {
    let selector = inputs.rust.selector.path.join("boot.efi");
    let disk = Disk { version: &inputs.version, selector: &selector, uki, root, release: None };
    image::disk::assemble(&Programs::new(&inputs.sdk.root), &disk, output)
}

/// A medium that writes the release's disk onto an internal one.
fn installer(inputs: &Inputs, root: &Artifact, ukis: &Artifact, disks: &Artifact) -> Result<Artifact> {
    let key = key(inputs, "installer")?.text(&root.key).text(&ukis.key).text(&disks.key);
    cache::artifact_in(&inputs.store, "installer", key, "pack the disk image; about 30 s", |into| {
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
            version: &inputs.version,
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
fn guests(inputs: &Inputs) -> Result<Artifact> {
    let rust = &inputs.rust;
    let key = key(inputs, "guest-images")?
        .text(&inputs.sdk.key)
        .text(&inputs.kernel.key)
        .text(&rust.selector.key)
        .text(&rust.guests.key);
    cache::artifact_in(&inputs.store, "guest-images", key, "roots of one program", |into| {
        seal_guest(inputs, "verify-reader", &into.join("verify-reader.img"))?;
        let (root, uki) = (into.join("floor-root.img"), into.join("floor.efi"));
        let facts = seal_guest(inputs, "floor", &root)?;
        fs::write(&uki, assemble_uki(inputs, &uki::command_line(&facts, &layout::ROOT_A, &[])?)?)?;
        assemble_disk(inputs, &root, &uki, &into.join("floor.img"))
    })
}

fn seal_guest(inputs: &Inputs, name: &str, output: &Path) -> Result<RootImage> {
    let tree = output.with_extension("tree");
    let mut plan = Tree::default();
    plan.directory("/dev", 0o755)?;
    plan.program("/sbin/init", &inputs.rust.guests.path.join(name))?;
    plan.write(&tree)?;
    let facts = erofs::seal(&Programs::new(&inputs.sdk.root), &tree, output)?;
    cache::remove(&tree)?;
    Ok(facts)
}

fn key(inputs: &Inputs, name: &str) -> Result<Key> {
    let repository = &inputs.repository;
    Key::new(name, REVISION)
        .path(repository, "image/src")?
        .path(repository, "crates/flash")?
        .path(repository, "crates/layout")?
        .path(repository, "crates/verity")?
        .path(repository, "crates/bootstate")
}

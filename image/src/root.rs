//! What is in the root file system.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use layout::path;

use crate::{elf, tree::Tree};

/// Programs taken from Debian: where they are in the SDK and where they go.
const DEBIAN_PROGRAMS: [(&str, &str); 6] = [
    ("usr/bin/crun", path::CRUN),
    ("usr/sbin/nft", "/usr/sbin/nft"),
    ("usr/bin/mount", "/usr/bin/mount"),
    ("usr/bin/umount", "/usr/bin/umount"),
    ("usr/sbin/mke2fs", "/usr/sbin/mke2fs"),
    ("usr/sbin/e2fsck", "/usr/sbin/e2fsck"),
];
/// Names by which the one program of Kubernetes is called.
const KUBERNETES_PROGRAMS: [&str; 6] =
    ["kine", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"];
const LOADER: &str = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";
const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// 2026-11-24: no node believes a clock that says less. Raised with each release.
pub const TIME_FLOOR_S: u64 = 1_795_478_400;

/// Versions of what is inside.
#[derive(Clone, Debug)]
pub struct Release {
    /// Release version.
    pub version: String,
    /// Kubernetes version.
    pub kubernetes: String,
    /// containerd version.
    pub containerd: String,
    /// `uname -r`.
    pub kernel: String,
    /// Built from packages other than the locked ones.
    pub unlocked: bool,
}

impl Release {
    /// os-release(5), also in the UKI.
    pub fn os_release(&self) -> String {
        let Self { version, kubernetes, containerd, kernel, unlocked } = self;
        let variant = if *unlocked { "VARIANT=unlocked\nVARIANT_ID=unlocked\n" } else { "" };
        format!(
            "NAME=\"Cairn OS\"\nID=cairn\nVERSION=\"{version}\"\nVERSION_ID={version}\nPRETTY_NAME=\"Cairn OS {version}\"\n\
             {variant}CAIRN_VERSION={version}\nCAIRN_KUBERNETES_VERSION={kubernetes}\n\
             CAIRN_CONTAINERD_VERSION={containerd}\nCAIRN_KERNEL_VERSION={kernel}\nCAIRN_TIME_FLOOR={TIME_FLOOR_S}\n"
        )
    }
}

/// Built parts.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Versions.
    pub release: Release,
    /// PID 1.
    pub init: PathBuf,
    /// machined.
    pub machined: PathBuf,
    /// apid.
    pub apid: PathBuf,
    /// The time daemon.
    pub ntp: PathBuf,
    /// containerd.
    pub containerd: PathBuf,
    /// containerd's shim.
    pub shim: PathBuf,
    /// The Kubernetes programs in one.
    pub kubernetes: PathBuf,
    /// CNI plugins, installed under their file names.
    pub cni_plugins: Vec<PathBuf>,
    /// Unpacked SDK root.
    pub sdk: PathBuf,
    /// The kernel's modules.builtin.
    pub modules_builtin: PathBuf,
    /// Image archives that the node imports at boot.
    pub images: Vec<PathBuf>,
    /// Image archives that a node imports at boot once it serves a cluster.
    pub cluster_images: Vec<PathBuf>,
    /// Trust anchor of updates.
    pub update_root: String,
}

/// Plans the root tree. Reads the programs' ELF headers for the libraries they need.
pub fn plan(parts: &Parts) -> Result<Tree> {
    let mut tree = Tree::default();
    merged_usr(&mut tree)?;
    mount_points(&mut tree)?;
    programs(&mut tree, parts)?;
    debian(&mut tree, parts)?;
    etc(&mut tree, parts)?;
    let modules = format!("/usr/lib/modules/{}", parts.release.kernel);
    tree.file(&format!("{modules}/modules.builtin"), &parts.modules_builtin)?;
    tree.text(path::UPDATE_ROOT, &*parts.update_root)?;
    for image in &parts.images {
        tree.file(&format!("{}/{}", path::PRELOADED_IMAGES, file_name(image)?), image)?;
    }
    for image in &parts.cluster_images {
        tree.file(&format!("{}/{}", path::CLUSTER_IMAGES, file_name(image)?), image)?;
    }
    Ok(tree)
}

fn merged_usr(tree: &mut Tree) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        tree.directory(&format!("/usr/{name}"), 0o755)?;
        tree.link(&format!("/{name}"), &format!("usr/{name}"))?;
    }
    Ok(())
}

fn mount_points(tree: &mut Tree) -> Result<()> {
    for path in ["/dev", "/proc", "/sys", "/run", "/var", "/system/state", "/root"] {
        tree.directory(path, 0o755)?;
    }
    tree.directory("/tmp", 0o1777)?;
    // Written by CNI DaemonSets.
    tree.directory("/opt/cni", 0o755)?;
    tree.link("/opt/cni/bin", "/var/opt/cni/bin")
}

fn programs(tree: &mut Tree, parts: &Parts) -> Result<()> {
    tree.program("/usr/sbin/init", &parts.init)?;
    tree.program("/usr/bin/machined", &parts.machined)?;
    tree.program("/usr/bin/apid", &parts.apid)?;
    tree.program("/usr/bin/ntp", &parts.ntp)?;
    tree.program("/usr/bin/containerd", &parts.containerd)?;
    tree.program("/usr/bin/containerd-shim-runc-v2", &parts.shim)?;
    tree.program("/usr/bin/kubernetes", &parts.kubernetes)?;
    for name in KUBERNETES_PROGRAMS {
        tree.link(&format!("/usr/bin/{name}"), "kubernetes")?;
    }
    for plugin in &parts.cni_plugins {
        tree.program(&format!("{}/{}", path::CNI_BIN, file_name(plugin)?), plugin)?;
    }
    Ok(())
}

fn debian(tree: &mut Tree, parts: &Parts) -> Result<()> {
    let mut dynamic = vec![parts.machined.clone(), parts.apid.clone(), parts.ntp.clone()];
    for (source, target) in DEBIAN_PROGRAMS {
        let source = parts.sdk.join(source);
        tree.program(target, &source)?;
        dynamic.push(source);
    }
    tree.link("/usr/sbin/mkfs.ext4", "mke2fs")?;
    for (name, source) in elf::closure(&parts.sdk, &dynamic)? {
        if name != "ld-linux-x86-64.so.2" {
            tree.program(&format!("{LIBRARIES}/{name}"), &source)?;
        }
    }
    tree.program(&format!("{LIBRARIES}/ld-linux-x86-64.so.2"), &parts.sdk.join(LOADER))?;
    tree.link("/usr/lib64/ld-linux-x86-64.so.2", "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")?;
    tree.file("/etc/mke2fs.conf", &parts.sdk.join("etc/mke2fs.conf"))?;
    tree.file(CA_BUNDLE, &parts.sdk.join(CA_BUNDLE.trim_start_matches('/')))
}

fn etc(tree: &mut Tree, parts: &Parts) -> Result<()> {
    tree.text("/usr/lib/os-release", parts.release.os_release())?;
    tree.link(path::OS_RELEASE, "../usr/lib/os-release")?;
    let users = [("apid", layout::APID_UID), ("ntp", layout::NTP_UID), ("nobody", 65534)];
    let passwd = users.map(|(name, id)| format!("{name}:x:{id}:{id}:{name}:/:/nonexistent\n")).concat();
    tree.text("/etc/passwd", format!("root:x:0:0:root:/root:/nonexistent\n{passwd}"))?;
    let (apid, ntp) = (layout::APID_UID, layout::NTP_UID);
    tree.text("/etc/group", format!("root:x:0:\napid:x:{apid}:\nntp:x:{ntp}:\nnogroup:x:65534:\n"))?;
    tree.text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")?;
    for name in ["hosts", "hostname", "resolv.conf", "machine-id"] {
        tree.link(&format!("/etc/{name}"), &format!("{}/{name}", path::RUN_ETC))?;
    }
    tree.link(path::CNI_CONFIG, &format!("{}/cni/net.d", path::RUN))?;
    tree.link("/etc/containerd", &format!("{}/containerd", path::RUN))?;
    tree.link("/etc/kubernetes", &format!("{}/kubernetes", path::RUN))
}

fn file_name(path: &Path) -> Result<String> {
    let name = path.file_name().with_context(|| format!("{} has no file name", path.display()))?;
    Ok(name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unlocked_build_says_so() {
        let mut release = Release {
            version: "1.2.3".into(),
            kubernetes: "1.37.2".into(),
            containerd: "2.4.2".into(),
            kernel: "6.12.1".into(),
            unlocked: false,
        };
        assert!(!release.os_release().contains("unlocked"));
        assert!(release.os_release().contains("\nCAIRN_KUBERNETES_VERSION=1.37.2\n"));
        release.unlocked = true;
        assert!(release.os_release().contains("VARIANT_ID=unlocked"));
    }
}

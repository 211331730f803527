//! What the tests run on: built parts, handed over by `cargo xtask` in one JSON file.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{accelerator::Accelerator, programs::Programs};

/// Variable with the path of the JSON file.
pub const VARIABLE: &str = "CAIRN_TESTBED";

/// Paths of everything that a test needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bed {
    /// SDK root directory.
    pub sdk: PathBuf,
    /// Raw disk image of the release.
    pub disk: PathBuf,
    /// The same image with `cairn.test_hooks=1` on the kernel command line.
    pub test_disk: PathBuf,
    /// Raw disk image of the installer medium.
    pub installer: PathBuf,
    /// Root image of the release: erofs with its hash tree.
    pub root_image: PathBuf,
    /// Slot A's UKI of the release.
    pub uki: PathBuf,
    /// Kernel image.
    pub kernel: PathBuf,
    /// osctl of this host.
    pub osctl: PathBuf,
    /// The build tool, which makes releases when a test asks for them.
    pub xtask: PathBuf,
    /// Archive of the probe image, which only tests bring onto a node.
    pub probe_image: PathBuf,
    /// Raw disk that boots as a node does, into an init that only says hello.
    pub floor_disk: PathBuf,
    /// Root file system with the reader of damaged verity devices as init.
    pub verify_reader: PathBuf,
    /// Where nodes of tests live; a failed test leaves its node's logs there.
    pub work: PathBuf,
    /// Chosen accelerator.
    pub accelerator: Accelerator,
    /// Seed of all random choices; printed by every test that uses it.
    pub seed: u64,
    /// Whether to run the long forms.
    pub long: bool,
}

/// A release whose apid was taken over; tests alone have it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hostile {
    /// Raw disk image.
    pub disk: PathBuf,
    /// Its root image: erofs with its hash tree.
    pub root_image: PathBuf,
}

/// Kubernetes' programs for this host; tests alone have them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostKubernetes {
    /// kubectl.
    pub kubectl: PathBuf,
    /// The programs of the image in one, which goes by the name that it is called by.
    pub kubernetes: PathBuf,
}

/// Releases that the nodes of [`Bed::disk`] trust.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Releases {
    /// Repository with good releases.
    pub repository: PathBuf,
    /// Their versions, each above the one before, the first above that of [`Bed::disk`].
    pub versions: Vec<String>,
    /// Channel that holds the first of them.
    pub slow_channel: String,
    /// Channel that holds all of them.
    pub fast_channel: String,
    /// Folder of repositories, named as [`BadRelease::name`] says.
    pub bad: PathBuf,
    /// Keys that all is signed with (`release::keys::Keys`).
    pub keys: PathBuf,
}

impl Releases {
    /// Repository whose one release has the first version and must never be confirmed.
    pub fn bad(&self, kind: BadRelease) -> PathBuf {
        self.bad.join(kind.name())
    }
}

/// What is wrong with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRelease {
    /// PID 1 is a program that ends, so the kernel panics.
    InitEnds,
    /// PID 1 panics at once.
    InitPanics,
    /// PID 1 hangs at once.
    InitHangs,
    /// The kernel waits for its root for ever.
    KernelHangs,
    /// machined says that it is ready and does nothing.
    MachinedMute,
    /// apid says that it is ready and serves nobody.
    ApidMute,
    /// The kubelet cannot be started.
    KubeletBroken,
}

impl BadRelease {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::InitEnds,
        Self::InitPanics,
        Self::InitHangs,
        Self::KernelHangs,
        Self::MachinedMute,
        Self::ApidMute,
        Self::KubeletBroken,
    ];

    /// Its folder's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InitEnds => "init-ends",
            Self::InitPanics => "init-panics",
            Self::InitHangs => "init-hangs",
            Self::KernelHangs => "kernel-hangs",
            Self::MachinedMute => "machined-mute",
            Self::ApidMute => "apid-mute",
            Self::KubeletBroken => "kubelet-broken",
        }
    }

    /// What makes it bad on the kernel's command line, where the last word counts.
    pub const fn words(self) -> &'static [&'static str] {
        const HOOKS: &str = "cairn.test_hooks=1";
        match self {
            Self::InitEnds => &["init=/usr/bin/umount"],
            Self::InitPanics => &[HOOKS, "cairn.fault=panic-pid1-after-s:0"],
            Self::InitHangs => &[HOOKS, "cairn.fault=hang-pid1-after-s:0"],
            Self::KernelHangs => &["root=/dev/does-not-exist", "rootwait"],
            Self::MachinedMute => &[HOOKS, "cairn.fault=mute-service:machined"],
            Self::ApidMute => &[HOOKS, "cairn.fault=mute-service:apid"],
            Self::KubeletBroken => &[HOOKS, "cairn.fault=break-service:kubelet"],
        }
    }
}

impl Bed {
    /// The bed that `cargo xtask test` prepared.
    pub fn from_environment() -> Result<Self> {
        let path = std::env::var(VARIABLE).with_context(|| {
            format!("{VARIABLE} is not set: run these tests with `cargo xtask test qemu`")
        })?;
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// So many good releases and one of every bad kind. The first call makes them, which takes a minute for each good one.
    pub fn releases(&self, good: u16) -> Result<Releases> {
        self.made(&["test-releases", &good.to_string()])
    }

    /// The release of [`Self::disk`] with an apid that was taken over. The first call builds it, which takes minutes.
    pub fn hostile(&self) -> Result<Hostile> {
        self.made(&["test-hostile"])
    }

    /// Kubernetes' programs for this host. The first call builds kubectl, which takes a minute.
    pub fn host_kubernetes(&self) -> Result<HostKubernetes> {
        self.made(&["test-kubernetes"])
    }

    /// What the build tool makes for tests that ask for it.
    fn made<T: serde::de::DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let output = Command::new(&self.xtask)
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run the build tool")?;
        if !output.status.success() {
            bail!("{} made nothing (see above)", arguments.join(" "));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Programs of the SDK.
    pub fn programs(&self) -> Programs {
        Programs::new(&self.sdk)
    }
}

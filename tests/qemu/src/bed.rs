//! What the tests run on: built parts, handed over by `cargo xtask` in one JSON file.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
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
    /// The release's disk and root image with an apid that was taken over; tests alone have them.
    pub hostile: Option<Hostile>,
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

/// A node whose apid was taken over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hostile {
    /// Raw disk image.
    pub disk: PathBuf,
    /// Its root image: erofs with its hash tree.
    pub root_image: PathBuf,
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

    /// Programs of the SDK.
    pub fn programs(&self) -> Programs {
        Programs::new(&self.sdk)
    }
}

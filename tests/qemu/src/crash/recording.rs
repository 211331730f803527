//! A node's life from its first power-on, every write to its disk recorded, the firmware's included.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use crashcheck::{disk::Disk, log::Log, recipe::Recipe};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    bed::Bed,
    machine::Files,
    node::{self, BOOT_DEADLINE, Blueprint, Node, Tools},
};

/// The node's name, and so that of its osctl context.
const NAME: &str = "crash";
const DISK_SIZE: &str = "8G";
const DISK_BYTES: u64 = 8 << 30;
const LOG: &str = "writes.log";
const DESCRIPTION: &str = "recording.json";

/// A recording and what it takes to boot one of its states.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// Everything of the recorded node.
    pub folder: PathBuf,
    /// Raw image that the disk began with.
    pub base: PathBuf,
    /// How long the log was when the node had been adopted: it must not forget its admin, nor who it is, from then on.
    adopted_log_bytes: u64,
    /// What the node did, in order.
    pub phases: Vec<Phase>,
}

/// One kind of work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Phase {
    /// What the node did.
    pub name: String,
    /// How long the log was afterwards.
    pub log_bytes: u64,
}

impl Recording {
    /// Records the first boot of a flashed disk until its pod answers, then so many upgrades until each is confirmed.
    pub fn make(bed: &Bed, folder: &Path, upgrades: u16) -> Result<Self> {
        let releases = bed.releases(upgrades)?;
        let (tools, mut blueprint) = (tools(bed), blueprint(bed));
        let files = Node::prepare(&tools, &blueprint, folder)?;
        let mut recording = Self {
            folder: folder.to_owned(),
            base: bed.disk.clone(),
            adopted_log_bytes: 0,
            phases: Vec::new(),
        };
        fs::write(recording.log_path(), [])?;
        blueprint.hardware.write_log = Some(recording.log_path());
        let mut node = Node::start(&tools, &blueprint, &files)?;
        node.adopt()?;
        recording.adopted_log_bytes = recording.log_bytes()?;
        node.wait_for_pod()?;
        recording.end_phase("first boot".to_owned())?;
        for version in &releases.versions {
            let repository = releases.repository.to_string_lossy();
            node.osctl(&["upgrade", "--release", &repository, "--version", version, "--wait"])?;
            recording.end_phase(format!("upgrade to {version}"))?;
        }
        node.machine.qmp()?.execute("quit", json!({}))?;
        node.machine.wait_for_end(BOOT_DEADLINE)?;
        // What QEMU wrote when it ended belongs to what came last.
        let log_bytes = recording.log_bytes()?;
        recording.phases.iter_mut().last().into_iter().for_each(|last| last.log_bytes = log_bytes);
        fs::write(folder.join(DESCRIPTION), serde_json::to_vec_pretty(&recording)?)?;
        Ok(recording)
    }

    /// One that was made before.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(DESCRIPTION);
        let text = fs::read(&path).with_context(|| format!("no recording at {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Whether the node of a state was adopted before anything that the state may lack.
    pub fn is_adopted(&self, log: &Log, recipe: &Recipe) -> bool {
        recipe.base() >= log.entries_within(self.adopted_log_bytes)
    }

    /// Its log.
    pub fn log(&self) -> Result<Log> {
        Log::open(&self.log_path())
    }

    /// The disk as it was before the first write.
    pub fn disk(&self) -> Result<Disk> {
        Disk::new(&self.base, DISK_BYTES)
    }

    /// Makes a raw copy of it, sparse.
    pub fn copy_base(&self, to: &Path) -> Result<()> {
        let length = fs::metadata(&self.base)?.len();
        crate::replay::extract(&self.base, 0..length, to)?;
        Ok(fs::File::options().write(true).open(to)?.set_len(DISK_BYTES)?)
    }

    /// The recorded node's files.
    pub fn files(&self) -> Files {
        Files::new(&self.folder)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    fn log_bytes(&self) -> Result<u64> {
        Ok(fs::metadata(self.log_path())?.len())
    }

    fn end_phase(&mut self, name: String) -> Result<()> {
        self.phases.push(Phase { name, log_bytes: self.log_bytes()? });
        Ok(())
    }
}

/// Programs that nodes need.
pub fn tools(bed: &Bed) -> Tools {
    Tools { programs: bed.programs(), osctl: bed.osctl.clone(), accelerator: bed.accelerator }
}

/// The node that is recorded, and that every state is booted as.
pub fn blueprint(bed: &Bed) -> Blueprint {
    Blueprint {
        name: NAME.to_owned(),
        image: bed.disk.clone(),
        disk_size: DISK_SIZE.to_owned(),
        hardware: node::default_hardware(),
        pods: Vec::new(),
        probe_image: None,
    }
}

//! Boots a disk state for real.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use bootstate::Slot;

use super::recording::{Recording, blueprint, tools};
use crate::{
    bed::Bed,
    machine::{self, Files},
    node::{BOOT_DEADLINE, Node},
};

const SECRETS: &str = "secrets.yaml";
/// osctl's context of the node.
const CONTEXT: &str = "osctl.yaml";
/// What the selector says of the slot that it starts.
const SLOT: &str = "cairn: slot ";

/// What a booted state must show.
#[derive(Clone, Copy, Debug)]
pub struct Foretold {
    /// The slot that starts.
    pub slot: Slot,
    /// Whether the node knows its admin, and the admin it.
    pub is_adopted: bool,
}

/// Boots a raw disk, which stays as it is, as the recorded node in `folder`. It must start the slot that was foretold and
/// answer its admin.
pub fn boot(bed: &Bed, recording: &Recording, disk: &Path, folder: &Path, foretold: Foretold) -> Result<()> {
    let (tools, blueprint) = (tools(bed), blueprint(bed));
    fs::remove_dir_all(folder).ok();
    fs::create_dir_all(folder)?;
    let (recorded, files) = (recording.files(), Files::new(folder));
    fs::copy(recorded.folder().join(SECRETS), folder.join(SECRETS))?;
    if foretold.is_adopted {
        fs::copy(recorded.folder().join(CONTEXT), folder.join(CONTEXT))?;
    }
    fs::hard_link(recorded.config_volume(), files.config_volume())?;
    machine::create_disk(&tools.programs, disk, &files, &blueprint.disk_size)?;
    let mut node = Node::start(&tools, &blueprint, &files)?;
    let line = node.machine.wait_for(SLOT, BOOT_DEADLINE)?;
    let started = line.split(SLOT).nth(1).and_then(|rest| rest.chars().next());
    ensure!(started == Some(foretold.slot.letter()), "slot {} was foretold: {line}", foretold.slot.letter());
    if foretold.is_adopted {
        node.wait_for_fingerprint()?;
    } else {
        // It takes its configuration from the volume, or has it already, and may be another node than the recorded one.
        node.adopt()?;
    }
    node.osctl(&["-n", &node.endpoint(), "version"]).map(drop)
}

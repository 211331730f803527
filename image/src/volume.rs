//! A configuration volume: FAT, labelled, with machine.yaml and image archives.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use layout::{CONFIG_VOLUME_FILE, CONFIG_VOLUME_IMAGES, CONFIG_VOLUME_LABEL};

use crate::{arguments, tools, tools::Tools};

const SECTOR_BYTES: u64 = 512;
/// Tables and cluster ends beside the content; also keeps the volume above FAT16's lower limit.
const SLACK_BYTES: u64 = 16 << 20;

/// What is on the volume.
pub struct ConfigVolume<'a> {
    /// Configuration documents.
    pub machine_yaml: &'a str,
    /// Image archives.
    pub images: &'a [&'a Path],
}

/// Writes the volume.
pub fn assemble(tools: &dyn Tools, volume: &ConfigVolume<'_>, output: &Path) -> Result<()> {
    let mut size = volume.machine_yaml.len() as u64 + SLACK_BYTES;
    for image in volume.images {
        size += fs::metadata(image).with_context(|| format!("cannot read {}", image.display()))?.len();
    }
    match fs::remove_file(output) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let inside = tools.inside(output)?;
    let sectors = size.next_multiple_of(1 << 20) / SECTOR_BYTES;
    let made = arguments!["-C", "-i", &inside, "-T", sectors.to_string(), "-v", CONFIG_VOLUME_LABEL, "::"];
    tools::run(tools, "mformat", &made)?;
    let text = output.with_extension("yaml");
    fs::write(&text, volume.machine_yaml)?;
    let target = format!("::/{CONFIG_VOLUME_FILE}");
    tools::run(tools, "mcopy", &arguments!["-i", &inside, tools.inside(&text)?, target])?;
    fs::remove_file(text)?;
    tools::run(tools, "mmd", &arguments!["-i", &inside, format!("::/{CONFIG_VOLUME_IMAGES}")])?;
    for image in volume.images {
        let name = image.file_name().context("image archive without a name")?.to_string_lossy();
        let target = format!("::/{CONFIG_VOLUME_IMAGES}/{name}");
        tools::run(tools, "mcopy", &arguments!["-i", &inside, tools.inside(image)?, target])?;
    }
    Ok(())
}

//! Makes a configuration volume: a FAT image labelled CAIRN-CONFIG with machine.yaml and images.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::programs::Programs;

const LABEL: &str = "CAIRN-CONFIG";
const FAT_SLACK_BYTES: u64 = 8 << 20;

/// Writes a volume with the configuration text and image archives.
pub fn create(programs: &Programs, volume: &Path, configuration: &Path, images: &[&Path]) -> Result<()> {
    let mut size = fs::metadata(configuration)?.len() + FAT_SLACK_BYTES;
    for image in images {
        size += fs::metadata(image).with_context(|| image.display().to_string())?.len();
    }
    let sectors = (size.div_ceil(512) / 2048 + 1) * 2048;
    fs::remove_file(volume).ok();
    let to = volume.to_string_lossy();
    programs.run("mformat", &["-C", "-i", &to, "-T", &sectors.to_string(), "-v", LABEL, "::"])?;
    programs.run("mcopy", &["-i", &to, &configuration.to_string_lossy(), "::machine.yaml"])?;
    if !images.is_empty() {
        programs.run("mmd", &["-i", &to, "::images"])?;
    }
    for image in images {
        let name = image.file_name().context("image without a name")?.to_string_lossy();
        programs.run("mcopy", &["-i", &to, &image.to_string_lossy(), &format!("::images/{name}")])?;
    }
    Ok(())
}

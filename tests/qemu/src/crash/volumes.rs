//! The file systems of a disk state, as the node would find them after a power cut: repaired as it repairs them, then
//! looked into.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use crashcheck::{SECTOR_BYTES, region};
use generation::Index;
use update::Upgrade;

use crate::{programs::Programs, replay};

/// e2fsck's exit status says from here on that errors are left.
const ERRORS_LEFT: i32 = 4;

/// Checks the file systems of one raw disk.
#[derive(Debug)]
pub struct Volumes<'a> {
    programs: &'a Programs,
    /// For copies.
    folder: &'a Path,
}

impl<'a> Volumes<'a> {
    /// Copies go to `folder`.
    pub fn new(programs: &'a Programs, folder: &'a Path) -> Self {
        Self { programs, folder }
    }

    /// STATE is repaired without loss and holds the index and the generation that it names, and a state of upgrades that is
    /// whole if it is there.
    pub fn check_state(&self, disk: &Path) -> Result<()> {
        let image = self.copy(disk, &layout::STATE)?;
        self.repair(&image, &["-p"])?;
        let files = self.folder.join("state");
        fs::remove_dir_all(&files).ok();
        fs::create_dir(&files)?;
        // A folder that is not there is passed over.
        let dump = format!("rdump /config /update {}", files.display());
        self.programs.run("debugfs", &["-R", &dump, &image.to_string_lossy()])?;
        let config = files.join("config");
        let index = index(&config)?;
        whole(&config.join("generations").join(index.confirmed().file_name()))?;
        let upgrade = files.join("update/state.json");
        if upgrade.exists() {
            Upgrade::decode(&fs::read_to_string(upgrade)?)?;
        }
        Ok(())
    }

    /// DATA is repaired, at whatever loss, without being made anew.
    pub fn check_data(&self, disk: &Path) -> Result<()> {
        let image = self.copy(disk, &layout::DATA)?;
        self.repair(&image, &["-p"]).or_else(|_| self.repair(&image, &["-y"]))
    }

    fn copy(&self, disk: &Path, partition: &layout::Partition) -> Result<PathBuf> {
        let sectors = region::range(partition, fs::metadata(disk)?.len() / SECTOR_BYTES);
        let image = self.folder.join("volume.img");
        replay::extract(disk, sectors.start * SECTOR_BYTES..sectors.end * SECTOR_BYTES, &image)?;
        Ok(image)
    }

    /// Repairs, then looks at everything once more.
    fn repair(&self, image: &Path, how: &[&str]) -> Result<()> {
        for arguments in [how, &["-fn"]] {
            let output = self.programs.command("e2fsck").args(arguments).arg(image).output()?;
            if output.status.code().is_none_or(|code| code >= ERRORS_LEFT) {
                bail!(
                    "e2fsck {} says: {}",
                    arguments.join(" "),
                    String::from_utf8_lossy(&output.stdout).trim()
                );
            }
        }
        Ok(())
    }
}

/// The first of the two that is whole, as at a boot.
fn index(config: &Path) -> Result<Index> {
    let read = |name: &str| -> Result<Index> {
        let text = fs::read_to_string(config.join(name)).with_context(|| name.to_owned())?;
        Index::decode(&text).with_context(|| name.to_owned())
    };
    read("index.json").or_else(|_| read("index-2.json")).context("no index is whole")
}

/// A generation ends with the digest of its text.
fn whole(path: &Path) -> Result<()> {
    let content = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (text, sealed) = content.rsplit_once("\n# sha256 ").context("the generation is cut off")?;
    let found = hex::encode(digest(&SHA256, text.as_bytes()));
    ensure!(sealed.trim_end() == found, "the generation is not what was written");
    Ok(())
}

//! What a UKI will make the kernel do: its own command line, and the root that this names.

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _, read::pe::PeFile64};
use verity::{BLOCK_BYTES, Hash};

const SECTION: &str = ".cmdline";

/// The dm-verity device that a command line sets up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// GUID of the partition with data and tree.
    pub partition: String,
    /// Blocks with data.
    pub data_blocks: u64,
    /// Block at which the tree begins.
    pub tree_block: u64,
    /// Hash of the tree's top block.
    pub hash: Hash,
    /// Salt.
    pub salt: Vec<u8>,
    /// Whether the kernel takes the backup partition table where the primary one is damaged.
    pub uses_backup_table: bool,
}

impl Root {
    /// Reads the command line of a UKI.
    pub fn of(uki: &[u8]) -> Result<Self> {
        let file = PeFile64::parse(uki).context("the UKI is no PE file")?;
        let section = file.section_by_name(SECTION).with_context(|| format!("the UKI has no {SECTION}"))?;
        let line = std::str::from_utf8(section.data()?).context("the command line is no text")?;
        Self::parse(line.trim_end_matches('\0'))
    }

    /// Reads `dm-mod.create="NAME,UUID,MINOR,FLAGS,0 SECTORS verity 1 DEVICE DEVICE 4096 4096 DATA TREE sha256 HASH SALT"`
    /// (kernel Documentation/admin-guide/device-mapper/dm-init.rst, verity.rst).
    fn parse(line: &str) -> Result<Self> {
        let created = line.split("dm-mod.create=\"").nth(1).and_then(|rest| rest.split('"').next());
        let table =
            created.and_then(|created| created.splitn(5, ',').nth(4)).context("no device is created")?;
        let words: Vec<&str> = table.split(' ').collect();
        let &[
            "0",
            sectors,
            "verity",
            "1",
            data,
            tree,
            "4096",
            "4096",
            data_blocks,
            tree_block,
            "sha256",
            hash,
            salt,
        ] = words.as_slice()
        else {
            bail!("not a verity device as Cairn makes them: {table:?}");
        };
        let partition = data.strip_prefix("PARTUUID=").filter(|_| data == tree);
        let root = Self {
            partition: partition.context("data and tree lie on no partition of one GUID")?.to_owned(),
            data_blocks: data_blocks.parse()?,
            tree_block: tree_block.parse()?,
            hash: hex::decode(hash)?.try_into().ok().context("the root hash has another length")?,
            salt: hex::decode(salt)?,
            uses_backup_table: line.split(' ').any(|word| word == "gpt"),
        };
        let covered = sectors.parse::<u64>()? * crate::SECTOR_BYTES;
        if root.data_blocks == 0 || covered != root.data_blocks * BLOCK_BYTES as u64 {
            bail!("the device has another size than the data: {table:?}");
        }
        Ok(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sectors: u64, tail: &str) -> String {
        let hash = "ab".repeat(32);
        format!(
            "a dm-mod.create=\"root,,,ro,0 {sectors} verity 1 PARTUUID=x PARTUUID=x 4096 4096 7 7 sha256 {hash} cd\"{tail}"
        )
    }

    #[test]
    fn the_root_is_read_from_the_command_line() {
        let root = Root::parse(&line(56, " panic=10")).unwrap();
        assert_eq!((root.partition.as_str(), root.data_blocks, root.tree_block), ("x", 7, 7));
        assert_eq!((root.hash, root.salt, root.uses_backup_table), ([0xab; 32], vec![0xcd], false));
        assert!(Root::parse(&line(56, " gpt panic=10")).unwrap().uses_backup_table);
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(Root::parse(&line(48, "")).is_err());
        assert!(Root::parse(&line(56, "").replacen("PARTUUID=x", "PARTUUID=y", 1)).is_err());
        assert!(Root::parse("root=/dev/vda1").is_err());
        assert!(Root::of(b"MZ").is_err());
    }
}

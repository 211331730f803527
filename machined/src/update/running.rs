//! The root that runs, as the kernel was told of it on its command line.

use std::{fs, io};

use super::fetch::Tree;

const COMMAND_LINE: &str = "/proc/cmdline";
/// Precedes the table of the root's device (kernel Documentation/admin-guide/device-mapper/dm-init.rst).
const CREATE: &str = "dm-mod.create=\"";
/// The root as the kernel verifies it.
pub const ROOT_DEVICE: &str = "/dev/dm-0";

/// The root file system and the tree behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningRoot {
    /// Its blocks.
    pub data_blocks: u64,
    /// Its hash tree.
    pub tree: Tree,
}

impl RunningRoot {
    /// Of this boot.
    pub fn read() -> io::Result<Self> {
        let text = fs::read_to_string(COMMAND_LINE)?;
        Self::parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// `verity 1 DATA HASH 4096 4096 DATA-BLOCKS HASH-START sha256 ROOT SALT` (verity.rst).
    fn parse(command_line: &str) -> Option<Self> {
        let (_, create) = command_line.split_once(CREATE)?;
        let (_, table) = create.split('"').next()?.split_once(" verity 1 ")?;
        let mut words = table.split([' ', ',']);
        let mut words = [(); 9].map(|()| words.next());
        let [_, _, _, _, data_blocks, hash_start, _, _, salt] = &mut words;
        let tree =
            Tree { first_block: hash_start.take()?.parse().ok()?, salt: hex::decode(salt.take()?).ok()? };
        Some(Self { data_blocks: data_blocks.take()?.parse().ok()?, tree })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_root_is_found() {
        let line = "console=ttyS0 root=/dev/dm-0 dm-mod.waitfor=PARTUUID=a dm-mod.create=\"root,,,ro,0 800 verity 1 \
                    PARTUUID=a PARTUUID=a 4096 4096 100 101 sha256 00ff 0a0b\" panic=10\n";
        let tree = Tree { first_block: 101, salt: vec![0x0a, 0x0b] };
        assert_eq!(RunningRoot::parse(line), Some(RunningRoot { data_blocks: 100, tree: tree.clone() }));
        let with_option = line.replace("0a0b", "0a0b 1 panic_on_corruption");
        assert_eq!(RunningRoot::parse(&with_option), Some(RunningRoot { data_blocks: 100, tree }));
        for bad in ["", "root=/dev/sda1", &line.replace("100 101", "x 101"), &line.replace(" 0a0b", "")] {
            assert_eq!(RunningRoot::parse(bad), None, "{bad}");
        }
    }
}

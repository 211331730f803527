//! The root file system: erofs, followed by its dm-verity hash tree.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use verity::{BLOCK_BYTES, HashTree};

use crate::{arguments, tools, tools::Tools};

/// Salt of every hash tree. The same for every release: a leaf hash then names a block's content, and the tree serves as
/// delta index.
pub const SALT: [u8; 32] = *b"cairn os verity salt, release 1.";
const UUID: &str = "ca120000-0000-4c0d-9a1e-e40f50000000";

/// What the kernel must be told about a root image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootImage {
    /// Hash of the tree's top block, hex.
    pub root_hash: String,
    /// Salt, hex.
    pub salt: String,
    /// Blocks of 4096 bytes with data.
    pub data_blocks: u64,
    /// Block at which the hash tree begins.
    pub hash_start_block: u64,
    /// Size of the whole image.
    pub size_bytes: u64,
}

/// Packs `directory` into `output` and appends the hash tree.
pub fn seal(tools: &dyn Tools, directory: &Path, output: &Path) -> Result<RootImage> {
    // lz4hc is unpacked fastest on slow CPUs; no tail packing and no dedupe, so that a changed file changes only its
    // own blocks (delta updates).
    let options = arguments![
        "-zlz4hc,12",
        "-C65536",
        "-Enoinline_data,^dedupe",
        // Extended attributes would be the host's, such as SELinux labels.
        "-x-1",
        "-T0",
        "--all-root",
        "-U",
        UUID,
        "--quiet",
        tools.inside(output)?,
        tools.inside(directory)?,
    ];
    tools::run(tools, "mkfs.erofs", &options)?;
    append_tree(output).with_context(|| format!("cannot append the hash tree to {}", output.display()))
}

fn append_tree(output: &Path) -> Result<RootImage> {
    let mut file = File::options().read(true).write(true).open(output)?;
    let size = file.metadata()?.len().next_multiple_of(BLOCK_BYTES as u64);
    file.set_len(size)?;
    let data_blocks = size / BLOCK_BYTES as u64;
    let mut reader = std::io::BufReader::with_capacity(1 << 20, file.try_clone()?);
    let blocks = (0..data_blocks).map(|_| {
        let mut block = vec![0; BLOCK_BYTES];
        reader.read_exact(&mut block).map(|()| block)
    });
    let tree = HashTree::build(blocks, &SALT)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(&tree.blocks)?;
    Ok(RootImage {
        root_hash: hex::encode(tree.root),
        salt: hex::encode(SALT),
        data_blocks,
        hash_start_block: data_blocks,
        size_bytes: fs::metadata(output)?.len(),
    })
}

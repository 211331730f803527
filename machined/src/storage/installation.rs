//! What an installer needs to know of disks: the release that its medium carries, and whether a disk holds a node.

use std::fs::File;
use std::path::Path;

use gptman::GPT;
use layout::SECTOR_BYTES;

use super::table::guid_bytes;
use super::{StorageError, SystemDisk};

/// The packed disk image on the medium that the installer runs from.
pub fn open_release(medium: &SystemDisk) -> Result<File, StorageError> {
    let path = medium.image_partition(&layout::INSTALLER_RELEASE)?;
    File::open(&path).map_err(|source| StorageError::Open { path, source })
}

/// Whether the disk holds a node, of whatever release. The partition table is written last, so half an installation is
/// none.
pub fn holds_node(device: &Path) -> Result<bool, StorageError> {
    let mut disk =
        File::open(device).map_err(|source| StorageError::Open { path: device.to_owned(), source })?;
    // No table is what an empty disk has.
    let Ok(table) = GPT::read_from(&mut disk, SECTOR_BYTES) else { return Ok(false) };
    let root = layout::ROOT_A.guid.and_then(guid_bytes);
    Ok(table.iter().any(|(_, entry)| entry.is_used() && Some(entry.unique_partition_guid) == root))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use gptman::GPTPartitionEntry;

    use super::*;
    use crate::storage::scratch::Scratch;

    #[test]
    fn a_node_is_told_from_an_empty_disk_an_installer_and_others() {
        let scratch = Scratch::new("installation");
        let path = scratch.path().join("disk");
        let mut disk = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        disk.write_all(&[0xa5; 8192]).unwrap();
        disk.set_len(64 << 20).unwrap();
        assert!(!holds_node(&path).unwrap());
        for (partition, expected) in [(layout::INSTALLER_ROOT, false), (layout::ROOT_A, true)] {
            let mut table = GPT::new_from(&mut disk, SECTOR_BYTES, [1; 16]).unwrap();
            table[4] = GPTPartitionEntry {
                partition_type_guid: guid_bytes(partition.type_guid).unwrap(),
                unique_partition_guid: guid_bytes(partition.guid.unwrap()).unwrap(),
                starting_lba: 2048,
                ending_lba: 4095,
                attribute_bits: 0,
                partition_name: partition.name.into(),
            };
            table.write_into(&mut disk).unwrap();
            assert_eq!(holds_node(&path).unwrap(), expected);
        }
    }
}

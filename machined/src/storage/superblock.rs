//! An ext4 superblock that a power cut tore.
//!
//! The kernel writes the superblock past the journal when it mounts and unmounts. It spans two sectors of 512 bytes, so
//! on a medium that loses power between them its checksum no longer fits; e2fsck then goes on with a copy, but does not
//! trust it to know whether the journal holds anything, and gives up under `-p`. The copy itself is as good as what was
//! lost: all that changes in the superblock is counted anew by a check or replayed from the journal.
//! Offsets: <https://docs.kernel.org/filesystems/ext4/super.html>.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crc::{CRC_32_ISCSI, Crc};

/// Where it lies in the file system, whatever the size of blocks.
const OFFSET_BYTES: u64 = 1024;
const SIZE_BYTES: usize = 1024;
/// First copy, in block group 1, as (bytes a block, block): a group has as many blocks as a bitmap block has bits.
const COPIES: [(u64, u64); 3] = [(4096, 32768), (1024, 8193), (2048, 16384)];

const MAGIC_AT: usize = 0x38;
const MAGIC: [u8; 2] = 0xEF53_u16.to_le_bytes();
const STATE_AT: usize = 0x3A;
/// Neither unmounted in order nor with errors: e2fsck looks at everything.
const STATE_NOT_CLEAN: [u8; 2] = [0; 2];
const BLOCK_GROUP_AT: usize = 0x5A;
const INCOMPAT_AT: usize = 0x60;
/// The journal is to be replayed; it may be empty.
const INCOMPAT_RECOVER: u32 = 0x4;
const RO_COMPAT_AT: usize = 0x64;
/// There are checksums.
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
const UUID: std::ops::Range<usize> = 0x68..0x78;
const CHECKSUM_AT: usize = 0x3FC;
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

type Superblock = [u8; SIZE_BYTES];

/// Replaces a superblock whose checksum does not fit by its copy, once that is known to be of the same file system.
/// Returns whether there was need; without an intact copy everything stays as it is.
pub(super) fn restore(device: &Path) -> io::Result<bool> {
    let file = File::options().read(true).write(true).open(device)?;
    let Some(primary) = read(&file, OFFSET_BYTES)? else { return Ok(false) };
    for (block_bytes, block) in COPIES {
        let Some(copy) = read(&file, block_bytes * block)? else { continue };
        if let Some(restored) = restored(&primary, &copy) {
            file.write_all_at(&restored, OFFSET_BYTES)?;
            file.sync_all()?;
            return Ok(true);
        }
    }
    Ok(false)
}

fn read(file: &File, offset: u64) -> io::Result<Option<Superblock>> {
    let mut superblock = [0; SIZE_BYTES];
    match file.read_exact_at(&mut superblock, offset) {
        Ok(()) => Ok(Some(superblock)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// What should stand in the place of a torn superblock; `None` when it is not torn, or the copy does not help.
fn restored(primary: &Superblock, copy: &Superblock) -> Option<Superblock> {
    let is_ext4 = |superblock: &Superblock| superblock[MAGIC_AT..][..2] == MAGIC;
    let has_checksums = u32_at(copy, RO_COMPAT_AT) & RO_COMPAT_METADATA_CSUM != 0;
    let is_torn = is_ext4(primary) && !is_intact(primary);
    let helps = is_ext4(copy) && has_checksums && is_intact(copy) && copy[UUID] == primary[UUID];
    if !(is_torn && helps) {
        return None;
    }
    let mut restored = *copy;
    restored[STATE_AT..][..2].copy_from_slice(&STATE_NOT_CLEAN);
    restored[BLOCK_GROUP_AT..][..2].fill(0);
    let incompat = u32_at(copy, INCOMPAT_AT) | INCOMPAT_RECOVER;
    restored[INCOMPAT_AT..][..4].copy_from_slice(&incompat.to_le_bytes());
    let checksum = checksum(&restored);
    restored[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    Some(restored)
}

fn is_intact(superblock: &Superblock) -> bool {
    u32_at(superblock, CHECKSUM_AT) == checksum(superblock)
}

/// CRC-32C of all before it, without the final inversion.
fn checksum(superblock: &Superblock) -> u32 {
    !CRC32C.checksum(&superblock[..CHECKSUM_AT])
}

fn u32_at(superblock: &Superblock, at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&superblock[at..at + 4]);
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::filesystem::{Checked, Repair, check, format};
    use crate::storage::scratch::Scratch;

    const SECTOR_BYTES: usize = 512;

    /// An image with two block groups.
    fn image(scratch: &Scratch) -> (std::path::PathBuf, File) {
        let path = scratch.path().join("image");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(160 << 20).unwrap();
        format(&path, "TEST", &["-b", "4096", "-O", "metadata_csum"], None).unwrap();
        (path, file)
    }

    fn superblock(file: &File) -> Superblock {
        read(file, OFFSET_BYTES).unwrap().unwrap()
    }

    /// As the kernel does when it mounts: counters that lie in both sectors.
    fn mounted(before: &Superblock) -> Superblock {
        let mut after = *before;
        after[0x2C..0x30].copy_from_slice(&1_800_000_000_u32.to_le_bytes());
        after[0x178..0x180].copy_from_slice(&77_u64.to_le_bytes());
        after[0x240] ^= 1;
        let checksum = checksum(&after);
        after[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        after
    }

    #[test]
    fn one_that_was_torn_is_replaced_and_the_file_system_is_sound() {
        let scratch = Scratch::new("torn");
        let (path, file) = image(&scratch);
        let before = superblock(&file);
        assert!(is_intact(&before), "the checksum is not what mkfs.ext4 makes of it");
        assert!(!restore(&path).unwrap());
        let after = mounted(&before);
        for torn in [
            [&after[..SECTOR_BYTES], &before[SECTOR_BYTES..]].concat(),
            [&before[..SECTOR_BYTES], &after[SECTOR_BYTES..]].concat(),
        ] {
            file.write_all_at(&torn, OFFSET_BYTES).unwrap();
            assert_eq!(check(&path, Repair::Safe).unwrap(), Checked::Sound);
            let found = superblock(&file);
            assert!(is_intact(&found));
            assert_eq!(found[UUID], before[UUID]);
            assert!(!restore(&path).unwrap(), "what was replaced is torn again");
        }
    }

    #[test]
    fn a_copy_that_is_damaged_or_of_another_file_system_is_not_taken() {
        let scratch = Scratch::new("copies");
        let (_, file) = image(&scratch);
        let intact = superblock(&file);
        let mut torn = intact;
        torn[0x240] ^= 1;
        assert!(restored(&torn, &intact).is_some());
        assert!(restored(&intact, &intact).is_none());
        assert!(restored(&torn, &torn).is_none());
        let mut other = intact;
        other[UUID.start] ^= 1;
        let checksum = checksum(&other);
        other[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        assert!(restored(&torn, &other).is_none());
        let mut nothing = torn;
        nothing[MAGIC_AT] = 0;
        assert!(restored(&nothing, &intact).is_none());
    }
}

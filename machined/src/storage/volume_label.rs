//! Labels of FAT, ISO 9660 and ext4 volumes, read from their superblocks.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// What a FAT label has room for; longer ones are cut by the tools that make volumes.
const FAT_LABEL_BYTES: usize = 11;
const BOOT_SECTOR_BYTES: usize = 512;
/// First volume descriptor (ECMA-119, 6.2.1: the 16th sector of 2048 bytes) and its fields (8.4).
const ISO_DESCRIPTOR_OFFSET_BYTES: u64 = 16 * 2048;
const ISO_DESCRIPTOR_BYTES: usize = 72;
const ISO_PRIMARY: &[u8] = b"\x01CD001";
const ISO_LABEL_OFFSET: usize = 40;
/// ext4's superblock and the fields of it (kernel Documentation/filesystems/ext4/super.rst).
const EXT4_SUPERBLOCK_OFFSET_BYTES: u64 = 1024;
const EXT4_SUPERBLOCK_BYTES: usize = 136;
const EXT4_MAGIC_OFFSET: usize = 56;
const EXT4_MAGIC: &[u8] = &[0x53, 0xef];
const EXT4_LABEL_OFFSET: usize = 120;

/// A volume that can carry a configuration or a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VolumeLabel {
    /// FAT, with its label.
    Fat(String),
    /// ISO 9660, with its volume identifier.
    Iso9660(String),
    /// ext4, or what it came from, with its label.
    Ext4(String),
}

impl VolumeLabel {
    /// What the medium holds, if it is any of these.
    pub(super) fn read(medium: &File) -> Option<Self> {
        fat(medium)
            .map(Self::Fat)
            .or_else(|| iso9660(medium).map(Self::Iso9660))
            .or_else(|| ext4(medium).map(Self::Ext4))
    }

    /// Whether it is labelled so. FAT keeps mostly upper case.
    pub(super) fn matches(&self, wanted: &str) -> bool {
        match self {
            Self::Fat(label) => wanted.eq_ignore_ascii_case(label),
            Self::Iso9660(label) | Self::Ext4(label) => label == wanted,
        }
    }

    /// The kernel's name of the file system.
    pub(super) const fn file_system(&self) -> &'static str {
        match self {
            Self::Fat(_) => "vfat",
            Self::Iso9660(_) => "iso9660",
            Self::Ext4(_) => "ext4",
        }
    }

    /// Whether it is ext4.
    pub(super) const fn is_ext4(&self) -> bool {
        matches!(self, Self::Ext4(_))
    }
}

/// The label in the boot sector: at 71 where that says FAT32, at 43 where it says FAT12 or FAT16.
fn fat(medium: &File) -> Option<String> {
    let mut sector = [0; BOOT_SECTOR_BYTES];
    medium.read_exact_at(&mut sector, 0).ok()?;
    if !sector.ends_with(&[0x55, 0xaa]) {
        return None;
    }
    let starts = |offset: usize, text: &[u8]| sector.get(offset..).is_some_and(|rest| rest.starts_with(text));
    let offset = if starts(82, b"FAT32") {
        71
    } else if starts(54, b"FAT1") {
        43
    } else {
        return None;
    };
    text(sector.get(offset..offset + FAT_LABEL_BYTES)?)
}

fn iso9660(medium: &File) -> Option<String> {
    let mut descriptor = [0; ISO_DESCRIPTOR_BYTES];
    medium.read_exact_at(&mut descriptor, ISO_DESCRIPTOR_OFFSET_BYTES).ok()?;
    if !descriptor.starts_with(ISO_PRIMARY) {
        return None;
    }
    text(descriptor.get(ISO_LABEL_OFFSET..)?)
}

fn ext4(medium: &File) -> Option<String> {
    let mut superblock = [0; EXT4_SUPERBLOCK_BYTES];
    medium.read_exact_at(&mut superblock, EXT4_SUPERBLOCK_OFFSET_BYTES).ok()?;
    if !superblock.get(EXT4_MAGIC_OFFSET..)?.starts_with(EXT4_MAGIC) {
        return None;
    }
    text(superblock.get(EXT4_LABEL_OFFSET..)?)
}

fn text(padded: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(padded).ok()?.trim_end_matches([' ', '\0']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::Scratch;

    fn label(parts: &[(u64, &[u8])]) -> Option<VolumeLabel> {
        let scratch = Scratch::new(&format!("label-{:?}", std::thread::current().id()));
        let path = scratch.path().join("medium");
        let medium = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
        medium.set_len(64 << 10).unwrap();
        for (offset, bytes) in parts {
            medium.write_all_at(bytes, *offset).unwrap();
        }
        VolumeLabel::read(&medium)
    }

    #[test]
    fn labels_are_found() {
        let fat32 = label(&[(82, b"FAT32   "), (71, b"CAIRNCONFIG"), (510, &[0x55, 0xaa])]).unwrap();
        assert_eq!(fat32, VolumeLabel::Fat("CAIRNCONFIG".into()));
        let fat16 = label(&[(54, b"FAT16   "), (43, b"cairnconfig"), (510, &[0x55, 0xaa])]).unwrap();
        let iso = label(&[(32768, b"\x01CD001\x01"), (32808, b"CAIRNCONFIG                    ")]).unwrap();
        assert_eq!(iso, VolumeLabel::Iso9660("CAIRNCONFIG".into()));
        let ext4 = label(&[(1080, &[0x53, 0xef]), (1144, b"CAIRNCONFIG\0\0\0\0\0")]).unwrap();
        assert_eq!(ext4, VolumeLabel::Ext4("CAIRNCONFIG".into()));
        assert!([fat32, fat16, iso, ext4].iter().all(|label| label.matches(layout::CONFIG_VOLUME_LABEL)));
    }

    #[test]
    fn others_are_not() {
        let other = label(&[(54, b"FAT12   "), (43, b"NO NAME    "), (510, &[0x55, 0xaa])]).unwrap();
        assert!(!other.matches(layout::CONFIG_VOLUME_LABEL));
        assert_eq!(label(&[(82, b"FAT32   "), (71, b"CAIRNCONFIG")]), None);
        assert_eq!(label(&[(32768, b"\x02CD001\x01"), (32808, b"CAIRNCONFIG")]), None);
        assert_eq!(label(&[]), None);
    }
}

//! Finds one file of a FAT32 volume whose clusters lie one after the other. Reads only what the image builder wrote:
//! short names, one level of folders (Microsoft FAT specification 1.03).

use std::ops::Range;

const ENTRY_BYTES: usize = 32;
const NAME_BYTES: usize = 11;
const ATTRIBUTE_FOLDER: u8 = 0x10;
/// Cluster numbers have 28 bits; from the last of these on they mean the end of a chain.
const CLUSTER_MASK: u32 = 0x0fff_ffff;
const CLUSTER_END: u32 = 0x0fff_fff8;
/// A folder that the image builder made has one cluster, or a few.
const FOLDER_CLUSTERS_MAX: usize = 64;

/// The bytes of the file `name` in the folder `folder` of the root, both as 8.3 names padded with blanks. `head` is
/// the volume's beginning with its tables and folders; the file may end beyond it. `None` when it is not there whole
/// and in one piece.
pub fn find(head: &[u8], folder: &[u8; NAME_BYTES], name: &[u8; NAME_BYTES]) -> Option<Range<u64>> {
    let volume = Volume::parse(head)?;
    let folder = volume.entry(volume.root_cluster, folder, ATTRIBUTE_FOLDER)?;
    let file = volume.entry(folder.cluster, name, 0)?;
    let clusters = u64::from(file.size_bytes).div_ceil(volume.cluster_bytes);
    volume.is_in_one_piece(file.cluster, clusters).then_some(())?;
    let start = volume.offset(file.cluster)?;
    Some(start..start + u64::from(file.size_bytes))
}

struct Volume<'a> {
    head: &'a [u8],
    cluster_bytes: u64,
    /// Where the first FAT begins.
    fat: u64,
    /// Where cluster 2 begins.
    data: u64,
    root_cluster: u32,
}

struct Entry {
    cluster: u32,
    size_bytes: u32,
}

impl<'a> Volume<'a> {
    fn parse(head: &'a [u8]) -> Option<Self> {
        let is_fat32 = head.get(510..512)? == [0x55, 0xaa] && head.get(82..90)? == b"FAT32   ";
        is_fat32.then_some(())?;
        let sector_bytes = u64::from(u16_at(head, 11)?);
        let cluster_bytes = sector_bytes * u64::from(*head.get(13)?);
        let reserved = u64::from(u16_at(head, 14)?);
        let fats = u64::from(*head.get(16)?) * u64::from(u32_at(head, 36)?);
        (cluster_bytes > 0).then_some(Self {
            head,
            cluster_bytes,
            fat: reserved * sector_bytes,
            data: (reserved + fats) * sector_bytes,
            root_cluster: u32_at(head, 44)?,
        })
    }

    fn entry(&self, folder: u32, name: &[u8; NAME_BYTES], attribute: u8) -> Option<Entry> {
        let mut cluster = folder;
        for _ in 0..FOLDER_CLUSTERS_MAX {
            let start = usize::try_from(self.offset(cluster)?).ok()?;
            let content =
                self.head.get(start..start.checked_add(usize::try_from(self.cluster_bytes).ok()?)?)?;
            let mut entries = content.as_chunks::<ENTRY_BYTES>().0.iter();
            let is_wanted = |entry: &&[u8; ENTRY_BYTES]| {
                entry.starts_with(name) && entry[NAME_BYTES] & ATTRIBUTE_FOLDER == attribute
            };
            if let Some(entry) = entries.find(is_wanted) {
                let cluster = u32::from(u16_at(entry, 20)?) << 16 | u32::from(u16_at(entry, 26)?);
                return Some(Entry { cluster, size_bytes: u32_at(entry, 28)? });
            }
            cluster = self.next(cluster)?;
        }
        None
    }

    fn is_in_one_piece(&self, first: u32, clusters: u64) -> bool {
        let follows = |index: u64| {
            let cluster = u32::try_from(u64::from(first) + index).ok()?;
            (self.next(cluster)? == cluster + 1).then_some(())
        };
        (1..clusters).all(|index| follows(index - 1).is_some())
    }

    /// The cluster after this one; `None` at the end of the chain.
    fn next(&self, cluster: u32) -> Option<u32> {
        let at = usize::try_from(self.fat + u64::from(cluster) * 4).ok()?;
        let next = u32_at(self.head, at)? & CLUSTER_MASK;
        (2..CLUSTER_END).contains(&next).then_some(next)
    }

    fn offset(&self, cluster: u32) -> Option<u64> {
        Some(self.data + u64::from(cluster.checked_sub(2)?) * self.cluster_bytes)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECTOR: usize = 512;
    const DATA_SECTOR: usize = 40;
    pub const FOLDER: &[u8; 11] = b"CAIRN      ";
    pub const FILE: &[u8; 11] = b"SEED    TAR";

    /// A volume with folder and file, whose file of `size` bytes begins at cluster 5.
    pub fn volume(size: usize) -> Vec<u8> {
        let clusters = size.div_ceil(SECTOR);
        let mut head = vec![0; (DATA_SECTOR + 3 + clusters) * SECTOR];
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        head[82..90].copy_from_slice(b"FAT32   ");
        head[11..13].copy_from_slice(&512u16.to_le_bytes());
        (head[13], head[16]) = (1, 2);
        head[14..16].copy_from_slice(&32u16.to_le_bytes());
        head[36..40].copy_from_slice(&4u32.to_le_bytes());
        head[44..48].copy_from_slice(&2u32.to_le_bytes());
        entry(&mut head, 2, 0, b"CAIRN-ESP  ", (0x08, 0, 0));
        entry(&mut head, 2, 1, FOLDER, (0x10, 4, 0));
        entry(&mut head, 4, 0, FILE, (0x20, 5, size as u32));
        for cluster in [2, 4] {
            link(&mut head, cluster, 0x0fff_ffff);
        }
        for cluster in 5..5 + clusters {
            let last = cluster == 4 + clusters;
            link(&mut head, cluster, if last { 0x0fff_ffff } else { cluster as u32 + 1 });
        }
        head
    }

    fn entry(head: &mut [u8], cluster: usize, index: usize, name: &[u8; 11], rest: (u8, u16, u32)) {
        let at = (DATA_SECTOR + cluster - 2) * SECTOR + index * 32;
        head[at..at + 11].copy_from_slice(name);
        head[at + 11] = rest.0;
        head[at + 26..at + 28].copy_from_slice(&rest.1.to_le_bytes());
        head[at + 28..at + 32].copy_from_slice(&rest.2.to_le_bytes());
    }

    fn link(head: &mut [u8], cluster: usize, next: u32) {
        let at = 32 * SECTOR + cluster * 4;
        head[at..at + 4].copy_from_slice(&next.to_le_bytes());
    }

    #[test]
    fn a_file_in_one_piece_is_found() {
        let start = ((DATA_SECTOR + 3) * SECTOR) as u64;
        for size in [1, 512, 3000] {
            assert_eq!(find(&volume(size), FOLDER, FILE), Some(start..start + size as u64));
        }
        assert_eq!(find(&volume(512), FOLDER, b"OTHER   TAR"), None);
        assert_eq!(find(&volume(512), FILE, FOLDER), None);
    }

    #[test]
    fn a_file_in_pieces_is_not_taken() {
        let mut head = volume(3000);
        link(&mut head, 6, 9);
        assert_eq!(find(&head, FOLDER, FILE), None);
    }

    proptest! {
        #[test]
        fn damaged_volumes_never_panic(
            changes in proptest::collection::vec((0..22_000usize, any::<u8>()), 0..20),
            length in 0..25_000usize,
        ) {
            let mut head = volume(3000);
            for (at, byte) in changes {
                if let Some(place) = head.get_mut(at) { *place = byte; }
            }
            head.truncate(length);
            let _ = find(&head, FOLDER, FILE);
        }
    }
}

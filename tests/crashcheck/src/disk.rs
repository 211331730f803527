//! A disk as a set of writes over a base image left it, with a fingerprint of each region that follows every write.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use aws_lc_rs::digest;

use crate::{
    SECTOR_BYTES, Sector,
    region::{self, Map, Region},
};

/// Content of a region, as far as it differs from the base image: the sum of its sectors' digests, so that it follows one
/// write in no time and comes back to the same value with the same content.
pub type Print = u128;

/// A disk in memory.
#[derive(Debug)]
pub struct Disk {
    base: File,
    base_sectors: u64,
    map: Map,
    /// Sectors that differ from the base image.
    written: HashMap<u64, Written>,
    prints: HashMap<Region, Print>,
    /// Sectors of the roots, in the order in which they changed.
    root_changes: Vec<u64>,
}

#[derive(Debug)]
struct Written {
    content: Box<Sector>,
    digest: Print,
}

impl Disk {
    /// A disk of so many bytes that begins with the image at `base` and is empty behind it.
    pub fn new(base: &Path, size_bytes: u64) -> Result<Self> {
        let file = File::open(base).with_context(|| format!("cannot open {}", base.display()))?;
        let base_sectors = file.metadata()?.len() / SECTOR_BYTES;
        let sectors = size_bytes / SECTOR_BYTES;
        let esp = region::range(&layout::ESP, sectors).start;
        let seed = flash::seed::locate(|offset, data| file.read_exact_at(data, esp * SECTOR_BYTES + offset));
        // A disk that was not made by `flash` or the image builder has none, and then the whole ESP counts.
        let seed = seed.map_or(0..0, |seed| esp + seed.start / SECTOR_BYTES..esp + seed.end / SECTOR_BYTES);
        Ok(Self {
            base: file,
            base_sectors,
            map: Map::new(sectors, seed),
            written: HashMap::new(),
            prints: HashMap::new(),
            root_changes: Vec::new(),
        })
    }

    /// Where its regions lie.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// The fingerprint of a region; 0 for one that is as in the base image.
    pub fn print(&self, region: Region) -> Print {
        self.prints.get(&region).copied().unwrap_or_default()
    }

    /// The fingerprint of all that is modelled.
    pub fn whole_print(&self) -> Print {
        self.prints.values().fold(0, |sum, print| sum.wrapping_add(*print))
    }

    /// Sectors of the roots that have changed, each time they did.
    pub fn root_changes(&self) -> &[u64] {
        &self.root_changes
    }

    /// Writes a sector; one of a region that is not modelled is forgotten.
    pub fn write(&mut self, sector: u64, content: &Sector) -> io::Result<()> {
        let region = self.map.region(sector);
        if !region.is_modelled() {
            return Ok(());
        }
        let before = self.written.get(&sector);
        let as_before = before.map_or_else(
            || self.base_sector(sector).map(|base| base == *content),
            |before| Ok(*before.content == *content),
        )?;
        if as_before {
            return Ok(());
        }
        let before = self.written.remove(&sector).map_or(0, |before| before.digest);
        let mut print = self.print(region).wrapping_sub(before);
        if *content != self.base_sector(sector)? {
            let digest = digest(sector, content);
            print = print.wrapping_add(digest);
            self.written.insert(sector, Written { content: Box::new(*content), digest });
        }
        self.prints.insert(region, print);
        if matches!(region, Region::RootA | Region::RootB) {
            self.root_changes.push(sector);
        }
        Ok(())
    }

    /// Reads a sector.
    pub fn sector(&self, sector: u64) -> io::Result<Sector> {
        self.written.get(&sector).map_or_else(|| self.base_sector(sector), |written| Ok(*written.content))
    }

    /// Fills the buffer, whole sectors, from this sector on.
    pub fn read(&self, first: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        let within = self.base_sectors.saturating_sub(first).saturating_mul(SECTOR_BYTES);
        let within = usize::try_from(within).unwrap_or(usize::MAX).min(buffer.len());
        self.base.read_exact_at(&mut buffer[..within], first * SECTOR_BYTES)?;
        for (sector, content) in (first..).zip(buffer.as_chunks_mut().0) {
            if let Some(written) = self.written.get(&sector) {
                *content = *written.content;
            }
        }
        Ok(())
    }

    fn base_sector(&self, sector: u64) -> io::Result<Sector> {
        let mut content = [0; SECTOR_BYTES as usize];
        if sector < self.base_sectors {
            self.base.read_exact_at(&mut content, sector * SECTOR_BYTES)?;
        }
        Ok(content)
    }
}

fn digest(sector: u64, content: &Sector) -> Print {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&sector.to_le_bytes());
    context.update(content);
    context.finish().as_ref().first_chunk().map_or(0, |bytes| Print::from_le_bytes(*bytes))
}

/// Reads the disk as a file.
#[derive(Debug)]
pub struct Reader<'a> {
    disk: &'a Disk,
    position: u64,
}

impl<'a> Reader<'a> {
    /// From its beginning.
    pub fn new(disk: &'a Disk) -> Self {
        Self { disk, position: 0 }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let sector = self.disk.sector(self.position / SECTOR_BYTES)?;
        let within = usize::try_from(self.position % SECTOR_BYTES).unwrap_or_default();
        let length = buffer.len().min(sector.len() - within);
        buffer[..length].copy_from_slice(&sector[within..][..length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let end = self.disk.map.sectors * SECTOR_BYTES;
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => end.checked_add_signed(by),
        };
        self.position = position.filter(|position| *position <= end).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First sector of BOOT-A.
    const BOOT_A: u64 = (16 + 64 + 8) * 2048;

    fn disk(folder: &tempfile::TempDir) -> Disk {
        let base = folder.path().join("base");
        std::fs::write(&base, [1; 2048]).unwrap();
        Disk::new(&base, 4 << 30).unwrap()
    }

    #[test]
    fn the_same_content_has_the_same_print_by_whatever_route() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(&folder);
        disk.write(0, &[1; 512]).unwrap();
        disk.write(BOOT_A, &[0; 512]).unwrap();
        assert_eq!(disk.whole_print(), 0);
        disk.write(BOOT_A, &[5; 512]).unwrap();
        disk.write(BOOT_A + 1, &[6; 512]).unwrap();
        let (boot, whole) = (disk.print(Region::BootA), disk.whole_print());
        disk.write(2, &[9; 512]).unwrap();
        assert_eq!(disk.print(Region::BootA), boot);
        assert_ne!(disk.whole_print(), whole);
        disk.write(BOOT_A + 1, &[7; 512]).unwrap();
        assert_ne!(disk.print(Region::BootA), boot);
        disk.write(BOOT_A + 1, &[6; 512]).unwrap();
        disk.write(2, &[1; 512]).unwrap();
        assert_eq!(disk.whole_print(), whole);
        // What two sectors hold is not the same as the other way round.
        disk.write(BOOT_A, &[6; 512]).unwrap();
        disk.write(BOOT_A + 1, &[5; 512]).unwrap();
        assert_ne!(disk.print(Region::BootA), boot);
    }

    #[test]
    fn reads_base_and_writes_together_by_sector_and_as_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(&folder);
        disk.write(3, &[2; 512]).unwrap();
        disk.write(4, &[3; 512]).unwrap();
        let mut buffer = [9; 4 * 512];
        disk.read(2, &mut buffer).unwrap();
        assert_eq!([0, 511, 512, 1024, 1536].map(|at| buffer[at]), [1, 1, 2, 3, 0]);
        let mut reader = Reader::new(&disk);
        reader.seek(SeekFrom::Start(1530)).unwrap();
        let mut bytes = [0; 1024];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!([0, 5, 6, 517, 518].map(|at| bytes[at]), [1, 1, 2, 2, 3]);
        assert_eq!(reader.seek(SeekFrom::End(0)).unwrap(), 4 << 30);
        assert!(reader.seek(SeekFrom::Current(1)).is_err());
    }

    #[test]
    fn what_is_not_modelled_makes_no_other_state() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(&folder);
        let data = region::range(&layout::DATA, disk.map().sectors).start;
        disk.write(data, &[7; 512]).unwrap();
        assert_eq!(disk.whole_print(), 0);
        let root = region::range(&layout::ROOT_B, disk.map().sectors).start;
        disk.write(root, &[7; 512]).unwrap();
        disk.write(root, &[7; 512]).unwrap();
        assert_eq!(disk.root_changes(), [root]);
    }
}

//! Recorded writes of a machine's disk, made real on a raw image: any state that a power cut could have left.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Result, bail};
use crashcheck::{
    SECTOR_BYTES, Sector,
    log::Log,
    recipe::{Piece, Recipe, TORN},
    region::Map,
};

/// The states that end with a sector written to `range` of the disk, in bytes.
pub fn cuts(log: &Log, range: Range<u64>) -> Vec<Recipe> {
    let mut cuts = Vec::new();
    for (index, entry) in log.entries().iter().enumerate() {
        if !entry.is_discard() && range.contains(&(entry.sector * SECTOR_BYTES)) {
            cuts.extend((1..=entry.sectors).map(|sectors| Recipe::Prefix { entry: index, sectors }));
        }
    }
    cuts
}

/// A raw disk image that moves forward through a log.
#[derive(Debug)]
pub struct Replay<'a> {
    log: &'a Log,
    map: Map,
    disk: File,
    /// Entries that are there for good.
    done: usize,
    /// What the pieces on top of them overwrote, in order.
    overwritten: Vec<(u64, Sector)>,
}

impl<'a> Replay<'a> {
    /// Begins with the raw image at `disk`, as it was when the recording began. The image is changed in place.
    pub fn new(log: &'a Log, map: Map, disk: &Path) -> Result<Self> {
        let disk = File::options().read(true).write(true).open(disk)?;
        Ok(Self { log, map, disk, done: 0, overwritten: Vec::new() })
    }

    /// Makes a state of which no less of the log is there for good than of those before.
    pub fn make(&mut self, recipe: &Recipe) -> Result<()> {
        if recipe.base() < self.done {
            bail!("a replay does not go back from entry {} to {recipe}", self.done);
        }
        for (sector, content) in self.overwritten.drain(..).rev() {
            self.disk.write_all_at(&content, sector * SECTOR_BYTES)?;
        }
        while self.done < recipe.base() {
            let sectors = 0..self.log.entries()[self.done].sectors;
            self.write(&Piece { entry: self.done, sectors, is_torn: false })?;
            self.done += 1;
        }
        for piece in recipe.pieces(self.log, &self.map) {
            self.keep(&piece)?;
            self.write(&piece)?;
        }
        Ok(())
    }

    fn keep(&mut self, piece: &Piece) -> Result<()> {
        let first = self.log.entries()[piece.entry].sector;
        for index in piece.sectors.clone() {
            let mut content = [0; SECTOR_BYTES as usize];
            self.disk.read_exact_at(&mut content, (first + index) * SECTOR_BYTES)?;
            self.overwritten.push((first + index, content));
        }
        Ok(())
    }

    fn write(&self, piece: &Piece) -> Result<()> {
        let entry = &self.log.entries()[piece.entry];
        for index in piece.sectors.clone() {
            let content = if piece.is_torn { TORN } else { self.log.sector(entry, index)? };
            self.disk.write_all_at(&content, (entry.sector + index) * SECTOR_BYTES)?;
        }
        Ok(())
    }
}

/// Copies a range of a sparse file to the beginning of a new one, keeping its holes.
pub fn extract(from: &Path, range: Range<u64>, to: &Path) -> Result<()> {
    let mut source = File::open(from)?;
    let target = File::create(to)?;
    target.set_len(range.end - range.start)?;
    let mut position = range.start;
    while let Some(data) = next_data(&source, position, range.end)? {
        source.seek(SeekFrom::Start(data.start))?;
        let mut block = Vec::new();
        (&source).take(data.end - data.start).read_to_end(&mut block)?;
        target.write_all_at(&block, data.start - range.start)?;
        position = data.end;
    }
    Ok(())
}

/// The next run of data of a sparse file, within `from..end`.
fn next_data(file: &File, from: u64, end: u64) -> Result<Option<Range<u64>>> {
    use nix::unistd::{Whence, lseek};
    let seek = |position: u64, whence| match lseek(file, i64::try_from(position)?, whence) {
        Ok(found) => Ok(Some(u64::try_from(found)?)),
        Err(nix::Error::ENXIO) => Ok(None),
        Err(errno) => Err(anyhow::Error::from(errno)),
    };
    let Some(start) = seek(from, Whence::SeekData)?.filter(|start| *start < end) else { return Ok(None) };
    let stop = seek(start, Whence::SeekHole)?.unwrap_or(end).min(end);
    Ok(Some(start..stop))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 8 * SECTOR_BYTES;

    /// A log with a write of two sectors at 3, a flush, a discard of one at 4 and a write of one at 3.
    fn log(path: &Path) {
        let file = File::create(path).unwrap();
        let mut position = 0;
        let mut put = |words: &[u64], data: &[u8]| {
            let mut block: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            block.resize(512, 0);
            block.extend(data);
            file.write_all_at(&block, position).unwrap();
            position += block.len() as u64;
        };
        put(&[0x006a_7366_7773_6872, 1, 4, SECTOR_BYTES], &[]);
        put(&[3, 2, 0, 1024], &[[1; 512], [2; 512]].concat());
        put(&[0, 0, 1, 0], &[]);
        put(&[4, 1, 1 << 2, 512], &[]);
        put(&[3, 1, 2, 512], &[3; 512]);
    }

    #[test]
    fn every_cut_is_made_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (path, disk) = (folder.path().join("log"), folder.path().join("disk"));
        log(&path);
        File::create(&disk).unwrap().set_len(SIZE).unwrap();
        let log = Log::open(&path).unwrap();
        let states = cuts(&log, 0..SIZE);
        assert_eq!(states.len(), 3);
        assert_eq!(cuts(&log, 0..SECTOR_BYTES).len(), 0);
        let mut replay = Replay::new(&log, Map::new(1 << 24, 0..0), &disk).unwrap();
        let content = |recipe: &Recipe, replay: &mut Replay<'_>| {
            replay.make(recipe).unwrap();
            let content = std::fs::read(&disk).unwrap();
            [3, 4].map(|sector| content[sector * 512])
        };
        let seen: Vec<_> = states.iter().map(|recipe| content(recipe, &mut replay)).collect();
        assert_eq!(seen, [[1, 0], [1, 2], [3, 0]]);
        // The same entries are there for good, so there is a way to another state and back.
        assert_eq!(content(&"t3.0".parse().unwrap(), &mut replay), [TORN[0], 0]);
        assert_eq!(content(&states[2], &mut replay), [3, 0]);
        assert!(replay.make(&states[0]).is_err());
    }

    #[test]
    fn a_range_is_extracted_with_its_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"inside", (8 << 20) + 4096).unwrap();
        file.write_all_at(b"outside", 40 << 20).unwrap();
        extract(&from, 8 << 20..24 << 20, &to).unwrap();
        let content = std::fs::read(&to).unwrap();
        assert_eq!((content.len(), &content[4096..4102]), (16 << 20, &b"inside"[..]));
        assert!(content.iter().filter(|byte| **byte != 0).count() == 6);
    }
}

//! Recorded writes of a machine's disk, replayed up to any point.
//!
//! QEMU's `blklogwrites` filter records in the format of the kernel's dm-log-writes
//! (Documentation/admin-guide/device-mapper/log-writes.rst). A prefix of the record, cut between any two sectors, is what a power
//! cut could have left on a disk that keeps the order of writes.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const SECTOR_BYTES: u64 = 512;
const DISCARD: u64 = 1 << 2;

/// A write, a discard or a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// First sector on the disk.
    sector: u64,
    /// Sectors written.
    sectors: u64,
    /// Where the data lies in the log; a discard has none.
    data_bytes: Option<u64>,
}

/// A recorded log.
#[derive(Debug)]
pub struct Log {
    file: File,
    entries: Vec<Entry>,
}

impl Log {
    /// Reads the log of a machine that has ended by itself or by `quit`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let header = words::<4>(&file, 0)?;
        let (entries, sector_bytes) = (header[2], header[3] & 0xffff_ffff);
        if header[0] != MAGIC || header[1] != VERSION || sector_bytes != SECTOR_BYTES {
            bail!("{} is no log of writes with sectors of {SECTOR_BYTES} bytes: {header:x?}", path.display());
        }
        let mut log = Self { file, entries: Vec::new() };
        let mut position = SECTOR_BYTES;
        for _ in 0..entries {
            let [sector, sectors, flags, _] = words::<4>(&log.file, position)?;
            position += SECTOR_BYTES;
            let data_bytes = (flags & DISCARD == 0).then_some(position);
            log.entries.push(Entry { sector, sectors, data_bytes });
            if data_bytes.is_some() {
                position += sectors * SECTOR_BYTES;
            }
        }
        Ok(log)
    }

    /// Sectors written to `range` of the disk, in bytes: the points at which the record can be cut.
    pub fn cuts(&self, range: std::ops::Range<u64>) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            if entry.data_bytes.is_some() && range.contains(&(entry.sector * SECTOR_BYTES)) {
                cuts.extend((1..=entry.sectors).map(|sectors| Cut { entry: index, sectors }));
            }
        }
        cuts
    }
}

/// A point in a log: all entries before `entry`, and of this one the first `sectors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    entry: usize,
    sectors: u64,
}

/// A raw disk image that moves forward through a log.
#[derive(Debug)]
pub struct Replay<'a> {
    log: &'a Log,
    disk: File,
    done: Cut,
}

impl<'a> Replay<'a> {
    /// Begins with the raw image at `disk`, as it was when the recording began. The image is changed in place.
    pub fn new(log: &'a Log, disk: &Path) -> Result<Self> {
        let disk = File::options().read(true).write(true).open(disk)?;
        Ok(Self { log, disk, done: Cut { entry: 0, sectors: 0 } })
    }

    /// Replays up to a later cut.
    pub fn advance(&mut self, to: Cut) -> Result<()> {
        if to < self.done {
            bail!("a replay does not go back from {:?} to {to:?}", self.done);
        }
        while self.done.entry < to.entry {
            let entry = self.log.entries[self.done.entry];
            self.copy(entry, self.done.sectors..entry.sectors)?;
            self.done = Cut { entry: self.done.entry + 1, sectors: 0 };
        }
        if let Some(entry) = self.log.entries.get(to.entry) {
            self.copy(*entry, self.done.sectors..to.sectors)?;
        }
        self.done = to;
        Ok(())
    }

    fn copy(&self, entry: Entry, sectors: std::ops::Range<u64>) -> io::Result<()> {
        let mut sector = [0; SECTOR_BYTES as usize];
        for index in sectors {
            if let Some(data_bytes) = entry.data_bytes {
                self.log.file.read_exact_at(&mut sector, data_bytes + index * SECTOR_BYTES)?;
            }
            self.disk.write_all_at(&sector, (entry.sector + index) * SECTOR_BYTES)?;
        }
        Ok(())
    }
}

/// Copies a range of a sparse file to the beginning of a new one, keeping its holes.
pub fn extract(from: &Path, range: std::ops::Range<u64>, to: &Path) -> Result<()> {
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
fn next_data(file: &File, from: u64, end: u64) -> Result<Option<std::ops::Range<u64>>> {
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

fn words<const N: usize>(file: &File, offset: u64) -> io::Result<[u64; N]> {
    let mut words = [0; N];
    for (index, word) in words.iter_mut().enumerate() {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, offset + index as u64 * 8)?;
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        put(&[MAGIC, VERSION, 4, SECTOR_BYTES], &[]);
        put(&[3, 2, 0, 1024], &[[1; 512], [2; 512]].concat());
        put(&[0, 0, 1, 0], &[]);
        put(&[4, 1, DISCARD, 512], &[]);
        put(&[3, 1, 2, 512], &[3; 512]);
    }

    #[test]
    fn every_cut_is_replayed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (path, disk) = (folder.path().join("log"), folder.path().join("disk"));
        log(&path);
        File::create(&disk).unwrap().set_len(8 * SECTOR_BYTES).unwrap();
        let log = Log::open(&path).unwrap();
        let cuts = log.cuts(0..8 * SECTOR_BYTES);
        assert_eq!(cuts.len(), 3);
        assert_eq!(log.cuts(0..SECTOR_BYTES).len(), 0);
        let mut replay = Replay::new(&log, &disk).unwrap();
        let mut seen = Vec::new();
        for cut in cuts {
            replay.advance(cut).unwrap();
            let content = std::fs::read(&disk).unwrap();
            seen.push([3, 4].map(|sector| content[sector * 512]));
        }
        assert_eq!(seen, [[1, 0], [1, 2], [3, 0]]);
        assert!(replay.advance(Cut { entry: 0, sectors: 1 }).is_err());
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

    #[test]
    fn what_is_no_log_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, [7; 4096]).unwrap();
        assert!(Log::open(&path).unwrap_err().to_string().contains("no log of writes"));
    }
}

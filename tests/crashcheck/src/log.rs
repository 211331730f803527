//! The log that QEMU's `blklogwrites` filter writes, in the format of the kernel's dm-log-writes
//! (Documentation/admin-guide/device-mapper/log-writes.rst).

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::SECTOR_BYTES;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1 << 0;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;

/// What the machine did to its disk, one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First sector on the disk.
    pub sector: u64,
    /// Sectors written.
    pub sectors: u64,
    /// Everything before it lies on stable storage: it is a flush, or began with one.
    pub flushes: bool,
    /// It lies on stable storage itself once it is done.
    pub durable: bool,
    /// Where the data lies in the log; a discard has none.
    data_bytes: Option<u64>,
    /// Where the entry ends in the log.
    end_bytes: u64,
}

impl Entry {
    /// Whether sectors are dropped instead of written: they read as zeros afterwards.
    pub fn is_discard(&self) -> bool {
        self.data_bytes.is_none()
    }

    /// The sectors on the disk.
    pub fn range(&self) -> Range<u64> {
        self.sector..self.sector + self.sectors
    }
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
        let (count, sector_bytes) = (header[2], header[3] & 0xffff_ffff);
        if header[0] != MAGIC || header[1] != VERSION || sector_bytes != SECTOR_BYTES {
            bail!("{} is no log of writes with sectors of {SECTOR_BYTES} bytes: {header:x?}", path.display());
        }
        let mut entries = Vec::new();
        let mut position = SECTOR_BYTES;
        for _ in 0..count {
            let [sector, sectors, flags, _] = words::<4>(&file, position)?;
            position += SECTOR_BYTES;
            let data_bytes = (flags & DISCARD == 0).then_some(position);
            position += data_bytes.map_or(0, |_| sectors * SECTOR_BYTES);
            let (flushes, durable) = (flags & FLUSH != 0, flags & FUA != 0);
            entries.push(Entry { sector, sectors, flushes, durable, data_bytes, end_bytes: position });
        }
        Ok(Self { file, entries })
    }

    /// All entries in the order in which they were completed.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many entries were there when the log had this length.
    pub fn entries_within(&self, length_bytes: u64) -> usize {
        self.entries.partition_point(|entry| entry.end_bytes <= length_bytes)
    }

    /// One sector of what an entry writes.
    pub fn sector(&self, entry: &Entry, index: u64) -> io::Result<[u8; SECTOR_BYTES as usize]> {
        let mut sector = [0; SECTOR_BYTES as usize];
        if let Some(data_bytes) = entry.data_bytes {
            self.file.read_exact_at(&mut sector, data_bytes + index * SECTOR_BYTES)?;
        }
        Ok(sector)
    }
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

    #[test]
    fn entries_and_what_they_promise_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut bytes = Vec::new();
        let mut put = |words: [u64; 4], data: &[u8]| {
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            bytes.extend_from_slice(data);
        };
        put([MAGIC, VERSION, 4, SECTOR_BYTES], &[]);
        put([3, 2, 0, 0], &[[1; 512], [2; 512]].concat());
        put([0, 0, FLUSH, 0], &[]);
        put([4, 1, DISCARD, 0], &[]);
        put([9, 1, FLUSH | FUA, 0], &[3; 512]);
        std::fs::write(&path, &bytes).unwrap();
        let log = Log::open(&path).unwrap();
        let promises: Vec<_> =
            log.entries().iter().map(|entry| (entry.flushes, entry.durable, entry.is_discard())).collect();
        let plain = (false, false, false);
        assert_eq!(promises, [plain, (true, false, false), (false, false, true), (true, true, false)]);
        assert_eq!(log.sector(&log.entries()[0], 1).unwrap(), [2; 512]);
        assert_eq!(log.sector(&log.entries()[2], 0).unwrap(), [0; 512]);
        assert_eq!(log.entries()[3].range(), 9..10);
        let lengths = [512, 512 * 4, 512 * 5, bytes.len() as u64];
        assert_eq!(lengths.map(|length| log.entries_within(length)), [0, 1, 2, 4]);
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, [7; 4096]).unwrap();
        assert!(Log::open(&path).unwrap_err().to_string().contains("no log of writes"));
    }
}

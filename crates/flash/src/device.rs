//! A block device, or a file that stands for a disk, past the page cache.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, PosixFadviseAdvice, fallocate, posix_fadvise};

use crate::{Buffer, CHUNK_BYTES, Medium};

/// An open disk; nobody else has it mounted for as long as this lives.
#[derive(Debug)]
pub struct Device {
    file: File,
    size_bytes: u64,
    /// Whether the device can zero by itself, as far as is known.
    zeroes_itself: bool,
    scratch: Buffer,
}

impl Device {
    /// Opens a block device for this process alone: `EBUSY` while any of it is mounted or otherwise in use.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::new(options(OFlag::O_DIRECT | OFlag::O_EXCL).open(path)?)
    }

    /// Opens a block device whoever uses it.
    pub fn open_shared(path: &Path) -> io::Result<Self> {
        Self::new(options(OFlag::O_DIRECT).open(path)?)
    }

    /// Opens or makes a regular file and sees to it that it has at least this size.
    pub fn open_file(path: &Path, size_bytes: u64) -> io::Result<Self> {
        let open = |flags| options(flags).create(true).truncate(false).open(path);
        // Some file systems have no direct I/O; `flush` drops the cache for them.
        let file = open(OFlag::O_DIRECT).or_else(|_| open(OFlag::empty()))?;
        if file.metadata()?.len() < size_bytes {
            file.set_len(size_bytes)?;
        }
        Self::new(file)
    }

    fn new(mut file: File) -> io::Result<Self> {
        let size_bytes = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, size_bytes, zeroes_itself: true, scratch: Buffer::new(CHUNK_BYTES) })
    }

    /// Reading is quicker than writing on flash, and spares it.
    fn zero_by_hand(&mut self, offset_bytes: u64, length: usize) -> io::Result<()> {
        let Some(range) = self.scratch.get_mut(..length) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        self.file.read_exact_at(range, offset_bytes)?;
        if range.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        range.fill(0);
        self.file.write_all_at(range, offset_bytes)
    }
}

fn options(flags: OFlag) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags.bits());
    options
}

impl Medium for Device {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn write(&mut self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset_bytes)
    }

    fn zero(&mut self, offset_bytes: u64, length: usize) -> io::Result<()> {
        let overflow = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let (start, size) =
            (i64::try_from(offset_bytes).map_err(overflow)?, i64::try_from(length).map_err(overflow)?);
        if self.zeroes_itself {
            // On a block device: zeros that the device makes, never mere discard (block/fops.c, blkdev_fallocate).
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            match fallocate(&self.file, flags, start, size) {
                Ok(()) => return Ok(()),
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => self.zeroes_itself = false,
                Err(errno) => return Err(errno.into()),
            }
        }
        self.zero_by_hand(offset_bytes, length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        Ok(posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    }

    fn read(&mut self, offset_bytes: u64, data: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(data, offset_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroes_by_itself_and_by_hand() {
        for zeroes_itself in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("disk");
            std::fs::write(&path, vec![0xa5; 3 * CHUNK_BYTES]).unwrap();
            let mut device = Device::open_file(&path, 0).unwrap();
            device.zeroes_itself = zeroes_itself;
            device.zero(CHUNK_BYTES as u64, CHUNK_BYTES).unwrap();
            device.flush().unwrap();
            let content = std::fs::read(&path).unwrap();
            let (before, rest) = content.split_at(CHUNK_BYTES);
            let (zeros, after) = rest.split_at(CHUNK_BYTES);
            assert!(zeros.iter().all(|byte| *byte == 0));
            assert!(before.iter().chain(after).all(|byte| *byte == 0xa5));
        }
    }

    #[test]
    fn a_file_grows_to_the_image_and_never_shrinks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        assert_eq!(Device::open_file(&path, 4096).unwrap().size_bytes(), 4096);
        assert_eq!(Device::open_file(&path, 512).unwrap().size_bytes(), 4096);
    }
}

//! Two sealed copies of a short text in BOOTSTATE, outside of every file system: what the node cannot do without.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use aws_lc_rs::digest::{Context, SHA256};
use layout::{BOOTSTATE_MIRROR_BYTES, BOOTSTATE_MIRROR_OFFSETS_BYTES};

use super::{StorageError, SystemDisk};

/// Begins a copy; ends with the version of this form.
const MAGIC: [u8; 8] = *b"CAIRNM\0\x01";
/// Magic, sequence number, length, SHA-256 of both and the content.
const HEADER_BYTES: usize = 8 + 8 + 8 + 32;

/// The copies of the system disk.
#[derive(Clone, Debug)]
pub struct Mirror {
    device: PathBuf,
}

/// A copy that is whole.
struct Copy {
    offset_bytes: u64,
    sequence: u64,
    content: Vec<u8>,
}

impl Mirror {
    /// Those of this disk; not read yet.
    pub fn of(disk: &SystemDisk) -> Result<Self, StorageError> {
        disk.image_partition(&layout::BOOTSTATE).map(|device| Self { device })
    }

    /// The newest content; `None` when no copy is whole.
    pub fn read(&self) -> Result<Option<Vec<u8>>, StorageError> {
        let file = File::open(&self.device).map_err(|source| self.failed(source))?;
        Ok(newest(&file).map(|copy| copy.content))
    }

    /// Writes over the older copy, so that a power cut leaves the newer one. Returns once it is on the disk.
    pub fn write(&self, content: &[u8]) -> Result<(), StorageError> {
        let file = self.open_to_write()?;
        let newest = newest(&file);
        let sequence = newest.as_ref().map_or(0, |copy| copy.sequence).saturating_add(1);
        let [first, second] = BOOTSTATE_MIRROR_OFFSETS_BYTES;
        let offset_bytes = if newest.is_some_and(|copy| copy.offset_bytes == first) { second } else { first };
        let sealed = seal(sequence, content);
        if sealed.len() as u64 > BOOTSTATE_MIRROR_BYTES {
            return Err(self.failed(io::ErrorKind::FileTooLarge.into()));
        }
        file.write_all_at(&sealed, offset_bytes)
            .and_then(|()| file.sync_all())
            .map_err(|source| self.failed(source))
    }

    /// Overwrites both copies: keys are in them.
    pub fn erase(&self) -> Result<(), StorageError> {
        let file = self.open_to_write()?;
        let zeros = vec![0; usize::try_from(BOOTSTATE_MIRROR_BYTES).unwrap_or_default()];
        BOOTSTATE_MIRROR_OFFSETS_BYTES
            .iter()
            .try_for_each(|offset_bytes| file.write_all_at(&zeros, *offset_bytes))
            .and_then(|()| file.sync_all())
            .map_err(|source| self.failed(source))
    }

    fn open_to_write(&self) -> Result<File, StorageError> {
        let opened = OpenOptions::new().read(true).write(true).open(&self.device);
        opened.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> StorageError {
        StorageError::Open { path: self.device.clone(), source }
    }
}

fn newest(file: &File) -> Option<Copy> {
    let copies = BOOTSTATE_MIRROR_OFFSETS_BYTES.iter().filter_map(|offset_bytes| read(file, *offset_bytes));
    copies.max_by_key(|copy| copy.sequence)
}

fn read(file: &File, offset_bytes: u64) -> Option<Copy> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, offset_bytes).ok()?;
    let (magic, rest) = header.split_first_chunk::<8>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (length, sha256) = rest.split_first_chunk::<8>()?;
    let (sequence, length) = (u64::from_be_bytes(*sequence), u64::from_be_bytes(*length));
    if *magic != MAGIC || length > BOOTSTATE_MIRROR_BYTES - HEADER_BYTES as u64 {
        return None;
    }
    let mut content = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut content, offset_bytes + HEADER_BYTES as u64).ok()?;
    (hash(sequence, &content) == sha256).then_some(Copy { offset_bytes, sequence, content })
}

fn seal(sequence: u64, content: &[u8]) -> Vec<u8> {
    let mut sealed = MAGIC.to_vec();
    sealed.extend(sequence.to_be_bytes());
    sealed.extend((content.len() as u64).to_be_bytes());
    sealed.extend(hash(sequence, content));
    sealed.extend(content);
    sealed
}

fn hash(sequence: u64, content: &[u8]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(&sequence.to_be_bytes());
    context.update(&(content.len() as u64).to_be_bytes());
    context.update(content);
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::Scratch;

    fn mirror(scratch: &Scratch) -> (Mirror, File) {
        let device = scratch.path().join("bootstate");
        let file = File::options().read(true).write(true).create_new(true).open(&device).unwrap();
        file.set_len(layout::BOOTSTATE.size_bytes.unwrap()).unwrap();
        (Mirror { device }, file)
    }

    #[test]
    fn the_newest_whole_copy_counts() {
        let scratch = Scratch::new("mirror");
        let (mirror, file) = mirror(&scratch);
        assert_eq!(mirror.read().unwrap(), None);
        for content in ["one", "two", "three"] {
            mirror.write(content.as_bytes()).unwrap();
            assert_eq!(mirror.read().unwrap().unwrap(), content.as_bytes());
        }
        let [first, second] = BOOTSTATE_MIRROR_OFFSETS_BYTES;
        file.write_all_at(b"x", first + HEADER_BYTES as u64).unwrap();
        assert_eq!(mirror.read().unwrap().unwrap(), b"two", "the older one stands in");
        mirror.write(b"four").unwrap();
        assert_eq!(mirror.read().unwrap().unwrap(), b"four", "the rotten one was replaced");
        file.write_all_at(b"x", second + 9).unwrap();
        file.write_all_at(b"x", first + 17).unwrap();
        assert_eq!(mirror.read().unwrap(), None);
        mirror.write(b"five").unwrap();
        assert_eq!(mirror.read().unwrap().unwrap(), b"five");
    }

    /// Each byte of a write may be the last before a power cut.
    #[test]
    fn a_write_that_is_cut_leaves_the_former_content() {
        let scratch = Scratch::new("mirror-cut");
        let (mirror, file) = mirror(&scratch);
        mirror.write(b"first").unwrap();
        mirror.write(b"former").unwrap();
        let sealed = seal(3, b"never whole");
        let offset = BOOTSTATE_MIRROR_OFFSETS_BYTES[0];
        for cut in 0..sealed.len() {
            file.write_all_at(&sealed[..cut], offset).unwrap();
            let read = mirror.read().unwrap().unwrap();
            assert_eq!(read, b"former", "cut after {cut} bytes");
        }
    }

    #[test]
    fn records_beside_it_are_left_alone_and_what_is_erased_is_gone() {
        let scratch = Scratch::new("mirror-erase");
        let (mirror, file) = mirror(&scratch);
        let records = layout::BOOTSTATE_RECORD_OFFSETS_BYTES;
        records.iter().for_each(|at| file.write_all_at(&[0xaa; 4096], *at).unwrap());
        let longest = vec![b'k'; usize::try_from(BOOTSTATE_MIRROR_BYTES).unwrap() - HEADER_BYTES];
        mirror.write(&longest).unwrap();
        mirror.write(&longest).unwrap();
        assert!(mirror.write(&[&longest[..], b"k"].concat()).is_err());
        mirror.erase().unwrap();
        assert_eq!(mirror.read().unwrap(), None);
        let content = std::fs::read(&mirror.device).unwrap();
        assert!(!content.contains(&b'k'));
        for at in records {
            let mut record = [0; 4096];
            file.read_exact_at(&mut record, at).unwrap();
            assert_eq!(record, [0xaa; 4096]);
        }
    }
}

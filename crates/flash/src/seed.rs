//! The seed: what a flashed disk brings along for the node's first start.
//!
//! It is a tar archive in the file `CAIRN/SEED.TAR` of the ESP, which the image builder makes of zeros (an empty
//! archive) and in one piece. So it is written without touching the file system, and everyone can look at it.
//! A node that is provisioned never reads it.

use std::io::{self, Read};
use std::ops::Range;

use layout::{ESP, FIRST_PARTITION_BYTES, SECTOR_BYTES, SEED_BYTES, SEED_FILE, SEED_FOLDER};

use crate::{Buffer, CHUNK_BYTES, FlashError, Medium, commit, fat, verify, write};

/// How much of the ESP holds its tables and folders: all that is not the seed.
const HEAD_BYTES: usize = 8 << 20;
/// Configuration documents in the archive.
const CONFIGURATION: &str = layout::CONFIG_VOLUME_FILE;
/// The admin's CA in the archive, in PEM.
const ADMIN_CA: &str = layout::SEED_ADMIN_CA;
/// Where image archives lie in the archive.
const IMAGES: &str = layout::CONFIG_VOLUME_IMAGES;
/// Most files that are taken from an archive.
const ENTRIES_MAX: usize = 256;

/// Why a seed cannot be made, placed or read.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The disk's ESP cannot be read.
    #[error("cannot read the ESP")]
    Read(#[source] io::Error),
    /// There is no file for it.
    #[error("the ESP has no {SEED_FOLDER}/{SEED_FILE}: this image takes no configuration along")]
    NoPlace,
    /// It is too large.
    #[error(
        "{needed} bytes are more than the {SEED_BYTES} that fit beside the boot loader: bring the images on a configuration volume"
    )]
    TooLarge {
        /// Its size.
        needed: u64,
    },
    /// An image archive has no usable name.
    #[error("{name:?} is no name for an image archive: letters, digits, '.', '-' and '_', ending in .tar")]
    ImageName {
        /// As given.
        name: String,
    },
    /// The archive cannot be made or read.
    #[error("the seed is no whole archive")]
    Archive(#[source] io::Error),
    /// There is more in it than belongs there.
    #[error("the seed holds {name:?}, which does not belong there")]
    Foreign {
        /// Path in the archive.
        name: String,
    },
    /// It cannot be written or does not read back.
    #[error("cannot write the seed")]
    Place(#[source] FlashError),
}

/// What is in a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Configuration documents.
    Configuration,
    /// CA whose clients alone may configure the node.
    AdminCa,
    /// An image archive with this file name.
    Image(String),
}

impl Entry {
    /// Its path in the archive; the same as on a configuration volume.
    pub fn path(&self) -> String {
        match self {
            Self::Configuration => CONFIGURATION.to_owned(),
            Self::AdminCa => ADMIN_CA.to_owned(),
            Self::Image(name) => format!("{IMAGES}/{name}"),
        }
    }

    fn parse(path: &str) -> Option<Self> {
        match path {
            CONFIGURATION => Some(Self::Configuration),
            ADMIN_CA => Some(Self::AdminCa),
            _ => {
                let name = path.strip_prefix(IMAGES)?.strip_prefix('/')?;
                is_image_name(name).then(|| Self::Image(name.to_owned()))
            }
        }
    }
}

fn is_image_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.ends_with(".tar") && name.len() <= 100 && !name.starts_with('.') && name.chars().all(is_plain)
}

/// Makes the archive.
pub fn pack(contents: &[(Entry, Vec<u8>)]) -> Result<Vec<u8>, SeedError> {
    let mut builder = tar::Builder::new(Vec::new());
    for (entry, content) in contents {
        if let Entry::Image(name) = entry
            && !is_image_name(name)
        {
            return Err(SeedError::ImageName { name: name.clone() });
        }
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        builder.append_data(&mut header, entry.path(), content.as_slice()).map_err(SeedError::Archive)?;
    }
    let archive = builder.into_inner().map_err(SeedError::Archive)?;
    match archive.len() as u64 {
        needed if needed > SEED_BYTES => Err(SeedError::TooLarge { needed }),
        _ => Ok(archive),
    }
}

/// Reads an archive entry by entry.
pub fn unpack(
    archive: impl Read,
    mut take: impl FnMut(Entry, &mut dyn Read) -> io::Result<()>,
) -> Result<(), SeedError> {
    let mut archive = tar::Archive::new(archive);
    for (index, entry) in archive.entries().map_err(SeedError::Archive)?.enumerate() {
        let mut entry = entry.map_err(SeedError::Archive)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let known =
            Entry::parse(&name).filter(|_| entry.header().entry_type().is_file() && index < ENTRIES_MAX);
        let known = known.ok_or(SeedError::Foreign { name })?;
        take(known, &mut entry).map_err(SeedError::Archive)?;
    }
    Ok(())
}

/// Where the seed lies within an ESP that `read` reads (offset, buffer).
pub fn locate(mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>) -> Result<Range<u64>, SeedError> {
    let mut head = Buffer::new(HEAD_BYTES);
    read(0, &mut head).map_err(SeedError::Read)?;
    let found = fat::find(&head, &short_name(SEED_FOLDER), &short_name(SEED_FILE));
    found
        .filter(|range| Some(range.end) <= ESP.size_bytes && range.start.is_multiple_of(SECTOR_BYTES))
        .ok_or(SeedError::NoPlace)
}

/// Writes an archive of this size into the ESP of a flashed disk and reads it back.
pub fn place(medium: &mut dyn Medium, archive: &mut dyn Read, size_bytes: u64) -> Result<(), SeedError> {
    let seed = locate(|offset, data| {
        let mut done = 0;
        data.chunks_mut(CHUNK_BYTES).try_for_each(|chunk| {
            let at = FIRST_PARTITION_BYTES + offset + done;
            done += chunk.len() as u64;
            medium.read(at, chunk)
        })
    })?;
    if size_bytes > seed.end - seed.start {
        return Err(SeedError::TooLarge { needed: size_bytes });
    }
    let base = FIRST_PARTITION_BYTES + seed.start;
    let mut window = Window { medium, base, size_bytes };
    let written = write(archive, &mut window, &mut |_| {}).map_err(SeedError::Place)?;
    verify(&written, &mut window, &mut |_| {}).map_err(SeedError::Place)?;
    commit(&written, &mut window).map_err(SeedError::Place)
}

/// A part of a medium.
struct Window<'a> {
    medium: &'a mut dyn Medium,
    base: u64,
    size_bytes: u64,
}

impl Medium for Window<'_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn write(&mut self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        self.medium.write(self.base + offset_bytes, data)
    }

    fn zero(&mut self, offset_bytes: u64, length: usize) -> io::Result<()> {
        self.medium.zero(self.base + offset_bytes, length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.medium.flush()
    }

    fn read(&mut self, offset_bytes: u64, data: &mut [u8]) -> io::Result<()> {
        self.medium.read(self.base + offset_bytes, data)
    }
}

/// "SEED.TAR" as FAT stores it.
fn short_name(name: &str) -> [u8; 11] {
    let mut short = [b' '; 11];
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    for (place, byte) in short.iter_mut().zip(stem.bytes().take(8)) {
        *place = byte;
    }
    for (place, byte) in short.iter_mut().skip(8).zip(extension.bytes()) {
        *place = byte;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fat::tests::{FILE, FOLDER};

    fn contents() -> Vec<(Entry, Vec<u8>)> {
        vec![
            (Entry::Configuration, b"kind: Api\n".to_vec()),
            (Entry::AdminCa, b"pem".to_vec()),
            (Entry::Image("web-1.0.tar".into()), vec![7; 3000]),
        ]
    }

    fn read(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, SeedError> {
        let mut found = Vec::new();
        unpack(archive, |entry, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            found.push((entry, bytes));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn what_is_packed_unpacks_also_with_zeros_behind() {
        let mut archive = pack(&contents()).unwrap();
        archive.resize(archive.len() + 10_000, 0);
        assert_eq!(read(&archive).unwrap(), contents());
        assert_eq!(read(&[0; 4096]).unwrap(), [], "zeros are an empty seed");
    }

    #[test]
    fn nothing_else_is_taken_from_an_archive() {
        for name in
            ["machine.yml", "images/x", "images/.tar", "images/a b.tar", "etc/shadow", "images/a/b.tar"]
        {
            let mut builder = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_ustar();
            header.set_size(0);
            builder.append_data(&mut header, name, io::empty()).unwrap();
            assert!(matches!(read(&builder.into_inner().unwrap()), Err(SeedError::Foreign { .. })), "{name}");
        }
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "machine.yaml", "/etc/passwd").unwrap();
        assert!(matches!(read(&builder.into_inner().unwrap()), Err(SeedError::Foreign { .. })));
    }

    #[test]
    fn too_much_and_odd_names_are_refused() {
        let large = [(Entry::Image("a.tar".into()), vec![1; SEED_BYTES as usize])];
        assert!(matches!(pack(&large), Err(SeedError::TooLarge { .. })));
        let odd = [(Entry::Image("../a.tar".into()), Vec::new())];
        assert!(matches!(pack(&odd), Err(SeedError::ImageName { .. })));
    }

    #[test]
    fn names_are_those_on_the_volume() {
        assert_eq!((&short_name(SEED_FOLDER), &short_name(SEED_FILE)), (FOLDER, FILE));
    }
}

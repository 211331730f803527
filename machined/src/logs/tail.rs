//! All lines of all logs of a folder. Rotation loses none, unless a log is rotated three times between two looks.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, ErrorKind, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use tokio::net::unix::pipe;

use super::{
    LogError,
    file::{EVENTS_BYTES, older, reopened, watch},
};

/// Read at once.
const PIECE_BYTES: usize = 8 * 1024;
/// A longer line comes in pieces.
const LINE_MAX_BYTES: usize = 8 * 1024;

/// A line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Whose log.
    pub name: &'a str,
    /// Number of the file in which it ends.
    pub origin: u64,
    /// Where in that it ends.
    pub position: u64,
    /// Without its line feed.
    pub text: &'a [u8],
}

/// The logs of a folder: `<name>.log`, rotated to `<name>.log.1`.
pub struct Tails {
    folder: PathBuf,
    changes: pipe::Receiver,
    tails: BTreeMap<String, Tail>,
}

impl Tails {
    /// Begins with the first line that is there.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let changes = watch(folder).map_err(|source| LogError::read(folder, source))?;
        let mut tails = Self { folder: folder.to_owned(), changes, tails: BTreeMap::new() };
        // From now on their files are held, whatever they are renamed to.
        tails.discover()?;
        Ok(tails)
    }

    /// Waits for something to read. Safe to cancel.
    pub async fn changed(&self) -> Result<(), LogError> {
        let error = |source| LogError::read(&self.folder, source);
        loop {
            self.changes.readable().await.map_err(error)?;
            match self.changes.try_read(&mut [0; EVENTS_BYTES]) {
                Ok(_) => return Ok(()),
                Err(reason) if reason.kind() == ErrorKind::WouldBlock => {}
                Err(source) => return Err(error(source)),
            }
        }
    }

    /// Hands over what is new, about so many bytes of each log; whether there is more.
    pub fn read(&mut self, bytes: usize, mut take: impl FnMut(Line<'_>)) -> Result<bool, LogError> {
        self.discover()?;
        let mut is_more = false;
        for (name, tail) in &mut self.tails {
            let mut left = bytes;
            let read = tail.read(&mut left, &mut |origin, position, text| {
                take(Line { name, origin, position, text });
            });
            read.map_err(|source| LogError::read(&tail.path, source))?;
            is_more |= left == 0;
        }
        Ok(is_more)
    }

    /// Looks for logs that are not known yet.
    fn discover(&mut self) -> Result<(), LogError> {
        let error = |source| LogError::read(&self.folder, source);
        for entry in fs::read_dir(&self.folder).map_err(error)? {
            let path = entry.map_err(error)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".log")) else {
                continue;
            };
            if self.tails.contains_key(name) {
                continue;
            }
            match Tail::open(&path) {
                Ok(tail) => drop(self.tails.insert(name.to_owned(), tail)),
                // Just renamed: the next look finds its successor.
                Err(reason) if reason.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(LogError::read(&path, source)),
            }
        }
        Ok(())
    }
}

struct Tail {
    path: PathBuf,
    file: File,
    origin: u64,
    position: u64,
    lines: Lines,
}

impl Tail {
    /// Begins with the file that was rotated, if one was.
    fn open(path: &Path) -> io::Result<Self> {
        let file = match File::open(older(path)) {
            Err(error) if error.kind() == ErrorKind::NotFound => File::open(path)?,
            file => file?,
        };
        let origin = file.metadata()?.ino();
        Ok(Self { path: path.to_owned(), file, origin, position: 0, lines: Lines::default() })
    }

    fn read(&mut self, left: &mut usize, take: &mut impl FnMut(u64, u64, &[u8])) -> io::Result<()> {
        self.drain(left, take)?;
        while *left > 0
            && let Some(newer) = reopened(&self.path, &self.file)?
        {
            // Nothing is added to a file that has been renamed, but before that something may have been.
            self.drain(left, take)?;
            if *left == 0 {
                return Ok(());
            }
            let next = self.between(&newer)?.unwrap_or(newer);
            self.origin = next.metadata()?.ino();
            self.position = 0;
            self.file = next;
            self.drain(left, take)?;
        }
        Ok(())
    }

    /// The file that came and went since the last look.
    fn between(&self, newer: &File) -> io::Result<Option<File>> {
        let between = match File::open(older(&self.path)) {
            Ok(between) => between,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let inode = between.metadata()?.ino();
        let is_known = inode == self.file.metadata()?.ino() || inode == newer.metadata()?.ino();
        Ok((!is_known).then_some(between))
    }

    /// From the position to the end, or until nothing is left of the bytes that may be read.
    fn drain(&mut self, left: &mut usize, take: &mut impl FnMut(u64, u64, &[u8])) -> io::Result<()> {
        let mut piece = [0; PIECE_BYTES];
        while *left > 0 {
            match self.file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    let origin = self.origin;
                    let take = &mut |position, line: &[u8]| take(origin, position, line);
                    self.lines.feed(piece.get(..length).unwrap_or_default(), &mut self.position, take);
                    *left = left.saturating_sub(length);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Puts pieces together to lines, in the same way wherever they are cut.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], position: &mut u64, take: &mut impl FnMut(u64, &[u8])) {
        while let Some(first) = bytes.first() {
            if self.begun.len() >= LINE_MAX_BYTES && *first != b'\n' {
                take(*position, &self.begun);
                self.begun.clear();
            }
            let room = LINE_MAX_BYTES.saturating_sub(self.begun.len());
            let end = bytes.iter().take(room + 1).position(|byte| *byte == b'\n');
            let (text, rest) = bytes.split_at(end.unwrap_or(room.min(bytes.len())));
            self.begun.extend_from_slice(text);
            *position += text.len() as u64;
            bytes = rest;
            if end.is_some() {
                *position += 1;
                bytes = bytes.get(1..).unwrap_or_default();
                take(*position, &self.begun);
                self.begun.clear();
            }
        }
    }
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;

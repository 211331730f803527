//! New lines of all logs of a folder. Rotation loses none, unless a log is rotated three times between two looks.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
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

/// The logs of a folder: `<name>.log`, rotated to `<name>.log.1`.
pub struct Tails {
    folder: PathBuf,
    changes: pipe::Receiver,
    tails: BTreeMap<String, Tail>,
}

impl Tails {
    /// Begins with what is written from now on.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let changes = watch(folder).map_err(|source| LogError::read(folder, source))?;
        let mut tails = Self { folder: folder.to_owned(), changes, tails: BTreeMap::new() };
        tails.discover(SeekFrom::End(0))?;
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

    /// Hands over what is new: names of logs, and lines.
    pub fn read(&mut self, mut take: impl FnMut(&str, &str)) -> Result<(), LogError> {
        self.discover(SeekFrom::Start(0))?;
        for (name, tail) in &mut self.tails {
            tail.read(&mut |line| take(name, line)).map_err(|source| LogError::read(&tail.path, source))?;
        }
        Ok(())
    }

    /// Looks for logs that are not known yet.
    fn discover(&mut self, from: SeekFrom) -> Result<(), LogError> {
        let error = |source| LogError::read(&self.folder, source);
        for entry in fs::read_dir(&self.folder).map_err(error)? {
            let path = entry.map_err(error)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".log")) else {
                continue;
            };
            if self.tails.contains_key(name) {
                continue;
            }
            match Tail::open(&path, from) {
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
    lines: Lines,
}

impl Tail {
    fn open(path: &Path, from: SeekFrom) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(from)?;
        Ok(Self { path: path.to_owned(), file, lines: Lines::default() })
    }

    fn read(&mut self, take: &mut impl FnMut(&str)) -> io::Result<()> {
        self.drain(take)?;
        while let Some(newer) = reopened(&self.path, &self.file)? {
            // Nothing is added to a file that has been renamed, but before that something may have been.
            self.drain(take)?;
            if let Some(between) = self.between(&newer)? {
                self.file = between;
                self.drain(take)?;
            }
            self.file = newer;
            self.drain(take)?;
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

    /// From the position to the end.
    fn drain(&mut self, take: &mut impl FnMut(&str)) -> io::Result<()> {
        let mut piece = [0; PIECE_BYTES];
        loop {
            match self.file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => self.lines.feed(piece.get(..length).unwrap_or_default(), take),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Puts pieces together to lines.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], take: &mut impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            for part in text.chunks(LINE_MAX_BYTES) {
                if self.begun.len() + part.len() > LINE_MAX_BYTES {
                    self.end(take);
                }
                self.begun.extend_from_slice(part);
            }
            if ends {
                self.end(take);
            }
        }
    }

    fn end(&mut self, take: &mut impl FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.begun);
        if !line.trim_ascii().is_empty() {
            take(&line);
        }
        self.begun.clear();
    }
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;

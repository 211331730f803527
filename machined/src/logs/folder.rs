//! Segments as files of a folder.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use logstore::Medium;

/// Logs may tell more than everybody on the node should know.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A folder, made with the first segment.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The file that was read last: readers go through a segment block by block.
    open: Option<(String, File)>,
    /// A file was made, and its name would not survive a power cut yet.
    has_new: bool,
}

impl Folder {
    /// A folder here.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), open: None, has_new: false }
    }

    fn create(&mut self, name: &str) -> io::Result<File> {
        let create = || {
            let path = self.path.join(name);
            File::options().create(true).truncate(true).write(true).mode(FILE_MODE).open(path)
        };
        let file = match create() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.path)?;
                create()?
            }
            file => file?,
        };
        self.has_new = true;
        Ok(file)
    }

    fn write(&self, name: &str) -> io::Result<File> {
        File::options().write(true).open(self.path.join(name))
    }
}

impl Medium for Folder {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }

    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            self.open = Some((name.to_owned(), File::open(self.path.join(name))?));
        }
        let Some((_, file)) = &self.open else { return Ok(0) };
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn append(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = if offset == 0 { self.create(name)? } else { self.write(name)? };
        file.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, name: &str, length_bytes: u64) -> io::Result<()> {
        self.write(name)?.set_len(length_bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.open = None;
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.write(name)?.sync_data()?;
        if self.has_new {
            File::open(&self.path)?.sync_all()?;
            self.has_new = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_behaves_like_memory() {
        let scratch = tempfile::tempdir().unwrap();
        let mut folder = Folder::at(&scratch.path().join("deep/logs"));
        assert_eq!(folder.list().unwrap(), []);
        folder.append("a", 0, b"one").unwrap();
        folder.append("a", 3, b"two").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(folder.read_at("a", 2, &mut buffer).unwrap(), 4);
        assert_eq!(&buffer[..4], b"etwo");
        folder.truncate("a", 4).unwrap();
        folder.append("a", 4, b"x").unwrap();
        folder.sync("a").unwrap();
        assert_eq!(folder.read_at("a", 0, &mut buffer).unwrap(), 5);
        assert_eq!(folder.list().unwrap(), [("a".to_owned(), 5)]);
        folder.append("a", 0, b"anew").unwrap();
        assert_eq!(folder.list().unwrap(), [("a".to_owned(), 4)]);
        folder.remove("a").unwrap();
        folder.remove("a").unwrap();
        assert_eq!(folder.read_at("a", 0, &mut buffer).unwrap_err().kind(), ErrorKind::NotFound);
    }
}

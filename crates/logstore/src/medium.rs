//! Where segments lie. The store is all that writes there.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
};

/// A folder of files. Everything may block.
pub trait Medium {
    /// Names and lengths in bytes of all files; names that are no text are left out.
    fn list(&mut self) -> io::Result<Vec<(String, u64)>>;

    /// Fills the buffer from this offset; returns fewer bytes only at the end of the file.
    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes at the end of the file, which is at this offset; makes the file when that is 0. After an error the file may
    /// have grown.
    fn append(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to this length.
    fn truncate(&mut self, name: &str, length_bytes: u64) -> io::Result<()>;

    /// Removes the file; one that is gone is fine.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Returns once this file, and that it exists, would survive a power cut.
    fn sync(&mut self, name: &str) -> io::Result<()>;
}

impl<M: Medium + ?Sized> Medium for Box<M> {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        (**self).list()
    }

    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(name, offset, buffer)
    }

    fn append(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).append(name, offset, bytes)
    }

    fn truncate(&mut self, name: &str, length_bytes: u64) -> io::Result<()> {
        (**self).truncate(name, length_bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        (**self).remove(name)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        (**self).sync(name)
    }
}

/// Files in memory: for a node without a disk to write to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Content by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Memory {
    fn file(&mut self, name: &str) -> io::Result<&mut Vec<u8>> {
        self.files.get_mut(name).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Medium for Memory {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.files.iter().map(|(name, content)| (name.clone(), content.len() as u64)).collect())
    }

    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.file(name)?;
        let rest = usize::try_from(offset).ok().and_then(|offset| file.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }

    fn append(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file =
            if offset == 0 { self.files.entry(name.to_owned()).or_default() } else { self.file(name)? };
        if file.len() as u64 != offset {
            return Err(ErrorKind::InvalidInput.into());
        }
        file.extend_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, name: &str, length_bytes: u64) -> io::Result<()> {
        let length = usize::try_from(length_bytes).map_err(io::Error::other)?;
        self.file(name)?.truncate(length);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.files.remove(name);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name).map(drop)
    }
}

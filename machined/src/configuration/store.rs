//! Generations as files of STATE: one text per generation, and the index that says what they are.
//!
//! Each file carries a checksum: a file system does not notice a flipped bit in an address. The index lies there twice;
//! the second copy is written after the first and counts only when that is damaged.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use config::TEXT_MAX_BYTES;
use generation::{FormError, Generation, Index};

use crate::storage::{StorageError, replace_file};

/// Ends a generation's file, followed by the digest of all that comes before and a newline. A comment of YAML.
const TRAILER: &str = "\n# sha256 ";
/// The index of 16 generations with the longest reasons is below it.
const INDEX_MAX_BYTES: usize = 128 * 1024;
/// Passwords stand in configurations.
const MODE: u32 = 0o600;

/// Why a file of generations is of no use.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A generation is not what was written.
    #[error("generation {generation} is damaged on the disk")]
    Damaged {
        /// Which.
        generation: Generation,
    },
    /// The index is not what was written.
    #[error("the index of generations is of no use")]
    Index(#[source] FormError),
    /// A folder cannot be made or looked into.
    #[error("cannot use {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file keeps its old content.
    #[error("cannot keep it")]
    Write(#[source] StorageError),
    /// A file cannot be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// How a file is replaced: so that a power cut leaves the old content or the new one.
pub(super) type Replace = Box<dyn Fn(&Path, &[u8]) -> Result<(), StorageError> + Send + Sync>;

/// The files below `STATE:config`.
pub struct GenerationStore {
    index: PathBuf,
    second_index: PathBuf,
    texts: PathBuf,
    replace: Replace,
}

impl GenerationStore {
    /// The store of a mounted STATE.
    pub fn at(state: &Path) -> Self {
        Self::with(state, Box::new(|path, content| replace_file(path, content, MODE)))
    }

    pub(super) fn with(state: &Path, replace: Replace) -> Self {
        let folder = state.join("config");
        Self {
            index: folder.join("index.json"),
            second_index: folder.join("index-2.json"),
            texts: folder.join("generations"),
            replace,
        }
    }

    /// The index; `None` on a node that never had a configuration.
    pub fn load_index(&self) -> Result<Option<Index>, StoreError> {
        match (read_index(&self.index), read_index(&self.second_index)) {
            (Ok(Some(index)), _) | (Ok(None) | Err(_), Ok(Some(index))) => Ok(Some(index)),
            // A cut may leave the first one alone, never the second.
            (Err(error), Ok(None) | Err(_)) | (Ok(None), Err(error)) => Err(error),
            (Ok(None), Ok(None)) => Ok(None),
        }
    }

    /// Puts the index in force.
    pub fn save_index(&self, index: &Index) -> Result<(), StoreError> {
        let content = index.encode().map_err(StoreError::Index)?;
        self.replace(&self.index, content.as_bytes())?;
        // The first one is what counts.
        if let Err(error) = self.replace(&self.second_index, content.as_bytes()) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the index lies on STATE only once");
        }
        Ok(())
    }

    /// The text of a generation, as it was given.
    pub fn load(&self, generation: Generation) -> Result<String, StoreError> {
        let path = self.texts.join(generation.file_name());
        let content = read(&path, TEXT_MAX_BYTES + TRAILER.len() + 2 * SHA256.output_len() + 1)
            .map_err(|source| StoreError::Read { path, source })?;
        unseal(content).ok_or(StoreError::Damaged { generation })
    }

    /// Keeps a text before an index names it.
    pub fn save(&self, generation: Generation, text: &str) -> Result<(), StoreError> {
        let folder = |source| StoreError::Folder { path: self.texts.clone(), source };
        fs::create_dir_all(&self.texts).map_err(folder)?;
        self.replace(&self.texts.join(generation.file_name()), seal(text).as_bytes())
    }

    /// Removes the text of a generation.
    pub fn remove(&self, generation: Generation) -> Result<(), StoreError> {
        let path = self.texts.join(generation.file_name());
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Remove { path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes what a power cut left over: texts that the index does not name.
    pub fn sweep(&self, index: &Index) -> Result<(), StoreError> {
        let folder = |source| StoreError::Folder { path: self.texts.clone(), source };
        for entry in fs::read_dir(&self.texts).map_err(folder)? {
            let name = entry.map_err(folder)?.file_name();
            let generation = name.to_str().and_then(Generation::from_file_name);
            if let Some(generation) = generation.filter(|generation| index.entry(*generation).is_none()) {
                self.remove(generation)?;
            }
        }
        Ok(())
    }

    fn replace(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        (self.replace)(path, content).map_err(StoreError::Write)
    }
}

fn read_index(path: &Path) -> Result<Option<Index>, StoreError> {
    match read(path, INDEX_MAX_BYTES) {
        Ok(content) => Index::decode(&String::from_utf8_lossy(&content)).map(Some).map_err(StoreError::Index),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Read { path: path.to_owned(), source }),
    }
}

fn read(path: &Path, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    fs::File::open(path)?.take(limit).read_to_end(&mut content)?;
    if content.len() > max_bytes { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(content) }
}

fn seal(text: &str) -> String {
    format!("{text}{TRAILER}{}\n", hex::encode(digest(&SHA256, text.as_bytes())))
}

fn unseal(content: Vec<u8>) -> Option<String> {
    let content = String::from_utf8(content).ok()?;
    let (text, sealed) = content.rsplit_once(TRAILER)?;
    (sealed.strip_suffix('\n')? == hex::encode(digest(&SHA256, text.as_bytes()))).then(|| text.to_owned())
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;

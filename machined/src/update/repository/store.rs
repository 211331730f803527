//! What the node has seen of a repository's metadata, kept across boots: older metadata is noticed for being older.
//!
//! The library works on a copy in memory, because it replaces files in a way that a power cut would show.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::storage::{StorageError, replace_file};

/// Below STATE.
const KEPT: &str = "update/tuf";
/// What the library keeps. It notes the system's time as well, which the node does not go by.
const FILES: [&str; 4] = ["root.json", "timestamp.json", "snapshot.json", "targets.json"];
/// More than what is fetched at most (`transport::FILE_MAX_BYTES`): the library spaces it anew.
const FILE_MAX_BYTES: u64 = 4 << 20;

/// Why metadata cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The copy in memory.
    #[error("cannot use {}", path.display())]
    Scratch {
        /// Which file or folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// What lies on STATE.
    #[error("cannot keep what was seen of the repository")]
    Keep(#[source] StorageError),
}

/// The files. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct MetadataStore {
    kept: PathBuf,
    scratch: PathBuf,
    /// There is one copy at a time.
    copied: Arc<Mutex<()>>,
}

/// The copy in memory.
#[derive(Debug)]
pub struct WorkingCopy {
    store: MetadataStore,
    _alone: OwnedMutexGuard<()>,
}

impl MetadataStore {
    /// On a mounted STATE, with a copy in a folder of memory that is nobody else's.
    pub fn at(state: &Path, scratch: &Path) -> Self {
        Self { kept: state.join(KEPT), scratch: scratch.to_owned(), copied: Arc::default() }
    }

    /// Waits until nobody else has a copy.
    pub async fn alone(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.copied).lock_owned().await
    }

    /// Makes the copy.
    pub fn check_out(self, alone: OwnedMutexGuard<()>) -> Result<WorkingCopy, StoreError> {
        let failed = |source| StoreError::Scratch { path: self.scratch.clone(), source };
        match fs::remove_dir_all(&self.scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        fs::create_dir_all(&self.scratch).map_err(failed)?;
        for name in FILES {
            if let Some(content) = read(&self.kept.join(name)) {
                let path = self.scratch.join(name);
                fs::write(&path, content).map_err(|source| StoreError::Scratch { path, source })?;
            }
        }
        Ok(WorkingCopy { store: self, _alone: alone })
    }

    /// The newest root that was seen.
    pub fn root(&self) -> Option<Vec<u8>> {
        read(&self.kept.join("root.json"))
    }
}

impl WorkingCopy {
    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.store.scratch
    }

    /// Keeps what the library has seen, and gives the memory back.
    pub fn check_in(self) -> Result<(), StoreError> {
        let MetadataStore { kept: folder, scratch, .. } = &self.store;
        fs::create_dir_all(folder).map_err(|source| StoreError::Scratch { path: folder.clone(), source })?;
        for name in FILES {
            let (kept, seen) = (folder.join(name), read(&scratch.join(name)));
            match seen {
                Some(seen) if read(&kept).as_ref() != Some(&seen) => {
                    replace_file(&kept, &seen, 0o600).map_err(StoreError::Keep)?;
                }
                Some(_) => {}
                // The repository recovered from stolen keys by changing them: what was seen before does not count.
                None => match fs::remove_file(&kept) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        return Err(StoreError::Scratch { path: kept, source });
                    }
                    Ok(()) | Err(_) => {}
                },
            }
        }
        fs::remove_dir_all(scratch).map_err(|source| StoreError::Scratch { path: scratch.clone(), source })
    }
}

/// A file that cannot be read is as good as none: what it vouched for is forgotten, no more.
fn read(path: &Path) -> Option<Vec<u8>> {
    let is_sane = fs::metadata(path).is_ok_and(|file| file.len() <= FILE_MAX_BYTES);
    is_sane.then(|| fs::read(path).ok()).flatten()
}

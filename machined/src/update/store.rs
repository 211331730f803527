//! The state of upgrades on STATE. Without it the node boots and falls back all the same: BOOTSTATE is what counts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use update::{FormError, Upgrade};

use crate::storage::{StorageError, replace_file};

/// Below STATE.
const FOLDER: &str = "update";
const FILE: &str = "state.json";
/// A state with the most that it remembers is a tenth of it.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Why the state is not kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Where it lies.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It is no state.
    #[error("the state of upgrades is of no use")]
    Form(#[source] FormError),
    /// Its folder cannot be made.
    #[error("cannot make {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The old one stays.
    #[error("the state of upgrades is not kept")]
    Write(#[source] StorageError),
}

/// The file.
#[derive(Clone, Debug)]
pub struct StateStore(PathBuf);

impl StateStore {
    /// On a mounted STATE.
    pub fn at(state: &Path) -> Self {
        Self(state.join(FOLDER))
    }

    /// What was kept; a new state when nothing was.
    pub fn load(&self) -> Result<Upgrade, StoreError> {
        let path = self.0.join(FILE);
        let failed = |source| StoreError::Read { path: path.clone(), source };
        let length = match fs::metadata(&path) {
            Ok(file) => file.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Upgrade::new()),
            Err(error) => return Err(failed(error)),
        };
        if length > FILE_MAX_BYTES {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        let text = fs::read_to_string(&path).map_err(failed)?;
        Upgrade::decode(&text).map_err(StoreError::Form)
    }

    /// Keeps it, so that a power cut leaves the old one or the new one.
    pub fn save(&self, upgrade: &Upgrade) -> Result<(), StoreError> {
        let text = upgrade.encode().map_err(StoreError::Form)?;
        fs::create_dir_all(&self.0).map_err(|source| StoreError::Folder { path: self.0.clone(), source })?;
        replace_file(&self.0.join(FILE), text.as_bytes(), 0o600).map_err(StoreError::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_no_good_is_told_from_none() {
        let state = tempfile::tempdir().unwrap();
        let store = StateStore::at(state.path());
        assert_eq!(store.load().unwrap(), Upgrade::new());
        store.save(&Upgrade::new()).unwrap();
        assert_eq!(store.load().unwrap(), Upgrade::new());
        let path = state.path().join("update/state.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"task\":0", "\"task\":1")).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Form(FormError::Checksum { .. }))));
    }
}

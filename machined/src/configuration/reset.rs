//! Back to a node that was never configured.
//!
//! A marker on STATE decides, from the request to the last step, which is to remove it. In between every step may be
//! cut off and done again: the files of STATE, DATA, and last BOOTSTATE's word that the node is provisioned. Before that
//! the node forms no opinion on what STATE holds, so half-wiped keys are never served.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::storage::{StorageError, replace_file};

/// Wipe STATE.
const MARKER: &str = "reset";
/// Wipe STATE and DATA.
const MARKER_WITH_DATA: &str = "reset-with-data";
/// Made by mke2fs, and e2fsck wants it.
const LOST_AND_FOUND: &str = "lost+found";

/// What a reset takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Keys and configuration.
    State,
    /// Keys, configuration and everything of pods.
    StateAndData,
}

/// Why a reset does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// The marker is not there for good.
    #[error("cannot note the reset")]
    Note(#[source] StorageError),
    /// A file or folder of STATE stays.
    #[error("cannot wipe {}", path.display())]
    Wipe {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Another part of the node stays as it was.
    #[error("cannot reset the node's disk")]
    Disk(#[source] StorageError),
}

impl Reset {
    /// Notes for the next start what is to be done.
    pub fn note(self, state: &Path) -> Result<(), ResetError> {
        let name = match self {
            Self::State => MARKER,
            Self::StateAndData => MARKER_WITH_DATA,
        };
        replace_file(&state.join(name), b"", 0o600).map_err(ResetError::Note)
    }

    /// What is to be done.
    pub fn noted(state: &Path) -> Option<Self> {
        if state.join(MARKER_WITH_DATA).exists() {
            Some(Self::StateAndData)
        } else {
            state.join(MARKER).exists().then_some(Self::State)
        }
    }

    /// Does it. `wipe_data` and then `forget`, which makes the node one that was never provisioned, come between the
    /// files and the marker.
    pub fn carry_out(
        self,
        state: &Path,
        wipe_data: impl FnOnce() -> Result<(), StorageError>,
        forget: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), ResetError> {
        for path in entries(state)? {
            let name = path.file_name().and_then(|name| name.to_str());
            if !matches!(name, Some(MARKER | MARKER_WITH_DATA | LOST_AND_FOUND)) {
                wipe(&path)?;
            }
        }
        if self == Self::StateAndData {
            wipe_data().map_err(ResetError::Disk)?;
        }
        sync(state)?;
        forget().map_err(ResetError::Disk)?;
        // The one that says more is there until the other is gone.
        for name in [MARKER, MARKER_WITH_DATA] {
            let path = state.join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(ResetError::Wipe { path, source });
                }
                Ok(()) | Err(_) => sync(state)?,
            }
        }
        Ok(())
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ResetError> {
    let failed = |source| ResetError::Wipe { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

/// Removes a file or folder. Keys are overwritten first: on a plain disk their blocks would stay readable for long.
fn wipe(path: &Path) -> Result<(), ResetError> {
    let failed = |source| ResetError::Wipe { path: path.to_owned(), source };
    if fs::symlink_metadata(path).map_err(failed)?.is_dir() {
        for entry in entries(path)? {
            wipe(&entry)?;
        }
        return fs::remove_dir(path).map_err(failed);
    }
    overwrite(path).and_then(|()| fs::remove_file(path)).map_err(failed)
}

fn overwrite(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        return Ok(());
    }
    let mut file = OpenOptions::new().write(true).open(path)?;
    match io::copy(&mut io::repeat(0).take(metadata.len()), &mut file) {
        // Only a hole needs room, and none of the node's own files has one.
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(error),
        Ok(_) | Err(_) => file.sync_all(),
    }
}

fn sync(folder: &Path) -> Result<(), ResetError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| ResetError::Wipe { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn fill(state: &Path) {
        fs::create_dir_all(state.join("identity")).unwrap();
        fs::create_dir_all(state.join(LOST_AND_FOUND)).unwrap();
        fs::write(state.join("identity/key.pem"), "secret").unwrap();
        fs::write(state.join("trust.json"), "{}").unwrap();
    }

    fn names(state: &Path) -> Vec<String> {
        let paths = entries(state).unwrap();
        paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn everything_goes_and_the_marker_last() {
        for (reset, wipes_data) in [(Reset::State, false), (Reset::StateAndData, true)] {
            let state = tempfile::tempdir().unwrap();
            fill(state.path());
            assert_eq!(Reset::noted(state.path()), None);
            reset.note(state.path()).unwrap();
            assert_eq!(Reset::noted(state.path()), Some(reset));
            let wiped = Cell::new(false);
            let forget = || {
                assert_eq!(Reset::noted(state.path()), Some(reset));
                assert!(!state.path().join("identity").exists());
                assert_eq!(wiped.get(), wipes_data);
                Ok(())
            };
            let wipe = || {
                wiped.set(true);
                Ok(())
            };
            reset.carry_out(state.path(), wipe, forget).unwrap();
            assert_eq!(names(state.path()), [LOST_AND_FOUND]);
        }
    }

    #[test]
    fn a_reset_that_was_cut_off_goes_on() {
        let state = tempfile::tempdir().unwrap();
        fill(state.path());
        Reset::State.note(state.path()).unwrap();
        let fails = || Err(StorageError::BootRecordDamaged);
        let cut = Reset::State.carry_out(state.path(), || Ok(()), fails);
        assert!(matches!(cut, Err(ResetError::Disk(_))));
        assert_eq!(Reset::noted(state.path()), Some(Reset::State));
        Reset::StateAndData.note(state.path()).unwrap();
        let reset = Reset::noted(state.path()).unwrap();
        assert_eq!(reset, Reset::StateAndData, "of both the one that takes more away");
        reset.carry_out(state.path(), || Ok(()), || Ok(())).unwrap();
        assert_eq!(names(state.path()), [LOST_AND_FOUND]);
    }
}

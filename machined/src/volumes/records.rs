//! Which file system each volume has, kept on STATE. What is not recorded as complete was never mounted.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::mark::VolumeId;
use crate::storage::{self, StorageError};

const FILE: &str = "volumes.json";
const MODE: u32 = 0o600;

/// Why the records cannot be used. Without them nothing is formatted.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("{} is damaged; no disk is formatted or mounted by it: reset the node, which leaves the disks alone", path.display())]
    Decode {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// They cannot be put in the form of the file.
    #[error("the records of the volumes cannot be written down")]
    Encode(#[source] serde_json::Error),
    /// They cannot be kept.
    #[error("the records of the volumes are not kept")]
    Write(#[source] StorageError),
}

/// How far a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Its disk may bear our mark and a part of a file system, and nothing that anyone stored.
    Begun,
    /// Its disk holds the file system, and is never formatted again.
    Complete,
}

/// One volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// UUID of its file system.
    pub uuid: VolumeId,
    /// How far it is.
    pub stage: Stage,
}

/// All volumes that ever were, by name: one that comes back finds its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Records {
    volumes: BTreeMap<String, Record>,
}

impl Records {
    /// Reads them; none when there never were any.
    pub fn read(state: &Path) -> Result<Self, RecordsError> {
        let path = state.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(RecordsError::Read { path, source }),
        };
        serde_json::from_slice(&text).map_err(|source| RecordsError::Decode { path, source })
    }

    /// Of one volume.
    pub fn get(&self, name: &str) -> Option<Record> {
        self.volumes.get(name).copied()
    }

    /// The volume with this file system.
    pub fn name_of(&self, uuid: VolumeId) -> Option<&str> {
        self.volumes.iter().find(|(_, record)| record.uuid == uuid).map(|(name, _)| name.as_str())
    }

    /// Sets one and returns when that lies on STATE.
    pub fn set(&mut self, state: &Path, name: &str, record: Record) -> Result<(), RecordsError> {
        let mut changed = self.clone();
        changed.volumes.insert(name.to_owned(), record);
        let text = serde_json::to_vec_pretty(&changed).map_err(RecordsError::Encode)?;
        storage::replace_file(&state.join(FILE), &text, MODE).map_err(RecordsError::Write)?;
        *self = changed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_last_and_a_damaged_file_is_not_an_empty_one() {
        let state = tempfile::tempdir().unwrap();
        let mut records = Records::read(state.path()).unwrap();
        assert_eq!(records, Records::default());
        let record = Record { uuid: VolumeId::from_random([7; 16]), stage: Stage::Begun };
        records.set(state.path(), "data", record).unwrap();
        records.set(state.path(), "data", Record { stage: Stage::Complete, ..record }).unwrap();
        let read = Records::read(state.path()).unwrap();
        assert_eq!(read, records);
        assert_eq!(read.get("data").unwrap().stage, Stage::Complete);
        assert_eq!(read.name_of(record.uuid), Some("data"));

        let path = state.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        for damaged in [&text[..text.len() / 2], "", "{}", &text.replace("complete", "done")] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(Records::read(state.path()), Err(RecordsError::Decode { .. })), "{damaged}");
        }
    }
}

//! What each log server has got, over reboots.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use config::LogDestination;
use serde::{Deserialize, Serialize};

use crate::storage::{StorageError, replace_file};

/// Only root need know which servers there are.
const MODE: u32 = 0o600;

/// Number of the first line that a server has not got, by server.
#[derive(Clone, Debug, Default)]
pub struct Positions(Arc<Mutex<BTreeMap<String, u64>>>);

/// The file. A release that does not understand it begins anew.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    positions: BTreeMap<String, u64>,
}

const VERSION: u32 = 1;

impl Positions {
    /// Adds what an earlier life of machined kept. A damaged file is as good as none.
    pub fn load(&self, file: &Path) -> io::Result<()> {
        let text = match fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            text => text?,
        };
        let kept: Kept = serde_json::from_slice(&text)?;
        if kept.version == VERSION {
            self.lock().extend(kept.positions);
        }
        Ok(())
    }

    /// What this server has not got yet begins here; nothing for a new one.
    pub fn of(&self, destination: &LogDestination) -> Option<u64> {
        self.lock().get(&destination.to_string()).copied()
    }

    /// The server has got what comes before this line.
    pub fn reached(&self, destination: &LogDestination, sequence: u64) {
        self.lock().insert(destination.to_string(), sequence);
    }

    /// Forgets servers that are configured no more.
    pub fn retain(&self, destinations: &[LogDestination]) {
        let names: Vec<String> = destinations.iter().map(ToString::to_string).collect();
        self.lock().retain(|name, _| names.contains(name));
    }

    /// As they are now.
    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps positions.
pub fn save(file: PathBuf, positions: BTreeMap<String, u64>) -> Result<(), StorageError> {
    // Texts and numbers can always be written.
    let text = serde_json::to_vec(&Kept { version: VERSION, positions }).unwrap_or_default();
    replace_file(&file, &text, MODE)
}

#[cfg(test)]
mod tests {
    use config::Transport;

    use super::*;

    #[test]
    fn positions_outlive_a_process_and_damage_is_survived() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shipping.json");
        let destination = |port| LogDestination { transport: Transport::Tcp, host: "192.0.2.9".into(), port };
        let positions = Positions::default();
        positions.load(&file).unwrap();
        assert_eq!(positions.of(&destination(1)), None);
        positions.reached(&destination(1), 70);
        positions.reached(&destination(2), 80);
        positions.retain(&[destination(1)]);
        save(file.clone(), positions.snapshot()).unwrap();
        let positions = Positions::default();
        positions.load(&file).unwrap();
        assert_eq!((positions.of(&destination(1)), positions.of(&destination(2))), (Some(70), None));
        fs::write(&file, "{").unwrap();
        assert!(Positions::default().load(&file).is_err());
        fs::write(&file, r#"{"version":2,"positions":{"tcp://192.0.2.9:1":5}}"#).unwrap();
        let positions = Positions::default();
        positions.load(&file).unwrap();
        assert_eq!(positions.of(&destination(1)), None);
    }
}

//! kubeconfig files: which one is meant, and how it is changed while kubectl does not.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroizing;

use super::entry::{Entry, EntryError};
use crate::failure::Failure;
use crate::{file, output};

/// The file that kubectl changes: of those in `KUBECONFIG` the first that exists, else the last; without that variable
/// ~/.kube/config (client-go, `PathOptions.GetDefaultFilename`).
pub fn default_path() -> Result<PathBuf, Failure> {
    let named = env::var_os("KUBECONFIG").unwrap_or_default();
    let files: Vec<PathBuf> = env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    if let Some(path) = files.iter().find(|path| path.exists()).or(files.last()) {
        return Ok(path.clone());
    }
    let home = env::var_os("HOME").filter(|home| !home.is_empty()).ok_or_else(|| {
        Failure::error("cannot tell where your kubeconfig is: neither KUBECONFIG nor HOME is set")
            .hint("name a file with -o")
    })?;
    Ok(PathBuf::from(home).join(".kube/config"))
}

/// A file with the entry alone, as text.
pub fn text(entry: &Entry) -> Result<Zeroizing<String>, Failure> {
    let alone = entry.alone().map_err(|error| Failure::error("cannot make a kubeconfig").why(error))?;
    output::yaml(&alone).map(Zeroizing::new)
}

/// Puts the entry into a file, whole or not at all.
pub fn merge(path: &Path, entry: &Entry, force: bool) -> Result<(), Failure> {
    let _lock = Lock::take(path)?;
    let old = read(path)?;
    let new = entry.put(old, force).map_err(|error| {
        let taken = matches!(error, EntryError::Taken { .. });
        let failure = Failure::error(format!("cannot change {}", path.display())).why(error);
        if taken {
            failure.hint("give another name with --name, or replace it with --force")
        } else {
            failure
        }
    })?;
    let text = Zeroizing::new(output::yaml(&new)?);
    file::replace(path, text.as_str())
        .map_err(|error| Failure::error(format!("cannot write {}", path.display())).why(error))
}

/// What is in the file; an empty object when there is none.
fn read(path: &Path) -> Result<Value, Failure> {
    let empty = Value::Object(serde_json::Map::new());
    let text = match file::read(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(empty),
        Err(error) => return Err(Failure::error(format!("cannot read {}", path.display())).why(error)),
    };
    if text.trim().is_empty() {
        return Ok(empty);
    }
    serde_saphyr::from_str(&text)
        .map_err(|error| Failure::error(format!("{} is no kubeconfig", path.display())).why(error))
}

/// kubectl's own lock on a kubeconfig: a file beside it that must not exist yet (client-go, `lockFile`).
#[derive(Debug)]
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Lock, Failure> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        match folder.and_then(|()| File::create_new(&lock)) {
            Ok(_) => Ok(Lock(lock)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::error(format!("cannot change {}", path.display()))
                    .why(format!("{} exists, so another program changes it", lock.display()))
                    .hint("try again; if no kubectl runs, one was killed: remove that file"))
            }
            Err(error) => Err(Failure::error(format!("cannot lock {}", path.display())).why(error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever comes next is told of a file that stays.
        let _ = fs::remove_file(&self.0);
    }
}

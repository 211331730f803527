//! Replacing a file so that a power cut leaves the old content or the new one, never a mixture.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::StorageError;

/// Puts a file with this content and mode in place of what lies there. One writer per path at a time.
pub fn replace_file(path: &Path, content: &[u8], mode: u32) -> Result<(), StorageError> {
    let temporary = temporary(path);
    let result = write_new(&temporary, content, mode).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // It may not exist; the first error is the one that tells.
        let _ = fs::remove_file(&temporary);
    }
    result
        .and_then(|()| sync_directory(path))
        .map_err(|source| StorageError::Replace { path: path.to_owned(), source })
}

/// Next to the file, so that the rename stays within one file system.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask must not decide.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::Scratch;

    #[test]
    fn replaces_content_and_mode() {
        let scratch = Scratch::new("durable");
        let path = scratch.path().join("file");
        replace_file(&path, b"one", 0o600).unwrap();
        fs::write(temporary(&path), b"left by a power cut").unwrap();
        replace_file(&path, b"two", 0o644).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }

    #[test]
    fn failure_keeps_what_was_there() {
        let scratch = Scratch::new("durable-fails");
        let path = scratch.path().join("directory");
        fs::create_dir_all(path.join("content")).unwrap();
        let error = replace_file(&path, b"text", 0o600).unwrap_err();
        assert!(matches!(error, StorageError::Replace { .. }));
        assert!(path.join("content").is_dir());
        assert!(!temporary(&path).exists());
    }
}

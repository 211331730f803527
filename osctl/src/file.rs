//! Files that hold keys: readable by their owner only, and replaced whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Largest file that osctl reads: far above any configuration, far below what hurts.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Writes a file for its owner only. A reader sees the old content or the new one, also after a power cut.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    // A link to a file elsewhere (a synchronised folder) stays a link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = directory_of(&target);
    fs::create_dir_all(&directory)?;
    staged(&directory, content.as_ref())?.persist(&target)?;
    sync_directory(&directory)
}

/// Like [`replace`], but an existing file is an error of kind `AlreadyExists`.
pub fn create(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let directory = directory_of(path);
    fs::create_dir_all(&directory)?;
    staged(&directory, content.as_ref())?.persist_noclobber(path)?;
    sync_directory(&directory)
}

/// Reads a text file of sane size.
pub fn read(path: &Path) -> io::Result<String> {
    let size_bytes = fs::metadata(path)?.len();
    if size_bytes > FILE_MAX_BYTES {
        let reason =
            format!("{size_bytes} bytes are more than the {FILE_MAX_BYTES} that such a file may have");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    fs::read_to_string(path)
}

/// Whether others than the owner may read the file.
pub fn is_exposed(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

/// Keeps other osctl processes from changing `path` until the result is dropped.
pub fn lock(path: &Path) -> io::Result<File> {
    let directory = directory_of(path);
    fs::create_dir_all(&directory)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(directory.join(name))?;
    file.lock()?;
    Ok(file)
}

/// A new file beside the target, complete on disk. `tempfile` makes it with mode 0600.
fn staged(directory: &Path, content: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(".osctl-").tempfile_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn replaces_whole_files_for_the_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/osctl.yaml");
        replace(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(is_exposed(&path));
        replace(&path, "two").unwrap();
        assert_eq!((read(&path).unwrap().as_str(), mode(&path)), ("two", 0o600));
        let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1, "no temporary file stays behind");
    }

    #[test]
    fn replacing_through_a_link_keeps_the_link() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        fs::write(&real, "one").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace(&link, "two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "two");
    }

    #[test]
    fn create_never_overwrites() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.yaml");
        create(&path, "one").unwrap();
        assert_eq!(create(&path, "two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((read(&path).unwrap().as_str(), mode(&path)), ("one", 0o600));
    }
}

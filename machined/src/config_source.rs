//! Where the first configuration of a node comes from: a labelled volume, or what was flashed with the disk.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use config::{ConfigErrors, TEXT_MAX_BYTES};
use layout::{CONFIG_VOLUME_FILE, CONFIG_VOLUME_IMAGES, path::IMPORTED_IMAGES};
use pki::{Bundle, BundleError};

use crate::configuration::{self, BootError, GenerationStore};

/// Author of a configuration that nobody signed.
const NOBODY: &str = "";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The text is no configuration.
    #[error("{} is refused", path.display())]
    Refused {
        /// Which.
        path: PathBuf,
        /// Each error with its line.
        #[source]
        source: ConfigErrors,
    },
    /// Its CAs cannot be used.
    #[error("the client CAs of {} are of no use", path.display())]
    Cas {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: BundleError,
    },
    /// It cannot be kept.
    #[error("cannot keep the configuration")]
    Keep(#[source] BootError),
    /// An image archive cannot be copied.
    #[error("cannot take over image archive {}", path.display())]
    Image {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Makes the configuration of a mounted volume the first generation. What is of no use is not kept.
pub fn take_over(volume: &Path, store: &GenerationStore, created_s: i64) -> Result<(), SourceError> {
    let path = volume.join(CONFIG_VOLUME_FILE);
    let text = read(&path)?;
    let config =
        config::parse(&text).map_err(|source| SourceError::Refused { path: path.clone(), source })?;
    Bundle::from_pem(&config.client_cas.concat()).map_err(|source| SourceError::Cas { path, source })?;
    configuration::found(store, &text, NOBODY, created_s).map_err(SourceError::Keep)
}

/// Copies a volume's image archives to DATA. An archive that is there already is left alone.
pub fn take_over_images(volume: &Path) -> Result<(), SourceError> {
    let from = volume.join(CONFIG_VOLUME_IMAGES);
    if !from.is_dir() {
        return Ok(());
    }
    let error = |path: &Path, source| SourceError::Image { path: path.to_owned(), source };
    let to = Path::new(IMPORTED_IMAGES);
    fs::create_dir_all(to).map_err(|source| error(to, source))?;
    for archive in archives(&from).map_err(|source| error(&from, source))? {
        let target = to.join(archive.file_name().unwrap_or_default());
        if !target.exists() {
            copy(&archive, &target).map_err(|source| error(&archive, source))?;
        }
    }
    Ok(())
}

fn archives(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: io::Result<Vec<_>> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let is_archive = |path: &PathBuf| path.extension().is_some_and(|end| end == "tar") && path.is_file();
    Ok(entries?.into_iter().filter(is_archive).collect())
}

/// In place only when whole.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(".new");
    fs::copy(from, &temporary)?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, to)?;
    let folder = to.parent().unwrap_or(Path::new("/"));
    fs::File::open(folder)?.sync_all()
}

fn read(path: &Path) -> Result<String, SourceError> {
    let mut text = String::new();
    let limit = TEXT_MAX_BYTES as u64 + 1;
    let result = fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text));
    result.map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use pki::{Ca, SubjectName, Validity};

    use super::*;

    fn text(ca: &str) -> String {
        let ca = ca.replace('\n', "\n    ");
        format!("apiVersion: cairn.dev/v1alpha1\nkind: Api\nclientCAs:\n  - |\n    {ca}\n")
    }

    #[test]
    fn a_volume_is_taken_over_whole_or_not_at_all() {
        let (volume, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = GenerationStore::at(state.path());
        let take_over = || take_over(volume.path(), &store, 0);
        let file = volume.path().join(CONFIG_VOLUME_FILE);
        assert!(matches!(take_over(), Err(SourceError::Read { .. })));
        fs::write(&file, "kind: Api\n").unwrap();
        assert!(matches!(take_over(), Err(SourceError::Refused { .. })));
        fs::write(&file, text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).unwrap();
        assert!(matches!(take_over(), Err(SourceError::Refused { .. } | SourceError::Cas { .. })));
        assert_eq!(store.load_index().unwrap(), None);
        let ca = Ca::create(&SubjectName::parse("ca").unwrap(), Validity::UNLIMITED).unwrap();
        fs::write(&file, text(&ca.bundle().to_pem())).unwrap();
        take_over().unwrap();
        let first = store.load_index().unwrap().unwrap().confirmed();
        assert_eq!(store.load(first).unwrap(), text(&ca.bundle().to_pem()));
    }

    #[test]
    fn only_archives_are_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["web.tar", "notes.txt", ".tar"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::create_dir(folder.path().join("folder.tar")).unwrap();
        assert_eq!(archives(folder.path()).unwrap(), [folder.path().join("web.tar")]);
        let target = folder.path().join("copy.tar");
        copy(&folder.path().join("web.tar"), &target).unwrap();
        assert_eq!(fs::read(target).unwrap(), b"x");
    }
}

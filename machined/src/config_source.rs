//! Where the configuration comes from, in order: STATE, then a labelled volume on a node never provisioned.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use config::{ConfigErrors, NodeConfig, TEXT_MAX_BYTES};
use layout::{CONFIG_VOLUME_FILE, CONFIG_VOLUME_IMAGES, path::IMPORTED_IMAGES};

use pki::{Bundle, BundleError};

use crate::storage::{StorageError, replace_file};

/// Generation that a volume's configuration becomes.
const FIRST_GENERATION: &str = "00000001";

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
    Keep(#[source] StorageError),
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

/// The configuration that STATE keeps, if there is one.
pub fn kept(state: &Path) -> Result<Option<NodeConfig>, SourceError> {
    let current = state.join("config/current");
    match fs::read_to_string(&current) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SourceError::Read { path: current, source }),
        Ok(generation) => {
            let path = generation_path(state, generation.trim());
            parse(&path, &read(&path)?).map(Some)
        }
    }
}

/// Takes the configuration of a mounted volume over: checked first, then written, then pointed to.
pub fn take_over(volume: &Path, state: &Path) -> Result<NodeConfig, SourceError> {
    let path = volume.join(CONFIG_VOLUME_FILE);
    let text = read(&path)?;
    let config = parse(&path, &text)?;
    // What is kept is final, so what could not serve is not kept.
    Bundle::from_pem(&config.client_cas.concat()).map_err(|source| SourceError::Cas { path, source })?;
    let target = generation_path(state, FIRST_GENERATION);
    let folder = state.join("config/generations");
    fs::create_dir_all(&folder).map_err(|source| SourceError::Read { path: folder, source })?;
    replace_file(&target, text.as_bytes(), 0o600).map_err(SourceError::Keep)?;
    replace_file(&state.join("config/current"), FIRST_GENERATION.as_bytes(), 0o600)
        .map_err(SourceError::Keep)?;
    Ok(config)
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

fn generation_path(state: &Path, generation: &str) -> PathBuf {
    state.join("config/generations").join(format!("{generation}.yaml"))
}

fn read(path: &Path) -> Result<String, SourceError> {
    let mut text = String::new();
    let limit = TEXT_MAX_BYTES as u64 + 1;
    let result = fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text));
    result.map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<NodeConfig, SourceError> {
    config::parse(text).map_err(|source| SourceError::Refused { path: path.to_owned(), source })
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
        let file = volume.path().join(CONFIG_VOLUME_FILE);
        assert!(matches!(take_over(volume.path(), state.path()), Err(SourceError::Read { .. })));
        fs::write(&file, "kind: Api\n").unwrap();
        assert!(matches!(take_over(volume.path(), state.path()), Err(SourceError::Refused { .. })));
        assert_eq!(kept(state.path()).unwrap(), None);
        fs::write(&file, text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).unwrap();
        assert!(matches!(take_over(volume.path(), state.path()), Err(SourceError::Cas { .. })));
        assert_eq!(kept(state.path()).unwrap(), None);
        let ca = Ca::create(&SubjectName::parse("ca").unwrap(), Validity::UNLIMITED).unwrap();
        fs::write(&file, text(&ca.bundle().to_pem())).unwrap();
        let taken = take_over(volume.path(), state.path()).unwrap();
        assert_eq!(kept(state.path()).unwrap(), Some(taken));
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

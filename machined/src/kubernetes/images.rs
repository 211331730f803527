//! Gives containerd the images that came with the OS or on a configuration volume.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use resource::spec;

use super::{
    archive::{Archive, ArchiveError},
    containerd::{Containerd, ContainerdError},
    oci::{self, Descriptor},
};
use crate::{error_chain::error_chain, store::Store};

/// Between looks whether the CRI has noticed an image, which takes it some milliseconds.
const NOTICE_POLL: Duration = Duration::from_millis(20);
/// Looks in all: 10 s, for a machine under load.
const NOTICE_POLLS_MAX: u32 = 500;

/// Why an image is not imported.
#[derive(Debug, thiserror::Error)]
enum ImportError {
    #[error("the archive is of no use: replace it")]
    Archive(#[from] ArchiveError),
    #[error("containerd did not take the image")]
    Containerd(#[from] ContainerdError),
    #[error("the archive cannot be read")]
    Task(#[from] tokio::task::JoinError),
    #[error("the CRI does not notice the image: restart containerd")]
    NotNoticed,
}

impl ImportError {
    /// Whether the same may succeed later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Containerd(error) => error.is_transient(),
            Self::NotNoticed => true,
            Self::Archive(_) | Self::Task(_) => false,
        }
    }
}

/// How the imports of all archives went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Images, or whole archives, that were not imported.
    pub failed: u32,
    /// Of these: because containerd was away.
    pub transient: u32,
}

/// Imports the archives of these folders into the containerd behind `socket`. What fails is published and does not
/// hold up the others.
pub async fn import(store: &Store, socket: &Path, folders: &[&str]) -> Result<Outcome, ContainerdError> {
    let folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    let archives =
        tokio::task::spawn_blocking(move || archives(&folders)).await.map_err(ContainerdError::Task)?;
    let containerd = Containerd::connect(socket).await?;
    containerd.begin().await?;
    let mut outcome = Outcome::default();
    for archive in archives {
        import_archive(store, &containerd, archive, &mut outcome).await;
    }
    containerd.end().await?;
    Ok(outcome)
}

/// All archives in order. A folder that is not there has none.
fn archives(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut archives = Vec::new();
    for folder in folders {
        match tar_files(folder) {
            Ok(files) => archives.extend(files),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, folder = %folder.display(), "images cannot be listed"),
        }
    }
    archives
}

fn tar_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension() == Some(OsStr::new("tar")));
    files.sort();
    Ok(files)
}

/// Imports one archive and publishes how it went.
async fn import_archive(store: &Store, containerd: &Containerd, path: PathBuf, outcome: &mut Outcome) {
    let name = path.display().to_string();
    let opened = tokio::task::spawn_blocking(move || open(&path)).await.map_err(ImportError::from);
    let (archive, images) = match opened.and_then(|opened| Ok(opened?)) {
        Ok(opened) => opened,
        Err(error) => {
            publish(store, &name, &name, Err(&error));
            outcome.failed += 1;
            return;
        }
    };
    for (reference, root) in images {
        let imported = import_image(containerd, &archive, &reference, &root).await;
        if let Err(error) = &imported {
            outcome.failed += 1;
            outcome.transient += u32::from(error.is_transient());
        }
        publish(store, &reference, &name, imported.as_ref().map(|()| root.digest.as_str()));
    }
}

type Opened = (Arc<Archive>, Vec<(String, Descriptor)>);

fn open(path: &Path) -> Result<Opened, ArchiveError> {
    let archive = Archive::open(path)?;
    let images = oci::images(&archive.index()?)?;
    Ok((Arc::new(archive), images))
}

/// Blobs, children first; then the name; then until the kubelet would find it.
async fn import_image(
    containerd: &Containerd,
    archive: &Arc<Archive>,
    reference: &str,
    root: &Descriptor,
) -> Result<(), ImportError> {
    if containerd.pinned(reference).await?.is_some_and(|present| present == root.digest) {
        return notice(containerd, reference).await;
    }
    let plan = {
        let (archive, root) = (Arc::clone(archive), root.clone());
        tokio::task::spawn_blocking(move || oci::plan(archive.as_ref(), &root)).await??
    };
    for blob in &plan {
        containerd.store(archive, blob).await?;
    }
    containerd.name(reference, root).await?;
    notice(containerd, reference).await
}

/// A pod that starts before the CRI knows its image waits for the kubelet's back-off.
async fn notice(containerd: &Containerd, reference: &str) -> Result<(), ImportError> {
    for _ in 0..NOTICE_POLLS_MAX {
        if containerd.is_known_to_cri(reference).await? {
            return Ok(());
        }
        tokio::time::sleep(NOTICE_POLL).await;
    }
    Err(ImportError::NotNoticed)
}

fn publish(store: &Store, id: &str, archive: &str, outcome: Result<&str, &ImportError>) {
    let (phase, digest, message) = match outcome {
        Ok(digest) => ("imported", digest, String::new()),
        Err(error) => ("failed", "", error_chain(error)),
    };
    if outcome.is_err() {
        tracing::error!(image = id, archive, message, "an image is not imported");
    }
    store.put(
        id,
        &spec::Image {
            archive: archive.to_owned(),
            phase: phase.to_owned(),
            digest: digest.to_owned(),
            message,
        },
    );
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;

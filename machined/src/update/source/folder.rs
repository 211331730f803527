//! A release repository in a folder: the top of a labelled volume, which is mounted for as long as anybody reads it.

use std::{io, path::PathBuf, sync::Arc};

use tokio::{fs::File, io::AsyncSeekExt as _};

use super::{Body, Part, ReleasePath, SourceError, body::Flow};
use crate::storage::{LabelledVolume, StorageError, SystemDisk, find_release_volume};

/// Why a volume is not read.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// No disk has it.
    #[error("no disk but the node's own has a file system labelled {0:?}")]
    NotThere(String),
    /// It is there, and of no use.
    #[error("the volume {label:?} cannot be mounted")]
    Mount {
        /// Its label.
        label: String,
        /// Cause.
        #[source]
        source: StorageError,
    },
}

/// The folder.
#[derive(Clone, Debug)]
pub struct FolderSource {
    base: PathBuf,
    name: String,
    _mounted: Option<Arc<LabelledVolume>>,
}

impl FolderSource {
    /// The top of the volume with this label, never one of the system disk. Blocks.
    pub fn mount(disk: &SystemDisk, label: &str) -> Result<Self, VolumeError> {
        let device =
            find_release_volume(disk, label).ok_or_else(|| VolumeError::NotThere(label.to_owned()))?;
        let mounted = LabelledVolume::mount_release(&device)
            .map_err(|source| VolumeError::Mount { label: label.to_owned(), source })?;
        let (base, name) = (mounted.path().to_owned(), format!("volume {label}"));
        Ok(Self { base, name, _mounted: Some(Arc::new(mounted)) })
    }

    /// A folder that is there anyway.
    #[cfg(test)]
    pub fn at(base: &std::path::Path) -> Self {
        Self { base: base.to_owned(), name: "the folder".to_owned(), _mounted: None }
    }

    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    pub(super) async fn open(&self, path: &ReleasePath, part: Part) -> Result<Body, SourceError> {
        let open = File::open(self.base.join(path.as_str())).await;
        let mut file = open.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SourceError::NotFound(path.to_string()),
            _ => SourceError::Read(error),
        })?;
        let Part::Range { first_byte, .. } = part else { return Ok(Body::new(Flow::File(file), part)) };
        file.seek(io::SeekFrom::Start(first_byte)).await.map_err(SourceError::Read)?;
        Ok(Body::new(Flow::File(file), part).cut(true))
    }
}

//! An OCI image layout in a tar archive on disk: an index of its entries, and reads at their offsets.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::oci::{self, DOCUMENT_MAX_BYTES, Layout, OciError};

/// Most entries of an archive.
const ENTRIES_MAX: usize = 16 * 1024;

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Not a tar archive, or cut.
    #[error("not a whole tar archive")]
    Tar(#[source] io::Error),
    /// Beyond the limits.
    #[error("more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    /// A document is too long.
    #[error("{name} has {bytes} bytes, more than {DOCUMENT_MAX_BYTES}")]
    DocumentTooLong {
        /// Entry.
        name: String,
        /// Its size.
        bytes: u64,
    },
    /// An entry cannot be read.
    #[error("cannot read {name}")]
    Read {
        /// Entry.
        name: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Another kind of archive, or a damaged one.
    #[error("not an OCI image layout")]
    Layout(#[from] OciError),
    /// No index.json.
    #[error("no index.json in it: make the archive as an OCI layout")]
    NoIndex,
}

/// An open archive.
#[derive(Debug)]
pub struct Archive {
    file: File,
    entries: HashMap<String, Extent>,
}

/// Where an entry's content lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    offset: u64,
    bytes: u64,
}

impl Archive {
    /// Opens an archive and reads its headers; contents are skipped.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(|source| ArchiveError::Open { path: path.to_owned(), source })?;
        let length_bytes = file.metadata().map_err(ArchiveError::Tar)?.len();
        let mut entries = HashMap::new();
        for entry in tar::Archive::new(&file).entries_with_seek().map_err(ArchiveError::Tar)? {
            let entry = entry.map_err(ArchiveError::Tar)?;
            let extent = Extent { offset: entry.raw_file_position(), bytes: entry.size() };
            if extent.offset.saturating_add(extent.bytes) > length_bytes {
                return Err(ArchiveError::Tar(io::ErrorKind::UnexpectedEof.into()));
            }
            let path = entry.path().map_err(ArchiveError::Tar)?;
            let name = path.strip_prefix(".").unwrap_or(&path).to_string_lossy().into_owned();
            entries.insert(name, extent);
            if entries.len() > ENTRIES_MAX {
                return Err(ArchiveError::TooManyEntries);
            }
        }
        Ok(Self { file, entries })
    }

    /// The layout's index.json.
    pub fn index(&self) -> Result<Vec<u8>, ArchiveError> {
        let extent = self.entries.get("index.json").ok_or(ArchiveError::NoIndex)?;
        self.document("index.json", *extent)
    }

    /// At most `max_bytes` of a blob from `offset`; empty at its end.
    pub fn read_blob(&self, digest: &str, offset: u64, max_bytes: u64) -> Result<Vec<u8>, ArchiveError> {
        let (name, extent) = self.blob(digest)?;
        let bytes = extent.bytes.saturating_sub(offset).min(max_bytes);
        self.read_at(&name, extent.offset.saturating_add(offset), bytes)
    }

    fn blob(&self, digest: &str) -> Result<(String, Extent), ArchiveError> {
        let name = oci::blob_path(digest)?;
        let missing = || OciError::Missing { digest: digest.to_owned() };
        let extent = *self.entries.get(&name).ok_or_else(missing)?;
        Ok((name, extent))
    }

    fn document(&self, name: &str, extent: Extent) -> Result<Vec<u8>, ArchiveError> {
        if extent.bytes > DOCUMENT_MAX_BYTES {
            return Err(ArchiveError::DocumentTooLong { name: name.to_owned(), bytes: extent.bytes });
        }
        self.read_at(name, extent.offset, extent.bytes)
    }

    fn read_at(&self, name: &str, offset: u64, bytes: u64) -> Result<Vec<u8>, ArchiveError> {
        let error = |source| ArchiveError::Read { name: name.to_owned(), source };
        let length = usize::try_from(bytes).map_err(|_| error(io::ErrorKind::FileTooLarge.into()))?;
        let mut content = vec![0; length];
        self.file.read_exact_at(&mut content, offset).map_err(error)?;
        Ok(content)
    }
}

impl Layout for Archive {
    type Error = ArchiveError;

    fn size(&self, digest: &str) -> Option<u64> {
        self.blob(digest).ok().map(|(_, extent)| extent.bytes)
    }

    fn read(&self, digest: &str) -> Result<Vec<u8>, ArchiveError> {
        let (name, extent) = self.blob(digest)?;
        self.document(&name, extent)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use aws_lc_rs::digest::{SHA256, digest};
    use serde_json::{Value, json};

    use super::*;

    fn blob(media_type: &str, content: &[u8], blobs: &mut Vec<(String, Vec<u8>)>) -> Value {
        let hex = hex::encode(digest(&SHA256, content));
        blobs.push((format!("blobs/sha256/{hex}"), content.to_vec()));
        json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": content.len()})
    }

    /// An archive with one image of one layer.
    pub fn example(path: &Path, name: &str, layer: &[u8]) {
        let mut blobs = Vec::new();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex::encode(digest(&SHA256, layer)))]},
        });
        let layer = blob("application/vnd.oci.image.layer.v1.tar", layer, &mut blobs);
        let config =
            blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes(), &mut blobs);
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string();
        let mut root = blob("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes(), &mut blobs);
        root["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [root]}).to_string();
        blobs.push(("./index.json".to_owned(), index.into_bytes()));
        let mut builder = tar::Builder::new(File::create(path).unwrap());
        for (name, content) in blobs {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, content.as_slice()).unwrap();
        }
        builder.into_inner().unwrap().flush().unwrap();
    }

    #[test]
    fn blobs_are_read_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        let layer: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        example(&path, "localhost/a:1", &layer);
        let archive = Archive::open(&path).unwrap();
        let images = oci::images(&archive.index().unwrap()).unwrap();
        assert_eq!(images[0].0, "localhost/a:1");
        let plan = oci::plan(&archive, &images[0].1).unwrap();
        assert_eq!(plan.len(), 3);
        let digest = &plan[1].descriptor.digest;
        let mut read = Vec::new();
        while let piece = archive.read_blob(digest, read.len() as u64, 70_000).unwrap()
            && !piece.is_empty()
        {
            read.extend(piece);
        }
        assert!(read == layer);
    }

    #[test]
    fn what_is_no_whole_archive_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        example(&path, "localhost/a:1", &[7; 5000]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..3000]).unwrap();
        assert!(matches!(Archive::open(&path), Err(ArchiveError::Tar(_))));
        std::fs::write(&path, vec![b'x'; 2048]).unwrap();
        assert!(matches!(Archive::open(&path), Err(ArchiveError::Tar(_))));
        std::fs::write(&path, []).unwrap();
        assert!(matches!(Archive::open(&path).unwrap().index(), Err(ArchiveError::NoIndex)));
    }
}

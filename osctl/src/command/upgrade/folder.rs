//! A release repository on this computer, from which the node reads over the API.
//!
//! The node names files; a node that was taken over names any. So nothing outside of the repository is read, and of
//! the folder itself nothing but what a repository is made of.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use proto::update::v1::{Chunk, ChunkError, Read, UpgradeRequest, upgrade_request::Message};
use tokio::sync::mpsc;

use crate::exit::Exit;
use crate::failure::Failure;

/// A piece of an answer: the node takes no longer ones.
const CHUNK_MAX_BYTES: usize = 64 * 1024;
/// Longest path that a repository has.
const PATH_MAX_BYTES: usize = 512;
/// All that a repository has below its base.
const PARTS: [&str; 2] = ["metadata", "targets"];
/// What every repository has.
const NEWEST: &str = "metadata/timestamp.json";

/// The repository's folder.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The repository in `path`.
    pub fn open(path: &Path) -> Result<Folder, Failure> {
        let cannot = |error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                Failure::new(Exit::NotFound, format!("{} does not exist", path.display()))
            }
            _ => Failure::error(format!("cannot read {}", path.display())).why(error),
        };
        let folder = Folder(fs::canonicalize(path).map_err(|error| cannot(&error))?);
        match folder.file(NEWEST) {
            Ok(_) => Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Failure::error(format!("{} is no release repository", path.display()))
                    .why(format!("it has no {NEWEST}"))
                    .hint("give the folder that `cargo xtask release -o` wrote, not one below it"))
            }
            Err(error) => Err(cannot(&error)),
        }
    }

    /// A file of the repository, wherever links lead.
    fn file(&self, path: &str) -> io::Result<File> {
        if !is_of_a_repository(path) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is no file of a repository"));
        }
        let found = fs::canonicalize(self.0.join(path))?;
        if !PARTS.iter().any(|part| found.starts_with(self.0.join(part))) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it leads out of the repository"));
        }
        let file = File::open(found)?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is no plain file")),
        }
    }
}

fn is_of_a_repository(path: &str) -> bool {
    let is_plain = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    path.len() <= PATH_MAX_BYTES
        && path.split('/').all(is_plain)
        && path.split_once('/').is_some_and(|(part, _)| PARTS.contains(&part))
}

/// Answers reads in turn, until the node asks for no more or goes away.
pub async fn serve(folder: Folder, mut reads: mpsc::Receiver<Read>, messages: mpsc::Sender<UpgradeRequest>) {
    while let Some(read) = reads.recv().await {
        if answer(&folder, &read, &messages).await.is_err() {
            return;
        }
    }
}

/// The connection is gone.
struct Gone;

async fn answer(folder: &Folder, read: &Read, messages: &mpsc::Sender<UpgradeRequest>) -> Result<(), Gone> {
    let (mut at, mut left) = (read.offset, read.length);
    let file = match folder.file(&read.path) {
        Ok(file) => file,
        Err(error) => return send(messages, failed(read.id, &error)).await,
    };
    loop {
        let mut data = vec![0; CHUNK_MAX_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_MAX_BYTES))];
        let length = match file.read_at(&mut data, at) {
            Ok(length) => length,
            Err(error) => return send(messages, failed(read.id, &error)).await,
        };
        data.truncate(length);
        at += length as u64;
        left -= length as u64;
        let last = left == 0 || length == 0;
        send(messages, Chunk { id: read.id, data, last, error: None }).await?;
        if last {
            return Ok(());
        }
    }
}

fn failed(id: u32, error: &io::Error) -> Chunk {
    let not_found = error.kind() == io::ErrorKind::NotFound;
    let error = ChunkError { not_found, message: error.to_string() };
    Chunk { id, data: Vec::new(), last: true, error: Some(error) }
}

async fn send(messages: &mpsc::Sender<UpgradeRequest>, chunk: Chunk) -> Result<(), Gone> {
    let message = UpgradeRequest { message: Some(Message::Chunk(chunk)) };
    messages.send(message).await.map_err(|_| Gone)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn repository() -> tempfile::TempDir {
        let outer = tempfile::tempdir().unwrap();
        let base = outer.path().join("release");
        fs::create_dir_all(base.join("metadata")).unwrap();
        fs::create_dir_all(base.join("targets/releases/1.0.0")).unwrap();
        fs::write(base.join(NEWEST), "{}").unwrap();
        fs::write(base.join("secrets.yaml"), "secret").unwrap();
        fs::write(outer.path().join("outside"), "secret").unwrap();
        fs::write(base.join("targets/releases/1.0.0/root.img"), vec![7; CHUNK_MAX_BYTES + 5]).unwrap();
        symlink("../../outside", base.join("targets/out")).unwrap();
        symlink("../secrets.yaml", base.join("targets/beside")).unwrap();
        symlink("releases/1.0.0/root.img", base.join("targets/inside")).unwrap();
        outer
    }

    fn open(outer: &tempfile::TempDir) -> Folder {
        Folder::open(&outer.path().join("release")).unwrap()
    }

    async fn answers(read: Read) -> Vec<Chunk> {
        let outer = repository();
        let folder = open(&outer);
        let (messages, mut sent) = mpsc::channel(16);
        assert!(answer(&folder, &read, &messages).await.is_ok());
        let mut chunks = Vec::new();
        while let Ok(UpgradeRequest { message: Some(Message::Chunk(chunk)) }) = sent.try_recv() {
            chunks.push(chunk);
        }
        chunks
    }

    #[test]
    fn nothing_but_the_repository_is_read() {
        let outer = repository();
        let folder = open(&outer);
        assert!(folder.file("targets/releases/1.0.0/root.img").is_ok());
        assert!(folder.file("targets/inside").is_ok());
        for hostile in [
            "",
            "/etc/passwd",
            "..",
            "../outside",
            "metadata/../../outside",
            "metadata//timestamp.json",
            "metadata/./timestamp.json",
            "secrets.yaml",
            "targets",
            "targets/",
            "targets/releases",
            "targets/out",
            "targets/beside",
            "targets\\..\\secrets.yaml",
            "targets/a\0b",
        ] {
            assert!(folder.file(hostile).is_err(), "{hostile:?}");
        }
        assert!(folder.file(&format!("targets/{}", "a".repeat(PATH_MAX_BYTES))).is_err());
    }

    #[test]
    fn a_folder_without_metadata_is_none() {
        let outer = repository();
        let failure = Folder::open(outer.path()).unwrap_err();
        assert!(failure.render().contains("no release repository"), "{failure}");
        let failure = Folder::open(&outer.path().join("none")).unwrap_err();
        assert_eq!(failure.exit(), Exit::NotFound);
    }

    #[tokio::test]
    async fn a_read_is_answered_in_pieces() {
        let path = "targets/releases/1.0.0/root.img".to_owned();
        let chunks = answers(Read { id: 3, path: path.clone(), offset: 1, length: u64::MAX }).await;
        let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.data.len()).collect();
        assert_eq!(lengths, [CHUNK_MAX_BYTES, 4, 0]);
        assert!(chunks.iter().all(|chunk| chunk.id == 3 && chunk.error.is_none()));
        assert!(chunks[2].last && !chunks[0].last);

        let chunks = answers(Read { id: 4, path, offset: 0, length: 10 }).await;
        assert_eq!((chunks.len(), chunks[0].data.len(), chunks[0].last), (1, 10, true));
    }

    #[tokio::test]
    async fn what_is_not_there_is_told_from_what_cannot_be_read() {
        let error = async |path: &str| {
            let read = Read { id: 1, path: path.into(), offset: 0, length: 1 };
            answers(read).await[0].error.clone().unwrap()
        };
        assert!(error("metadata/2.root.json").await.not_found);
        let refused = error("../outside").await;
        assert!(!refused.not_found && refused.message.contains("no file of a repository"), "{refused:?}");
    }
}

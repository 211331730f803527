//! A log in a file that grows and is rotated to `<name>.1`.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::{net::unix::pipe, sync::mpsc::Sender};

use super::{CHUNK_BYTES, LogError, Selection};

/// How far back the last lines are searched: bounds the work for a file of very long lines.
const TAIL_SCAN_BYTES: u64 = 4 << 20;

/// Turns raw bytes of a log into what is sent; must accept any split.
pub trait Filter: Send {
    /// Bytes to send for more bytes of the file.
    fn filter(&mut self, bytes: &[u8]) -> Vec<u8>;
}

/// Sends the log at `path` until it ends, or, when following, until the client goes.
pub async fn send(
    path: &Path,
    selection: Selection,
    mut filter: impl Filter,
    sender: &Sender<Vec<u8>>,
) -> Result<(), LogError> {
    let error = |source| LogError::read(path, source);
    let changes = watch(path.parent().unwrap_or(Path::new("/"))).map_err(error)?;
    let mut file = File::open(path).map_err(error)?;
    let older = older(path);
    if !send_beginning(&mut file, &older, selection, &mut filter, sender).await.map_err(error)? {
        return Ok(());
    }
    if !selection.follow {
        return Ok(());
    }
    loop {
        if !await_change(&changes, sender).await.map_err(error)? {
            return Ok(());
        }
        if !send_rest(&mut file, &mut filter, sender).await.map_err(error)? {
            return Ok(());
        }
        if let Some(mut newer) = reopened(path, &file).map_err(error)? {
            // Nothing is added to a file that has been renamed, but before that something may have been.
            for file in [&mut file, &mut newer] {
                if !send_rest(file, &mut filter, sender).await.map_err(error)? {
                    return Ok(());
                }
            }
            file = newer;
        }
    }
}

/// What is there already; false when the client is gone.
async fn send_beginning(
    file: &mut File,
    older: &Path,
    selection: Selection,
    filter: &mut impl Filter,
    sender: &Sender<Vec<u8>>,
) -> io::Result<bool> {
    let wanted = selection.tail_lines.map(u64::from);
    let found = match wanted {
        Some(wanted) => seek_to_last_lines(file, wanted)?,
        None => 0,
    };
    if wanted.is_none_or(|wanted| found < wanted)
        && let Ok(mut before) = File::open(older)
    {
        if let Some(wanted) = wanted {
            seek_to_last_lines(&mut before, wanted - found)?;
        }
        if !send_rest(&mut before, filter, sender).await? {
            return Ok(false);
        }
    }
    send_rest(file, filter, sender).await
}

/// Sends from the file's position to its end; false when the client is gone.
async fn send_rest(file: &mut File, filter: &mut impl Filter, sender: &Sender<Vec<u8>>) -> io::Result<bool> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let length = match file.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let piece = filter.filter(buffer.get(..length).unwrap_or_default());
        if !piece.is_empty() && sender.send(piece).await.is_err() {
            return Ok(false);
        }
    }
}

/// Moves to the beginning of the last `wanted` lines; returns how many there are, at most `wanted`.
fn seek_to_last_lines(file: &mut File, wanted: u64) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    if wanted == 0 {
        return Ok(0);
    }
    let mut position = end;
    let mut lines = 0;
    let mut buffer = vec![0; CHUNK_BYTES];
    while position > 0 && end - position < TAIL_SCAN_BYTES {
        let step = position.min(CHUNK_BYTES as u64);
        position -= step;
        file.seek(SeekFrom::Start(position))?;
        let chunk = buffer.get_mut(..usize::try_from(step).unwrap_or(0)).unwrap_or_default();
        file.read_exact(chunk)?;
        for (index, _) in chunk.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = position + index as u64 + 1;
            // The line feed at the end of the file ends the last line, it begins none.
            if after == end {
                continue;
            }
            lines += 1;
            if lines == wanted {
                file.seek(SeekFrom::Start(after))?;
                return Ok(lines);
            }
        }
    }
    file.seek(SeekFrom::Start(position))?;
    Ok(if end > 0 { lines + 1 } else { 0 })
}

/// The file that has taken the place of `file` at `path`, if one has.
pub(super) fn reopened(path: &Path, file: &File) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(newer) if newer.metadata()?.ino() != file.metadata()?.ino() => Ok(Some(newer)),
        Ok(_) => Ok(None),
        // Between rename and creation: the next change brings it.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Events that are read, and not looked at, at once.
pub(super) const EVENTS_BYTES: usize = 4096;

/// Watches a folder of logs: a watch on a file would not see its successor. The descriptor reads like a pipe, and any
/// event means "look again".
pub(super) fn watch(folder: &Path) -> io::Result<pipe::Receiver> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(
        folder,
        AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO,
    )?;
    pipe::Receiver::from_owned_fd_unchecked(inotify.as_fd().try_clone_to_owned()?)
}

/// Waits for a change in the folder; false when the client is gone.
async fn await_change(changes: &pipe::Receiver, sender: &Sender<Vec<u8>>) -> io::Result<bool> {
    loop {
        tokio::select! {
            () = sender.closed() => return Ok(false),
            ready = changes.readable() => ready?,
        }
        match changes.try_read(&mut [0; EVENTS_BYTES]) {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::sync::mpsc;

    use super::*;

    /// Sends bytes as they are.
    struct Plain;

    impl Filter for Plain {
        fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
            bytes.to_vec()
        }
    }

    fn log(lines: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        std::fs::write(&path, (0..lines).map(|n| format!("line {n}\n")).collect::<String>()).unwrap();
        (folder, path)
    }

    async fn all(path: &Path, tail_lines: Option<u32>) -> String {
        let (sender, mut receiver) = mpsc::channel(64);
        send(path, Selection { follow: false, tail_lines }, Plain, &sender).await.unwrap();
        drop(sender);
        let mut bytes = Vec::new();
        while let Some(piece) = receiver.recv().await {
            bytes.extend(piece);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn the_last_lines_are_found_across_rotation() {
        let (_folder, path) = log(10_000);
        assert_eq!(all(&path, Some(2)).await, "line 9998\nline 9999\n");
        assert_eq!(all(&path, Some(0)).await, "");
        assert_eq!(all(&path, Some(9000)).await.lines().count(), 9000);
        assert_eq!(all(&path, Some(20_000)).await.lines().count(), 10_000);
        std::fs::rename(&path, older(&path)).unwrap();
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(all(&path, Some(2)).await, "line 9999\nnew\n");
        assert_eq!(all(&path, None).await.lines().count(), 10_001);
    }

    #[tokio::test]
    async fn following_survives_rotation_and_ends_with_the_client() {
        let (_folder, path) = log(1);
        let (sender, mut receiver) = mpsc::channel(64);
        let follower = tokio::spawn({
            let path = path.clone();
            async move { send(&path, Selection { follow: true, tail_lines: None }, Plain, &sender).await }
        });
        assert_eq!(receiver.recv().await.unwrap(), b"line 0\n");
        File::options().append(true).open(&path).unwrap().write_all(b"line 1\n").unwrap();
        assert_eq!(receiver.recv().await.unwrap(), b"line 1\n");
        std::fs::rename(&path, older(&path)).unwrap();
        std::fs::write(&path, "line 2\n").unwrap();
        assert_eq!(receiver.recv().await.unwrap(), b"line 2\n");
        drop(receiver);
        follower.await.unwrap().unwrap();
    }
}

//! What services write to stdout and stderr, kept in rotated files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};

/// A log is rotated when it would grow beyond this; one older file is kept.
const LOG_MAX_BYTES: u64 = 256 * 1024;
/// Most that is taken from one pipe per wake-up.
const CHUNK_BYTES: usize = 16 * 1024;

/// One service's pipe and log. The pipe outlives the service's instances, and so what they leave behind can
/// write on.
pub struct Output {
    /// To be polled.
    pub reader: OwnedFd,
    writer: OwnedFd,
    log: RotatingLog,
}

impl Output {
    /// Opens the pipe; the log is made when something is to be written.
    pub fn open(directory: &str, service: &str) -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        Ok(Self { reader, writer, log: RotatingLog::new(format!("{directory}/{service}.log")) })
    }

    /// A writing end for a child.
    pub fn writer(&self) -> io::Result<OwnedFd> {
        self.writer.try_clone()
    }

    /// Moves one chunk from the pipe to the log.
    pub fn transfer(&mut self) {
        let mut chunk = [0; CHUNK_BYTES];
        if let Ok(length) = rustix::io::read(&self.reader, &mut chunk) {
            // A full /run must not stop the service: what does not fit is lost.
            let _ = self.log.append(chunk.get(..length).unwrap_or_default());
        }
    }
}

struct RotatingLog {
    path: PathBuf,
    older: PathBuf,
    open: Option<(File, u64)>,
}

impl RotatingLog {
    fn new(path: String) -> Self {
        let older = PathBuf::from(format!("{path}.1"));
        Self { path: PathBuf::from(path), older, open: None }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.open.as_ref().is_some_and(|(_, size)| size.saturating_add(length) > LOG_MAX_BYTES) {
            self.open = None;
            fs::rename(&self.path, &self.older)?;
        }
        if self.open.is_none() {
            let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            let size = file.metadata()?.len();
            self.open = Some((file, size));
        }
        if let Some((file, size)) = &mut self.open {
            file.write_all(bytes)?;
            *size = size.saturating_add(length);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_ends_up_in_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut output = Output::open(directory.path().to_str().unwrap(), "apid").unwrap();
        output.transfer();
        File::from(output.writer().unwrap()).write_all(b"hello\n").unwrap();
        output.transfer();
        assert_eq!(fs::read(directory.path().join("apid.log")).unwrap(), b"hello\n");
    }

    #[test]
    fn a_log_is_rotated_and_one_older_file_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let mut log = RotatingLog::new(path.to_str().unwrap().to_owned());
        for round in 0..40_u8 {
            log.append(&[round; CHUNK_BYTES]).unwrap();
        }
        let newer = fs::read(&path).unwrap();
        let older = fs::read(directory.path().join("x.log.1")).unwrap();
        assert_eq!(older.len() as u64, LOG_MAX_BYTES);
        assert_eq!((older.last(), newer.first(), newer.last()), (Some(&31), Some(&32), Some(&39)));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_log_that_cannot_be_written_loses_output_only() {
        let mut log = RotatingLog::new("/nonexistent/x.log".to_owned());
        assert!(log.append(b"x").is_err());
        assert!(log.append(b"y").is_err());
    }
}

//! A machine's console: follows the log that QEMU writes, woken by inotify.

use std::{
    fs::File,
    io::Read as _,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};

/// How often a wait looks whether QEMU still runs: its end writes nothing to the log.
const LIVENESS_MS: u16 = 500;

/// Follows a console log.
pub struct Console {
    path: PathBuf,
    file: File,
    inotify: Inotify,
    partial: Vec<u8>,
    lines: Vec<String>,
    seen: usize,
}

impl Console {
    /// Follows the log at `path` from its beginning.
    pub fn open(path: &Path) -> Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let file = File::options().read(true).append(true).create(true).open(path)?;
        inotify.add_watch(path, AddWatchFlags::IN_MODIFY)?;
        Ok(Self { path: path.to_owned(), file, inotify, partial: Vec::new(), lines: Vec::new(), seen: 0 })
    }

    /// Waits for a line, after the last one waited for, that contains `text`.
    pub fn wait_for(
        &mut self,
        text: &str,
        deadline: Duration,
        alive: impl FnMut() -> bool,
    ) -> Result<String> {
        self.wait_for_any(&[text], deadline, alive).map(|(_, line)| line)
    }

    /// Waits for a line that contains one of `texts`; returns which.
    pub fn wait_for_any(
        &mut self,
        texts: &[&str],
        deadline: Duration,
        mut alive: impl FnMut() -> bool,
    ) -> Result<(usize, String)> {
        let until = Instant::now() + deadline;
        loop {
            let running = alive();
            self.read()?;
            while let Some(line) = self.lines.get(self.seen) {
                self.seen += 1;
                if let Some(which) = texts.iter().position(|text| line.contains(text)) {
                    return Ok((which, line.clone()));
                }
            }
            if !running {
                bail!(
                    "QEMU ended while waiting for {texts:?} on the console {}:\n{}",
                    self.path.display(),
                    self.tail()
                );
            }
            if Instant::now() >= until {
                bail!(
                    "no {texts:?} within {deadline:?} on the console {}:\n{}",
                    self.path.display(),
                    self.tail()
                );
            }
            self.wait_for_change(until)?;
        }
    }

    /// All lines so far.
    pub fn lines(&mut self) -> Result<&[String]> {
        self.read()?;
        Ok(&self.lines)
    }

    /// The next wait begins at the first line again.
    pub fn rewind(&mut self) {
        self.seen = 0;
    }

    /// From now on, only lines that come later are waited for.
    pub fn skip(&mut self) -> Result<()> {
        self.read()?;
        self.seen = self.lines.len();
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", self.path.display()))?;
        self.partial.extend(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        Ok(())
    }

    fn wait_for_change(&self, until: Instant) -> Result<()> {
        let left = until.saturating_duration_since(Instant::now()).as_millis();
        let timeout = PollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX).min(LIVENESS_MS));
        poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], timeout)?;
        self.inotify.read_events().ok();
        Ok(())
    }

    fn tail(&self) -> String {
        let from = self.lines.len().saturating_sub(40);
        self.lines[from..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn waits_for_whole_lines_and_notices_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console.log");
        let mut console = Console::open(&path).unwrap();
        let mut writer = File::options().append(true).open(&path).unwrap();
        let thread = std::thread::spawn(move || {
            writer.write_all(b"one\ntw").unwrap();
            writer.write_all(b"o two\r\nthree\n").unwrap();
        });
        assert_eq!(console.wait_for("two", Duration::from_secs(10), || true).unwrap(), "two two");
        thread.join().unwrap();
        let error = console.wait_for("two", Duration::from_secs(10), || false).unwrap_err();
        assert!(error.to_string().contains("QEMU ended"), "{error}");
        let error = console.wait_for("two", Duration::ZERO, || true).unwrap_err();
        assert!(error.to_string().contains("within"), "{error}");
    }
}

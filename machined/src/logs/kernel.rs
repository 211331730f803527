//! The kernel's messages from /dev/kmsg (kernel Documentation/ABI/testing/dev-kmsg).

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use tokio::{net::unix::pipe, sync::mpsc::Sender};

use super::{LogError, Selection};

/// Where they are read.
pub const DEVICE: &str = "/dev/kmsg";
/// The kernel's own limit for one record (PRINTK_MESSAGE_MAX with its prefix).
const RECORD_BYTES: usize = 8192;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Syslog severity, 0 to 7.
    pub severity: u32,
    /// Syslog facility.
    pub facility: u32,
    /// Rises by one with each message of this boot.
    pub sequence: u64,
    /// Microseconds since kernel start.
    pub timestamp_us: u64,
    /// Text, without control characters' escapes undone.
    pub message: String,
}

/// Sends records until the end, or, when following, until the client goes.
pub async fn send(selection: Selection, sender: &Sender<Record>) -> Result<(), LogError> {
    let error = |source| LogError::read(Path::new(DEVICE), source);
    let mut kmsg = Kmsg::open().await.map_err(error)?;
    let mut first = VecDeque::new();
    while let Some(record) = kmsg.next_now().map_err(error)? {
        if selection.tail_lines.is_some_and(|wanted| first.len() as u64 >= u64::from(wanted)) {
            first.pop_front();
        }
        if selection.tail_lines != Some(0) {
            first.push_back(record);
        }
    }
    for record in first {
        if sender.send(record).await.is_err() {
            return Ok(());
        }
    }
    if !selection.follow {
        return Ok(());
    }
    loop {
        let record = tokio::select! {
            () = sender.closed() => return Ok(()),
            record = kmsg.next() => record.map_err(error)?,
        };
        if sender.send(record).await.is_err() {
            return Ok(());
        }
    }
}

/// The kernel's ring, read record by record: like a pipe whose every read is one record.
pub struct Kmsg(pipe::Receiver);

impl Kmsg {
    /// Begins at the oldest message kept.
    pub async fn open() -> io::Result<Self> {
        let receiver = pipe::Receiver::from_file_unchecked(device()?)?;
        // Until the first readiness is known every read would say "nothing there". The ring is never empty.
        receiver.readable().await?;
        Ok(Self(receiver))
    }

    /// The next message that is there already.
    pub fn next_now(&mut self) -> io::Result<Option<Record>> {
        let mut buffer = [0; RECORD_BYTES];
        loop {
            match self.0.try_read(&mut buffer) {
                Ok(length) => {
                    if let Some(record) = parse(buffer.get(..length).unwrap_or_default()) {
                        return Ok(Some(record));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                // Overwritten before it was read: the next read continues at the oldest one kept.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until there may be one. Safe to cancel.
    pub async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// Waits for the next message.
    pub async fn next(&mut self) -> io::Result<Record> {
        loop {
            if let Some(record) = self.next_now()? {
                return Ok(record);
            }
            self.readable().await?;
        }
    }
}

fn device() -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(DEVICE)
}

/// Parses `priority,sequence,timestamp,flags[,…];message[\n key=value …]`.
fn parse(record: &[u8]) -> Option<Record> {
    let text = String::from_utf8_lossy(record);
    let (prefix, rest) = text.split_once(';')?;
    let mut fields = prefix.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let sequence = fields.next()?.parse().ok()?;
    let timestamp_us = fields.next()?.parse().ok()?;
    let message = rest.lines().next().unwrap_or_default().to_owned();
    Some(Record { severity: priority & 7, facility: priority >> 3, sequence, timestamp_us, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_parsed_and_garbage_is_passed_over() {
        let record = parse(b"14,339,5140900,-,caller=T1;cairn: init started\n SUBSYSTEM=x\n").unwrap();
        let expected = Record {
            severity: 6,
            facility: 1,
            sequence: 339,
            timestamp_us: 5_140_900,
            message: "cairn: init started".into(),
        };
        assert_eq!(record, expected);
        for garbage in [&b""[..], b";", b"x,1,2,-;m", b"6,1;m", b"6,1,2,-"] {
            assert_eq!(parse(garbage), None);
        }
    }
}

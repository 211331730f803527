//! Every line of the services and of the kernel, from this boot's first on, to the keeper.

use std::{io, path::Path};

use layout::path::SERVICE_LOGS;
use logstore::{BootId, Entry, MESSAGE_MAX_BYTES, Source};
use tokio::time::sleep;

use super::{
    LogError, RETRY,
    clock::Now,
    crash,
    keeper::{Gone, Handle},
    kernel::{self, Kmsg, Record},
    severity,
    tail::Tails,
};
use crate::error_chain::error_chain;

/// What the kernel's log is called beside the services'.
const KERNEL: &str = "kernel";
/// apid's records of calls: a source of their own, so that nothing else that apid says takes their room.
const AUDIT: &str = "audit";
/// Last words of the kernel and of PID 1.
pub const CRASH: &str = "crash";

/// Whose log has the audit records, and how tracing marks them there. In a text the quotes would be escaped.
const AUDITED: (&str, &[u8]) = ("apid", b"\"target\":\"audit\"");
/// Facility daemon (RFC 5424, section 6.2.1).
const DAEMON: u16 = 3 << 3;
const WARNING: u16 = 4;
/// Handed over at once: memory, and what a line waits for behind others.
const BATCH_BYTES: usize = 64 * 1024;
/// What a line takes besides its text.
const LINE_OVERHEAD_BYTES: usize = 100;

/// A line on its way to the keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who wrote it.
    pub source: Source,
    /// The line.
    pub entry: Entry,
}

/// Gathers for ever.
pub async fn run(logs: &Handle) {
    let mut said = String::new();
    let mut say = |error: &LogError| {
        let error = error_chain(error);
        if error != said {
            tracing::error!(error, "logs cannot be gathered");
            said = error;
        }
    };
    let (mut services, mut kernel) = loop {
        match open().await {
            Ok(opened) => break opened,
            Err(error) => say(&error),
        }
        sleep(RETRY).await;
    };
    loop {
        match gather(logs, &mut services, &mut kernel).await {
            Ok(Gone) => return,
            Err(error) => say(&error),
        }
        sleep(RETRY).await;
    }
}

struct Kernel {
    kmsg: Kmsg,
    last_sequence: Option<u64>,
}

async fn open() -> Result<(Tails, Kernel), LogError> {
    let kmsg = Kmsg::open().await.map_err(|source| LogError::read(Path::new(kernel::DEVICE), source))?;
    Ok((Tails::open(Path::new(SERVICE_LOGS))?, Kernel { kmsg, last_sequence: None }))
}

/// Until the keeper is gone or a log cannot be read; what was read by then is kept, and nothing is read twice.
async fn gather(logs: &Handle, services: &mut Tails, kernel: &mut Kernel) -> Result<Gone, LogError> {
    let mut is_more = true;
    loop {
        if !is_more {
            tokio::select! {
                changed = services.changed() => is_more = changed.map(|()| true)?,
                read = kernel.kmsg.readable() => read.map_err(unreadable)?,
            }
        }
        let now = logs.clock().now();
        let mut lines = Vec::new();
        let services_read = if is_more {
            services.read(BATCH_BYTES, |line| lines.extend(of_service(now, &line)))
        } else {
            Ok(false)
        };
        let kernel_read = kernel.read(logs.boot(), now, &mut lines);
        if !lines.is_empty() && logs.ask(move |keeper| keeper.append(lines)).await.is_err() {
            return Ok(Gone);
        }
        is_more = services_read?;
        kernel_read.map_err(unreadable)?;
    }
}

impl Kernel {
    /// What is there, about a batch of it; the rest makes the device readable again.
    fn read(&mut self, boot: BootId, now: Now, lines: &mut Vec<Line>) -> io::Result<()> {
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some(record) = self.kmsg.next_now()?
        {
            bytes += record.message.len() + LINE_OVERHEAD_BYTES;
            lines.extend(of_kernel(boot, now, &mut self.last_sequence, record));
        }
        Ok(())
    }
}

fn unreadable(source: io::Error) -> LogError {
    LogError::read(Path::new(kernel::DEVICE), source)
}

/// A line of a service's log. Names that are no sources' have none.
fn of_service(now: Now, line: &super::tail::Line<'_>) -> Option<Line> {
    let super::tail::Line { name, origin, position, text } = *line;
    let is_audit = name == AUDITED.0 && text.windows(AUDITED.1.len()).any(|part| part == AUDITED.1);
    let source = Source::parse(if is_audit { AUDIT } else { name })?;
    let severity = std::str::from_utf8(text).ok().and_then(severity::of_line);
    let entry = Entry {
        origin,
        position,
        wall_us: now.wall_us,
        mono_us: now.mono_us,
        priority: severity.map(|severity| DAEMON | severity),
        message: text.to_vec(),
    };
    Some(Line { source, entry })
}

/// A message of the kernel, before it what was overwritten unread, and behind it PID 1's last words among those of a crash.
fn of_kernel(boot: BootId, now: Now, last_sequence: &mut Option<u64>, record: Record) -> Vec<Line> {
    let Record { severity, facility, sequence, timestamp_us, message } = record;
    let line = |source: &str, position, priority, message: Vec<u8>| {
        let wall_us = now.wall_us_at(timestamp_us);
        let entry = Entry { origin: 0, position, wall_us, mono_us: timestamp_us, priority, message };
        Source::parse(source).map(|source| Line { source, entry })
    };
    let missing = last_sequence.map_or(0, |last| sequence.saturating_sub(last).saturating_sub(1));
    *last_sequence = Some(sequence);
    let gap = (missing > 0).then(|| {
        let text = format!("{missing} messages of the kernel were overwritten before they were read");
        line(KERNEL, sequence.saturating_sub(1), Some(DAEMON | WARNING), text.into_bytes())
    });
    let priority = u16::try_from(facility << 3 | severity).ok();
    let epitaph = crash::of_init(&message, boot);
    let epitaph = epitaph.map(|text| line(CRASH, sequence, priority, text));
    let mut message = message.into_bytes();
    message.truncate(MESSAGE_MAX_BYTES);
    [gap.flatten(), line(KERNEL, sequence, priority, message), epitaph.flatten()]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tail, *};

    const NOW: Now = Now { wall_us: 50_000_000, mono_us: 9_000_000 };

    fn kernel(sequence: u64, message: &str) -> Record {
        Record { severity: 2, facility: 1, sequence, timestamp_us: 4_000_000, message: message.into() }
    }

    #[test]
    fn calls_are_kept_apart_from_what_else_apid_says() {
        let source = |name, text: &str| {
            let line = tail::Line { name, origin: 3, position: 40, text: text.as_bytes() };
            of_service(NOW, &line).map(|line| (line.source.to_string(), line.entry.priority))
        };
        let call = r#"{"level":"INFO","method":"/x","target":"audit"}"#;
        assert_eq!(source("apid", call), Some(("audit".into(), Some(DAEMON | 6))));
        assert_eq!(source("kubelet", call), Some(("kubelet".into(), Some(DAEMON | 6))));
        let said = r#"{"level":"WARN","message":"\"target\":\"audit\"","target":"apid"}"#;
        assert_eq!(source("apid", said), Some(("apid".into(), Some(DAEMON | 4))));
        assert_eq!(source("no source", "x"), None);
    }

    #[test]
    fn overwritten_messages_are_counted_and_epitaphs_noted() {
        let mut last = None;
        let first = of_kernel(BootId([1; 16]), NOW, &mut last, kernel(70, "Linux version"));
        assert_eq!(first.len(), 1, "what came before machined is nobody's loss");
        assert_eq!((first[0].entry.position, first[0].entry.wall_us), (70, 45_000_000));
        assert_eq!(first[0].entry.priority, Some(10));
        let next = of_kernel(
            BootId([1; 16]),
            NOW,
            &mut last,
            kernel(75, "cairn: PID 1 panicked: odd, at src/main.rs"),
        );
        let said: Vec<(&str, String)> = next
            .iter()
            .map(|line| (line.source.as_str(), String::from_utf8_lossy(&line.entry.message).into_owned()))
            .collect();
        assert_eq!(
            said[0],
            (KERNEL, "4 messages of the kernel were overwritten before they were read".into())
        );
        assert_eq!(said[1].0, KERNEL);
        assert_eq!(said[2].0, CRASH);
        assert!(said[2].1.contains("odd, at src/main.rs"));
    }
}

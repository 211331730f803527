//! Last words of the kernel and of PID 1: taken over from where they survived, into the logs' source `crash`.
//!
//! The kernel writes what it said before a panic to persistent storage (pstore; on EFI machines variables of the
//! firmware). At the next boot that is put together ([`assemble()`]), kept, made to survive, and only then erased. PID 1
//! leaves its epitaph in the kernel's log, where `collect.rs` finds it.

mod assemble;
mod pstore;

use std::path::{Path, PathBuf};

use logstore::{BootId, Entry, Source};

use super::{CRASH, keeper::Handle};
use crate::error_chain::error_chain;
use assemble::{Death, assemble};

/// Where the kernel shows what survived.
pub const PSTORE: &str = "/sys/fs/pstore";
/// How PID 1's epitaph begins.
const EPITAPH: &str = "cairn: PID 1 panicked: ";
/// Facility kernel, severity critical (RFC 5424, section 6.2.1).
const PRIORITY: u16 = 2;
/// Distinguishes crashes that were taken over from epitaphs found in the log of this boot.
const FROM_PSTORE: u64 = 1;

/// A crash, as it stands in the log: a line of fields, then the last words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Who died: `kernel` or `init`.
    pub who: String,
    /// The kernel's word for why, such as `Panic`.
    pub reason: String,
    /// The boot that ended so, as far as that is known.
    pub boot: Option<BootId>,
    /// Last words.
    pub text: String,
}

impl Crash {
    fn message(&self) -> Vec<u8> {
        let boot = self.boot.map(|boot| boot.to_string()).unwrap_or_default();
        let Self { who, reason, text, .. } = self;
        format!("who={who} reason={reason} boot={boot}\n{text}").into_bytes()
    }

    /// Reads a record of the source `crash`; nothing for what is none.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let message = String::from_utf8_lossy(message);
        let (fields, text) = message.split_once('\n')?;
        let field = |name: &str| fields.split(' ').find_map(|field| field.strip_prefix(name));
        let boot = field("boot=")?;
        Some(Self {
            who: field("who=")?.to_owned(),
            reason: field("reason=")?.to_owned(),
            boot: boot.parse().ok(),
            text: text.to_owned(),
        })
    }

    /// The line that tells most.
    pub fn summary(&self) -> &str {
        const TELLING: [&str; 4] = ["Kernel panic - not syncing", "BUG:", "Oops", EPITAPH];
        let telling = |line: &&str| TELLING.iter().any(|word| line.contains(word));
        let lines = || self.text.lines();
        let line = lines().find(telling).or_else(|| lines().next_back()).unwrap_or_default();
        // `<0>[   12.345678] text`
        line.split_once("] ").filter(|_| line.starts_with(['<', '['])).map_or(line, |(_, text)| text)
    }
}

/// A message of the kernel's log as a record of a crash, if it is PID 1's epitaph.
pub fn of_init(message: &str, boot: BootId) -> Option<Vec<u8>> {
    let is_epitaph = message.starts_with(EPITAPH);
    let crash = Crash { who: "init".into(), reason: "Panic".into(), boot: Some(boot), text: message.into() };
    is_epitaph.then(|| crash.message())
}

/// Takes over what the last boot left, once logs are on DATA. What cannot be kept stays where it is.
pub async fn take_over(logs: &Handle, folder: &Path) {
    let folder = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || pstore::read(&folder)).await;
    let (parts, files) = match read {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            return tracing::warn!(error = error_chain(&error), "last words cannot be looked for");
        }
        Err(_) => return,
    };
    let deaths = assemble(parts);
    let Some(source) = Source::parse(CRASH).filter(|_| !deaths.is_empty()) else { return };
    for death in &deaths {
        tracing::error!(
            reason = death.reason,
            "the kernel crashed in an earlier boot: `osctl crashes` has its last words"
        );
    }
    let mono_us = logs.clock().now().mono_us;
    let kept = logs.ask(move |keeper| {
        let this = keeper.store().boot();
        let before = keeper.store().boots().into_iter().rfind(|span| span.boot != this).map(|span| span.boot);
        for Death { reason, at_us, text } in deaths {
            let crash = Crash { who: "kernel".into(), reason, boot: before, text };
            keeper.note(
                &source,
                Entry {
                    origin: FROM_PSTORE,
                    position: at_us.cast_unsigned(),
                    wall_us: at_us,
                    mono_us,
                    priority: Some(PRIORITY),
                    message: crash.message(),
                },
            );
        }
        keeper.sync();
        keeper.is_sound()
    });
    if kept.await == Ok(true) {
        erase(files).await;
    } else {
        tracing::warn!("last words stay where the kernel left them: they cannot be written to DATA");
    }
}

async fn erase(files: Vec<PathBuf>) {
    let erased = tokio::task::spawn_blocking(move || pstore::erase(&files)).await;
    if let Ok(Err(error)) = erased {
        tracing::warn!(
            error = error_chain(&error),
            "last words that are kept cannot be erased where they were"
        );
    }
}

#[cfg(test)]
mod tests {
    use logstore::{Cursor, Range};

    use super::*;
    use crate::logs::{Clock, Folder};

    #[tokio::test]
    async fn last_words_are_erased_only_once_they_are_on_data() {
        let scratch = tempfile::tempdir().unwrap();
        let (pstore, data) = (scratch.path().join("pstore"), scratch.path().join("data"));
        std::fs::create_dir(&pstore).unwrap();
        for (part, text) in [(1, "<0>[ 2.0] Kernel panic - not syncing: odd"), (2, "<6>[ 1.0] before")] {
            let content = format!("Panic#1 Part{part}\n{text}\n");
            std::fs::write(pstore.join(format!("dmesg-efi_pstore-{part}")), content).unwrap();
        }
        let logs = Handle::start(BootId([2; 16]), Clock::new(|| 0)).unwrap();
        take_over(&logs, &pstore).await;
        assert_eq!(std::fs::read_dir(&pstore).unwrap().count(), 2, "memory is not safe");
        let logs = Handle::start(BootId([3; 16]), Clock::new(|| 0)).unwrap();
        logs.ask(move |keeper| keeper.attach(Folder::at(&data))).await.unwrap().unwrap();
        take_over(&logs, &pstore).await;
        assert_eq!(std::fs::read_dir(&pstore).unwrap().count(), 0);
        let read = logs.ask(|keeper| {
            let place = keeper.place(Cursor::at(0));
            keeper.read(&Source::parse(CRASH).unwrap(), place, &Range::default()).0.records
        });
        let records = read.await.unwrap();
        let [record] = records.as_slice() else { panic!("{records:?}") };
        let crash = Crash::parse(&record.entry.message).unwrap();
        assert_eq!(crash.text, "<6>[ 1.0] before\n<0>[ 2.0] Kernel panic - not syncing: odd\n");
        assert_eq!(crash.boot, None, "no earlier boot is kept");
    }

    #[test]
    fn a_crash_comes_back_and_is_summed_up() {
        let boot = BootId([7; 16]);
        let text = "<6>[   11.0] usb 1-1: gone\n<0>[   12.345678] Kernel panic - not syncing: NMI: Not continuing\n<4>[   12.4] CPU: 0";
        let crash =
            Crash { who: "kernel".into(), reason: "Panic".into(), boot: Some(boot), text: text.into() };
        assert_eq!(Crash::parse(&crash.message()), Some(crash.clone()));
        assert_eq!(crash.summary(), "Kernel panic - not syncing: NMI: Not continuing");
        let unknown = Crash { boot: None, ..crash };
        assert_eq!(Crash::parse(&unknown.message()), Some(unknown));
        assert_eq!(Crash::parse(b"a line of somebody"), None);
        let epitaph = of_init("cairn: PID 1 panicked: odd, at src/x.rs:3:1", boot).unwrap();
        let epitaph = Crash::parse(&epitaph).unwrap();
        assert_eq!(
            (epitaph.who.as_str(), epitaph.summary()),
            ("init", "cairn: PID 1 panicked: odd, at src/x.rs:3:1")
        );
        assert_eq!(of_init("cairn: init started", boot), None);
    }
}

//! What apid wrote to its log.

use std::io::{self, Write};
use std::sync::{LazyLock, Once};

use serde_json::Value;
use tokio::sync::watch;

static LINES: LazyLock<watch::Sender<Vec<Value>>> = LazyLock::new(|| watch::Sender::new(Vec::new()));
static INSTALLED: Once = Once::new();

struct Sink;

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let value = serde_json::from_slice(line).expect("a log line is JSON");
        LINES.send_modify(|lines| lines.push(value));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Collects the log of all tests of this process.
pub fn install() {
    INSTALLED.call_once(|| {
        tracing_subscriber::fmt().json().flatten_event(true).with_writer(|| Sink).init();
    });
}

/// Waits for a line that fits, and returns it.
pub async fn line(fits: impl Fn(&Value) -> bool) -> Value {
    let mut lines = LINES.subscribe();
    let lines = lines.wait_for(|lines| lines.iter().any(&fits)).await.unwrap();
    lines.iter().find(|line| fits(line)).unwrap().clone()
}

/// Waits for the audit record of a call.
pub async fn audit(subject: &str, method: &str) -> Value {
    line(|line| line["target"] == "audit" && line["subject"] == subject && line["method"] == method).await
}

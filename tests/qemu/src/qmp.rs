//! A client of the QEMU machine protocol: JSON lines over a unix socket (QEMU docs/interop/qmp-spec).

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

const REPLY_DEADLINE: Duration = Duration::from_secs(30);

/// A connection to a running QEMU.
pub struct Qmp {
    reader: BufReader<UnixStream>,
    events: Vec<Value>,
}

impl Qmp {
    /// Connects and leaves negotiation mode.
    pub fn connect(path: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(path).with_context(|| format!("cannot reach QEMU at {}", path.display()))?;
        stream.set_read_timeout(Some(REPLY_DEADLINE))?;
        let mut qmp = Self { reader: BufReader::new(stream), events: Vec::new() };
        let greeting = qmp.receive()?;
        if greeting.get("QMP").is_none() {
            bail!("unexpected QMP greeting {greeting}");
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and returns its result.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({"execute": command, "arguments": arguments});
        self.reader.get_mut().write_all(format!("{request}\n").as_bytes())?;
        loop {
            let message = self.receive()?;
            if let Some(result) = message.get("return") {
                return Ok(result.clone());
            }
            if let Some(error) = message.get("error") {
                bail!("QMP {command}: {error}");
            }
            self.events.push(message);
        }
    }

    /// Waits for an event by name.
    pub fn wait_for(&mut self, event: &str, deadline: Duration) -> Result<Value> {
        self.reader.get_ref().set_read_timeout(Some(deadline))?;
        let found = loop {
            if let Some(index) = self.events.iter().position(|message| message["event"] == event) {
                break self.events.remove(index);
            }
            let message =
                self.receive().with_context(|| format!("no QMP event {event} within {deadline:?}"))?;
            self.events.push(message);
        };
        self.reader.get_ref().set_read_timeout(Some(REPLY_DEADLINE))?;
        Ok(found)
    }

    fn receive(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            bail!("QEMU closed the QMP connection");
        }
        serde_json::from_str(&line).context("QMP sent no JSON")
    }
}

//! One line as log servers get it: a JSON object, ended by a line feed. Pure.

use std::{borrow::Cow, collections::BTreeMap, time::SystemTime};

use logstore::{Record, Source};
use prost_types::Timestamp;
use serde::Serialize;

use crate::{api::timestamp, logs::severity};

/// Who speaks when lines are missing.
const SELF: &str = "machined";

/// What every line of this node says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The node's name.
    pub node: String,
    /// Fields of the configuration. None is called as one of the node's own.
    pub fields: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Line<'a> {
    /// RFC 3339.
    timestamp: String,
    node: &'a str,
    service: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'static str>,
    message: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<u64>,
    #[serde(flatten)]
    fields: &'a BTreeMap<String, String>,
}

impl Form {
    /// A line of a log.
    pub fn line(&self, source: &Source, record: &Record) -> String {
        let entry = &record.entry;
        let severity = entry.priority.and_then(severity::name);
        let message = String::from_utf8_lossy(&entry.message);
        self.write(timestamp(entry.wall_us), source.as_str(), severity, message, None)
    }

    /// Stands where lines had to be dropped.
    pub fn gap(&self, at: SystemTime, dropped: u64) -> String {
        let message = format!("{dropped} lines were dropped: the log server could not be reached");
        self.write(at.into(), SELF, Some("warning"), message.into(), Some(dropped))
    }

    fn write(
        &self,
        at: Timestamp,
        service: &str,
        severity: Option<&'static str>,
        message: Cow<'_, str>,
        dropped: Option<u64>,
    ) -> String {
        let timestamp = at.to_string();
        let (node, fields) = (self.node.as_str(), &self.fields);
        let line = Line { timestamp, node, service, severity, message, dropped, fields };
        // Texts and numbers can always be written.
        let mut json = serde_json::to_string(&line).unwrap_or_default();
        json.push('\n');
        json
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use logstore::Entry;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn form() -> Form {
        Form { node: "shop-17".into(), fields: [("site".into(), "harbour".into())].into() }
    }

    fn record(wall_us: i64, priority: Option<u16>, message: &str) -> Record {
        let message = message.as_bytes().to_vec();
        Record {
            sequence: 1,
            entry: Entry { origin: 0, position: 0, wall_us, mono_us: 0, priority, message },
        }
    }

    #[test]
    fn a_line_says_when_where_who_and_what() {
        let kubelet = Source::parse("kubelet").unwrap();
        let line = form().line(&kubelet, &record(1_767_323_045_250_000, Some(30), "I0102 \"x\"\tä"));
        assert!(line.starts_with(r#"{"timestamp":"2026-01-02T03:04:05.250"#), "{line}");
        let mut read: Value = serde_json::from_str(&line).unwrap();
        read["timestamp"].take();
        let expected = json!({
            "timestamp": null, "node": "shop-17", "service": "kubelet", "severity": "info",
            "message": "I0102 \"x\"\tä", "site": "harbour",
        });
        assert_eq!(read, expected);
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let gap: Value = serde_json::from_str(&form().gap(at, 12)).unwrap();
        assert_eq!((&gap["dropped"], &gap["service"]), (&json!(12), &json!("machined")));
    }

    proptest! {
        #[test]
        fn whatever_a_service_writes_is_one_line_of_json(message in any::<String>()) {
            let line = form().line(&Source::parse("x").unwrap(), &record(0, None, &message));
            prop_assert_eq!(line.matches('\n').count(), 1);
            let read: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read["message"].as_str(), Some(message.as_str()));
        }
    }
}

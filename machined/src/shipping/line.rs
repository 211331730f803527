//! One line as log servers get it: a JSON object, ended by a line feed. Pure.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use prost_types::Timestamp;
use serde::Serialize;

use super::sources::Entry;

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
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<u64>,
    #[serde(flatten)]
    fields: &'a BTreeMap<String, String>,
}

impl Form {
    /// A line of a log, read at this time.
    pub fn line(&self, at: SystemTime, entry: &Entry<'_>) -> Arc<str> {
        let Entry { service, severity, message } = *entry;
        self.write(at, service, severity, message, None)
    }

    /// Stands where lines had to be dropped.
    pub fn gap(&self, at: SystemTime, dropped: u64) -> Arc<str> {
        let message = format!("{dropped} lines were dropped: the log server could not be reached");
        self.write(at, SELF, Some("warning"), &message, Some(dropped))
    }

    fn write(
        &self,
        at: SystemTime,
        service: &str,
        severity: Option<&'static str>,
        message: &str,
        dropped: Option<u64>,
    ) -> Arc<str> {
        let timestamp = Timestamp::from(at).to_string();
        let (node, fields) = (self.node.as_str(), &self.fields);
        let line = Line { timestamp, node, service, severity, message, dropped, fields };
        // Texts and numbers can always be written.
        let mut json = serde_json::to_string(&line).unwrap_or_default();
        json.push('\n');
        json.into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn form() -> Form {
        Form { node: "shop-17".into(), fields: [("site".into(), "harbour".into())].into() }
    }

    #[test]
    fn a_line_says_when_where_who_and_what() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_250);
        let entry = Entry { service: "kubelet", severity: Some("info"), message: "I0102 \"x\"\tä" };
        let line = form().line(at, &entry);
        assert!(line.starts_with(r#"{"timestamp":"2026-01-02T03:04:05.250"#), "{line}");
        let mut read: Value = serde_json::from_str(&line).unwrap();
        read["timestamp"].take();
        let expected = json!({
            "timestamp": null, "node": "shop-17", "service": "kubelet", "severity": "info",
            "message": "I0102 \"x\"\tä", "site": "harbour",
        });
        assert_eq!(read, expected);
        let gap: Value = serde_json::from_str(&form().gap(at, 12)).unwrap();
        assert_eq!((&gap["dropped"], &gap["service"]), (&json!(12), &json!("machined")));
    }

    proptest! {
        #[test]
        fn whatever_a_service_writes_is_one_line_of_json(message in any::<String>()) {
            let entry = Entry { service: "x", severity: None, message: &message };
            let line = form().line(SystemTime::UNIX_EPOCH, &entry);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let read: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read["message"].as_str(), Some(message.as_str()));
        }
    }
}

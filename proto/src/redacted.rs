//! `Debug` of messages that carry secrets: whoever logs one gives nothing away.

use std::fmt;

use crate::config::v1::{Change, SignedRequest, change::Content};
use crate::maintenance::v1::ConfigureRequest;

impl fmt::Debug for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Change")
            .field("content", &self.content)
            .field("mode", &self.mode())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => formatter.write_str("Text(…)"),
            Self::StrategicMerge(_) => formatter.write_str("StrategicMerge(…)"),
            Self::JsonPatch(_) => formatter.write_str("JsonPatch(…)"),
            Self::RollbackTo(generation) => formatter.debug_tuple("RollbackTo").field(generation).finish(),
        }
    }
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SignedRequest")
            .field("node_id", &self.node_id)
            .field("base_generation", &self.base_generation)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ConfigureRequest {
    /// The proof is left out too: a guess of the pairing code could be checked against it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ConfigureRequest").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::v1::{ApplyRequest, PlanRequest};

    #[test]
    fn debug_shows_no_configuration() {
        const SECRET: &str = "hunter2";
        let text = |content| PlanRequest {
            change: Some(Change { content: Some(content), ..Change::default() }),
            ..PlanRequest::default()
        };
        let request = SignedRequest { body: SECRET.into(), node_id: "n1".into(), ..SignedRequest::default() };
        let shown = [
            format!("{:?}", text(Content::Text(SECRET.into()))),
            format!("{:?}", text(Content::StrategicMerge(SECRET.into()))),
            format!("{:?}", text(Content::JsonPatch(SECRET.into()))),
            format!("{:?}", ApplyRequest { request: Some(request) }),
            format!("{:?}", ConfigureRequest { text: SECRET.into(), proof: SECRET.into(), signed: None }),
        ];
        for shown in shown {
            assert!(
                !shown.contains(SECRET) && !shown.contains(&format!("{:?}", SECRET.as_bytes())),
                "{shown}"
            );
        }
        assert!(format!("{:?}", text(Content::RollbackTo(7))).contains("RollbackTo(7)"));
    }
}

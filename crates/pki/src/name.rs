//! Names of nodes and clients, checked once.

use std::fmt;

/// Domain under which every node has its name. Reserved for private use, never resolved.
pub const NODE_DOMAIN: &str = "node.cairn.internal";
/// Longest common name (RFC 5280, ub-common-name).
pub const SUBJECT_MAX_BYTES: usize = 64;
/// Longest DNS label (RFC 1035).
const LABEL_MAX_BYTES: usize = 63;

/// Why a text is no name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a DNS label.
    #[error("{text:?} is not a node id; it is 1 to 63 of a-z, 0-9 and '-', neither first nor last a '-'")]
    NodeId {
        /// What was given.
        text: String,
    },
    /// Not fit for certificates, logs and metadata.
    #[error(
        "{text:?} is not a subject name; it is 1 to 64 printable ASCII characters without space around them"
    )]
    Subject {
        /// What was given.
        text: String,
    },
}

/// A node's id: one lower-case DNS label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(String);

impl NodeId {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`NameError::NodeId`] when it is no DNS label in lower case.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let fits = (1..=LABEL_MAX_BYTES).contains(&bytes.len())
            && bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fits { Ok(Self(text.to_owned())) } else { Err(NameError::NodeId { text: text.to_owned() }) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The DNS name in the node's certificate: `<node id>.node.cairn.internal`.
    #[must_use]
    pub fn dns_name(&self) -> String {
        format!("{}.{NODE_DOMAIN}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// A client's name, as it stands in its certificate, in audit records and in the metadata `cairn-subject`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectName(String);

impl SubjectName {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`NameError::Subject`] when it is empty, too long, or would change in a log line or a header.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fits = (1..=SUBJECT_MAX_BYTES).contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
            && text.trim() == text;
        if fits { Ok(Self(text.to_owned())) } else { Err(NameError::Subject { text: text.to_owned() }) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn node_ids() {
        assert_eq!(NodeId::parse("n-1a").map(|id| id.dns_name()), Ok("n-1a.node.cairn.internal".into()));
        for bad in ["", "-a", "a-", "A", "a.b", "a b", "ä", &"a".repeat(64)] {
            assert!(NodeId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(NodeId::parse(&"a".repeat(63)).is_ok());
    }

    #[test]
    fn subjects() {
        for good in ["alice", "alice@example.com", "CI robot 7"] {
            assert!(SubjectName::parse(good).is_ok(), "{good:?}");
        }
        for bad in ["", " a", "a ", "a\nb", "a\0", "ä", &"a".repeat(65)] {
            assert!(SubjectName::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_subject_is_one_line_of_ascii(text in ".{0,80}") {
            if let Ok(name) = SubjectName::parse(&text) {
                prop_assert!(name.as_str().is_ascii());
                prop_assert!(!name.as_str().contains(|c: char| c.is_control()));
            }
        }
    }
}

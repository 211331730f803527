//! Who wrote a line.

use std::fmt;

/// Longest name: it has 32 bytes in a segment's header.
pub(crate) const NAME_MAX_BYTES: usize = 32;

/// Name of a source: lower-case letters, digits and hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(String);

impl Source {
    /// A name, if it is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=NAME_MAX_BYTES).contains(&name.len());
        (fits && name.bytes().all(is_good)).then(|| Self(name.to_owned()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_a_folder() {
        assert_eq!(Source::parse("kube-proxy2").unwrap().as_str(), "kube-proxy2");
        for wrong in ["", "..", "a/b", "A", "a.b", "a b", &"x".repeat(NAME_MAX_BYTES + 1)] {
            assert_eq!(Source::parse(wrong), None, "{wrong}");
        }
    }
}

//! Paths of files in a release repository.

use std::fmt;

/// Longest path; those of a release are a quarter of it.
const PATH_MAX_BYTES: usize = 256;

/// A path below the base of a repository: never absolute, never upward, and the same in a URL and on any file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReleasePath(String);

/// Text that is no such path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no path of a release")]
pub struct PathError(String);

impl ReleasePath {
    /// Takes a path of segments of ASCII letters, digits, `.`, `_`, `-` and `+`, none of them `.` or `..`.
    pub fn new(text: &str) -> Result<Self, PathError> {
        let is_valid = text.len() <= PATH_MAX_BYTES && text.split('/').all(is_segment);
        if is_valid { Ok(Self(text.to_owned())) } else { Err(PathError(text.chars().take(80).collect())) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_segment(segment: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(is_plain)
}

impl fmt::Display for ReleasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_the_repository() {
        for good in ["metadata/1.root.json", "targets/releases/1.2.3-rc.1+b7/root.img", "a"] {
            assert_eq!(ReleasePath::new(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(PATH_MAX_BYTES + 1);
        for bad in
            ["", "/etc/passwd", "a//b", "../a", "a/..", "a/./b", "a/", "a b", "a%2fb", "a?b", "a\\b", &long]
        {
            assert!(ReleasePath::new(bad).is_err(), "{bad}");
        }
    }
}

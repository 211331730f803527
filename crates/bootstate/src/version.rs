//! Release versions, of fixed size and ordered as Semantic Versioning 2.0.0 says.

use core::cmp::Ordering;
use core::fmt;

/// Longest release version.
pub const VERSION_MAX_BYTES: usize = 64;

/// A semantic version, or [`ReleaseVersion::UNKNOWN`].
///
/// Equality is that of the text; the order of releases is [`ReleaseVersion::precedence`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReleaseVersion([u8; VERSION_MAX_BYTES]);

/// Text that is no release version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Longer than [`VERSION_MAX_BYTES`].
    #[error("release version is longer than {VERSION_MAX_BYTES} bytes")]
    TooLong,
    /// Not MAJOR.MINOR.PATCH with optional pre-release and build parts.
    #[error("release version is not of the form MAJOR.MINOR.PATCH[-PRERELEASE][+BUILD]")]
    Malformed,
}

impl ReleaseVersion {
    /// No version known. It precedes every other.
    pub const UNKNOWN: Self = Self([0; VERSION_MAX_BYTES]);

    /// Takes the text of a semantic version.
    pub fn new(text: &str) -> Result<Self, VersionError> {
        let mut bytes = [0; VERSION_MAX_BYTES];
        bytes.get_mut(..text.len()).ok_or(VersionError::TooLong)?.copy_from_slice(text.as_bytes());
        Parts::parse(text).ok_or(VersionError::Malformed)?;
        Ok(Self(bytes))
    }

    /// Takes the stored form: the text, padded with NUL bytes.
    pub(crate) fn from_bytes(bytes: [u8; VERSION_MAX_BYTES]) -> Option<Self> {
        let version = Self(bytes);
        let padding_is_clean = bytes.iter().skip_while(|byte| **byte != 0).all(|byte| *byte == 0);
        let valid = version.is_unknown() || Parts::parse(version.as_str()).is_some();
        (padding_is_clean && valid).then_some(version)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; VERSION_MAX_BYTES] {
        &self.0
    }

    /// The text; empty when unknown.
    pub fn as_str(&self) -> &str {
        let text = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }

    /// Whether no version is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::UNKNOWN
    }

    /// Order of releases (SemVer 2.0.0, section 11): build parts do not count, unknown comes first.
    pub fn precedence(&self, other: &Self) -> Ordering {
        Parts::parse(self.as_str()).cmp(&Parts::parse(other.as_str()))
    }
}

impl fmt::Display for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_unknown() { "unknown" } else { self.as_str() })
    }
}

impl fmt::Debug for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReleaseVersion({self})")
    }
}

/// The parts that count for precedence, in the order in which they count.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Parts<'a> {
    core: [u64; 3],
    pre_release: PreRelease<'a>,
}

impl<'a> Parts<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (text, build) = split_optional(text, '+');
        let (core, pre_release) = split_optional(text, '-');
        if let Some(build) = build
            && !build.split('.').all(is_identifier)
        {
            return None;
        }
        let mut numbers = core.split('.').map(number);
        let core = [numbers.next()??, numbers.next()??, numbers.next()??];
        if numbers.next().is_some() {
            return None;
        }
        Some(Self { core, pre_release: PreRelease::parse(pre_release)? })
    }
}

/// The part after `-`; a release follows all of its pre-releases.
#[derive(PartialEq, Eq)]
struct PreRelease<'a>(Option<&'a str>);

impl<'a> PreRelease<'a> {
    fn parse(text: Option<&'a str>) -> Option<Self> {
        let valid = |part: &str| is_identifier(part) && (!is_digits(part) || number(part).is_some());
        text.is_none_or(|text| text.split('.').all(valid)).then_some(Self(text))
    }
}

impl Ord for PreRelease<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0, other.0) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(left), Some(right)) => {
                left.split('.').map(Identifier).cmp(right.split('.').map(Identifier))
            }
        }
    }
}

impl PartialOrd for PreRelease<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One dot-separated part of a pre-release: numbers by value and before words, words by their bytes.
#[derive(PartialEq, Eq)]
struct Identifier<'a>(&'a str);

impl Ord for Identifier<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (number(self.0), number(other.0)) {
            (Some(left), Some(right)) => left.cmp(&right),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => self.0.cmp(other.0),
        }
    }
}

impl PartialOrd for Identifier<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn split_optional(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(head, tail)| (head, Some(tail)))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str) -> Option<u64> {
    let canonical = !text.is_empty() && is_digits(text) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;

    /// Versions and near misses, dense enough that two of them often differ in one part only.
    fn texts() -> impl Strategy<Value = String> {
        let part = "0|1|2|10|01|a|b|alpha|0a|-|1-x|";
        proptest::string::string_regex(&std::format!(
            r"(0|1|2|10|01)\.(0|1|10|)\.(0|1|9)(-({part})(\.({part})){{0,2}})?(\+({part})(\.({part}))?)?"
        ))
        .expect("the expression is valid")
    }

    proptest! {
        #[test]
        fn agrees_with_semver(left in texts(), right in texts()) {
            let ours = (ReleaseVersion::new(&left), ReleaseVersion::new(&right));
            let theirs = (semver::Version::parse(&left), semver::Version::parse(&right));
            prop_assert_eq!(ours.0.is_ok(), theirs.0.is_ok(), "{}", left);
            if let ((Ok(a), Ok(b)), (Ok(c), Ok(d))) = (ours, theirs) {
                prop_assert_eq!(a.precedence(&b), c.cmp_precedence(&d));
                prop_assert_eq!(a.as_str(), left);
            }
        }

        #[test]
        fn stored_form_round_trips(text in texts()) {
            if let Ok(version) = ReleaseVersion::new(&text) {
                prop_assert_eq!(ReleaseVersion::from_bytes(*version.as_bytes()), Some(version));
            }
        }
    }

    #[test]
    fn unknown_precedes_every_version() {
        let lowest = ReleaseVersion::new("0.0.0-0").unwrap();
        assert_eq!(ReleaseVersion::UNKNOWN.precedence(&lowest), Ordering::Less);
        assert_eq!(ReleaseVersion::from_bytes([0; VERSION_MAX_BYTES]), Some(ReleaseVersion::UNKNOWN));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let long = std::format!("1.0.0+{}", "a".repeat(VERSION_MAX_BYTES));
        assert_eq!(ReleaseVersion::new(&long), Err(VersionError::TooLong));
        assert_eq!(ReleaseVersion::new(""), Err(VersionError::Malformed));
        let mut dirty = *ReleaseVersion::new("1.0.0").unwrap().as_bytes();
        dirty[10] = b'x';
        assert_eq!(ReleaseVersion::from_bytes(dirty), None);
    }
}

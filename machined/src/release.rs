//! Facts of the running release, from os-release(5).

use std::{collections::HashMap, fs, io, path::Path};

/// What the image says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// Release version.
    pub version: String,
    /// Kubernetes version.
    pub kubernetes: String,
    /// Seconds since 1970 before which no clock is believed: the release's date.
    pub time_floor_s: u64,
}

impl Release {
    /// Reads the image's os-release.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string(Path::new(layout::path::OS_RELEASE))?))
    }

    fn parse(text: &str) -> Self {
        let fields: HashMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect();
        let field = |name: &str| fields.get(name).copied().unwrap_or_default();
        Self {
            version: field("CAIRN_VERSION").to_owned(),
            kubernetes: field("CAIRN_KUBERNETES_VERSION").to_owned(),
            time_floor_s: field("CAIRN_TIME_FLOOR").parse().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_with_and_without_quotes() {
        let release = Release::parse("NAME=\"x\"\nCAIRN_VERSION=\"1.0\"\nCAIRN_TIME_FLOOR=9\nodd\n");
        assert_eq!(release, Release { version: "1.0".into(), kubernetes: String::new(), time_floor_s: 9 });
    }
}

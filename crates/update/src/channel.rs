//! A channel: the releases of one Kubernetes minor version, and when each reaches which node.

use bootstate::ReleaseVersion;
use serde::{Deserialize, Serialize};

use crate::{JSON_MAX_BYTES, KubernetesVersion, MANIFEST_FORMAT, manifest::is_name, text};

/// Most releases of a channel: what is older is of no use to anybody.
pub const CHANNEL_RELEASES_MAX: usize = 256;

/// A channel, as `targets/channels/<name>.json` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Channel {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// Its name, which ends in the Kubernetes minor version: `stable-k1.37`.
    pub name: String,
    /// Its releases, in any order.
    pub releases: Vec<ChannelRelease>,
}

/// A release of a channel. Node by node it is due from `begin_s` to `begin_s + spread_s`, see [`crate::due_s`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelRelease {
    /// Its version.
    #[serde(with = "text::version")]
    pub version: ReleaseVersion,
    /// When the first node may have it, in seconds since 1970.
    pub begin_s: u64,
    /// How long after that the last one may.
    pub spread_s: u64,
    /// For the time being no node begins with it.
    #[serde(default)]
    pub paused: bool,
    /// No node begins with it ever again.
    #[serde(default)]
    pub poisoned: bool,
}

/// Why a file is no channel.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Larger than any that is meant well.
    #[error("the channel file has {length_bytes} bytes; the most is {JSON_MAX_BYTES}")]
    TooLong {
        /// Its length.
        length_bytes: usize,
    },
    /// Not the JSON that it should be.
    #[error("the channel file is not of the form that it should have")]
    Json {
        /// What the JSON parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Made for other releases of the OS.
    #[error("the channel file has format {format}; this release reads format {MANIFEST_FORMAT}")]
    Format {
        /// As found.
        format: u32,
    },
    /// A value that no channel has.
    #[error("the channel's {field} is not possible")]
    Field {
        /// Which.
        field: &'static str,
    },
}

impl Channel {
    /// Reads a channel file. `name` is what was asked for: no channel passes for another.
    pub fn parse(name: &str, json: &[u8]) -> Result<Self, ChannelError> {
        if json.len() > JSON_MAX_BYTES {
            return Err(ChannelError::TooLong { length_bytes: json.len() });
        }
        let channel: Self = serde_json::from_slice(json).map_err(|source| ChannelError::Json { source })?;
        if channel.format != MANIFEST_FORMAT {
            return Err(ChannelError::Format { format: channel.format });
        }
        let field =
            |possible: bool, field| if possible { Ok(()) } else { Err(ChannelError::Field { field }) };
        field(channel.name == name && channel_minor(name).is_some(), "name")?;
        field(channel.releases.len() <= CHANNEL_RELEASES_MAX, "number of releases")?;
        field(channel.releases.iter().all(|release| !release.version.is_unknown()), "version")?;
        Ok(channel)
    }

    /// Whether its releases have the minor version of this Kubernetes.
    #[must_use]
    pub fn is_for(&self, kubernetes: KubernetesVersion) -> bool {
        channel_minor(&self.name).is_some_and(|minor| minor.is_same_minor(kubernetes))
    }
}

/// The Kubernetes minor version (its patch level is 0) that a channel's name ends in; `None` if it is no such name.
#[must_use]
pub fn channel_minor(name: &str) -> Option<KubernetesVersion> {
    let (stem, minor) = name.rsplit_once("-k")?;
    (is_name(name) && !stem.is_empty()).then(|| KubernetesVersion::new(&format!("{minor}.0")))?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture;

    const NAME: &str = "stable-k1.37";

    #[test]
    fn reads_the_form_that_is_documented() {
        let channel = Channel::parse(NAME, fixture::documented("channel").as_bytes()).unwrap();
        let [open, paused, poisoned] = &channel.releases[..] else { panic!("{channel:?}") };
        assert_eq!(
            (open.begin_s, open.spread_s, open.paused, open.poisoned),
            (1_794_000_000, 172_800, false, false)
        );
        assert!(paused.paused && !paused.poisoned && poisoned.poisoned && !poisoned.paused);
    }

    #[test]
    fn no_channel_passes_for_another() {
        let json = serde_json::to_vec(&fixture::channel(3)).unwrap();
        assert_eq!(Channel::parse(NAME, &json).unwrap(), fixture::channel(3));
        assert!(matches!(Channel::parse("edge-k1.37", &json), Err(ChannelError::Field { field: "name" })));
        let many =
            Channel { releases: vec![fixture::channel(2).releases[0].clone(); 257], ..fixture::channel(2) };
        assert!(Channel::parse(NAME, &serde_json::to_vec(&many).unwrap()).is_err());
        let newer = Channel { format: 2, ..fixture::channel(2) };
        let newer = Channel::parse(NAME, &serde_json::to_vec(&newer).unwrap());
        assert!(matches!(newer, Err(ChannelError::Format { format: 2 })));
    }

    #[test]
    fn names_end_in_the_kubernetes_minor() {
        assert_eq!(channel_minor("stable-k1.37").map(|minor| minor.to_string()).as_deref(), Some("1.37.0"));
        for wrong in ["", "stable", "-k1.37", "stable-k1", "stable-k1.37.2", "../x-k1.37", "stable-kv1.37"] {
            assert_eq!(channel_minor(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn mutated_json_never_panics(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut json = serde_json::to_vec(&fixture::channel(4)).unwrap();
            for (at, byte) in edits {
                let at = at.index(json.len());
                json[at] = byte;
            }
            if let Ok(channel) = Channel::parse(NAME, &json) {
                let again = Channel::parse(NAME, &serde_json::to_vec(&channel).unwrap());
                prop_assert_eq!(again.unwrap(), channel);
            }
        }
    }
}

//! Changes of channels.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use bootstate::ReleaseVersion;
use update::{CHANNEL_RELEASES_MAX, Channel, ChannelRelease, MANIFEST_FORMAT, channel_minor};

/// What is to change.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Releases and when they are due, by channel; a release that a channel has already gets the new times.
    pub scheduled: Vec<(String, ChannelRelease)>,
    /// Releases that no node begins with any more, whatever channel has them.
    pub poisoned: Vec<ReleaseVersion>,
}

/// The channels that are other than before.
pub(crate) fn apply(known: Vec<Channel>, changes: &Changes) -> Result<Vec<Channel>> {
    let mut channels: BTreeMap<String, Channel> =
        known.iter().map(|channel| (channel.name.clone(), channel.clone())).collect();
    for (name, release) in &changes.scheduled {
        ensure!(
            channel_minor(name).is_some(),
            "{name:?} is no channel: a name ends in the Kubernetes minor, as stable-k1.37 does"
        );
        let new = || Channel { format: MANIFEST_FORMAT, name: name.clone(), releases: Vec::new() };
        schedule(channels.entry(name.clone()).or_insert_with(new), release)?;
    }
    for version in &changes.poisoned {
        let entries = channels.values_mut().flat_map(|channel| &mut channel.releases);
        let mut found = entries.filter(|release| release.version == *version).peekable();
        if found.peek().is_none() {
            bail!("no channel has {version}");
        }
        found.for_each(|release| release.poisoned = true);
    }
    Ok(channels.into_values().filter(|channel| !known.contains(channel)).collect())
}

/// A release stays poisoned.
fn schedule(channel: &mut Channel, release: &ChannelRelease) -> Result<()> {
    match channel.releases.iter_mut().find(|known| known.version == release.version) {
        Some(known) => {
            *known = ChannelRelease { poisoned: known.poisoned || release.poisoned, ..release.clone() }
        }
        None => channel.releases.push(release.clone()),
    }
    channel.releases.sort_by(|a, b| a.version.precedence(&b.version));
    // Nodes refuse a longer list. The oldest are of no use to anybody.
    let surplus = channel.releases.len().saturating_sub(CHANNEL_RELEASES_MAX);
    channel.releases.drain(..surplus);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: &str = "stable-k1.37";

    fn release(version: &str, begin_s: u64) -> ChannelRelease {
        let version = ReleaseVersion::new(version).unwrap();
        ChannelRelease { version, begin_s, spread_s: 60, paused: false, poisoned: false }
    }

    fn scheduled(releases: &[ChannelRelease]) -> Changes {
        let scheduled = releases.iter().map(|release| (CHANNEL.to_owned(), release.clone())).collect();
        Changes { scheduled, poisoned: Vec::new() }
    }

    #[test]
    fn a_release_is_added_once_and_its_times_change() {
        let first = apply(Vec::new(), &scheduled(&[release("0.10.0", 1), release("0.9.0", 2)])).unwrap();
        let again = apply(first.clone(), &scheduled(&[release("0.9.0", 3)])).unwrap();
        assert_eq!(again[0].releases, [release("0.9.0", 3), release("0.10.0", 1)]);
        assert_eq!(apply(again.clone(), &scheduled(&[release("0.9.0", 3)])).unwrap(), []);
        assert!(Channel::parse(CHANNEL, &serde_json::to_vec(&again[0]).unwrap()).is_ok());
    }

    #[test]
    fn poison_stays() {
        let before = apply(Vec::new(), &scheduled(&[release("0.9.0", 1)])).unwrap();
        let poisoned = vec![ReleaseVersion::new("0.9.0").unwrap()];
        let changes = Changes { scheduled: Vec::new(), poisoned };
        let after = apply(before, &changes).unwrap();
        assert!(after[0].releases[0].poisoned);
        let later = apply(after, &scheduled(&[release("0.9.0", 2)])).unwrap();
        assert!(later[0].releases[0].poisoned && later[0].releases[0].begin_s == 2);
        assert!(apply(Vec::new(), &changes).is_err());
    }

    #[test]
    fn a_channel_says_its_kubernetes_and_is_bounded() {
        let nameless =
            Changes { scheduled: vec![("stable".into(), release("1.0.0", 0))], ..Changes::default() };
        assert!(apply(Vec::new(), &nameless).unwrap_err().to_string().contains("Kubernetes minor"));
        let many: Vec<_> = (0..300).map(|minor| release(&format!("0.{minor}.0"), 0)).collect();
        let channel = apply(Vec::new(), &scheduled(&many)).unwrap().remove(0);
        assert_eq!(channel.releases.len(), CHANNEL_RELEASES_MAX);
        assert_eq!(channel.releases[0].version.as_str(), "0.44.0");
    }
}

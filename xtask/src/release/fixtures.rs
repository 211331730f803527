//! Releases for the tests on the real image: good ones, and one that is bad in every way that a node must survive.
//!
//! All are signed with this computer's own keys. The bad ones differ from the first good one in their kernel's command
//! line alone, so they cost next to nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use bootstate::ReleaseVersion;
use image::uki;
use jiff::{SignedDuration, Timestamp};
use release::{
    channels::Changes,
    files::Release,
    keys::Keys,
    repository::{Validity, publish},
};
use testbed::bed::{BadRelease, Releases};
use update::ChannelRelease;

use super::{Built, keys};
use crate::{
    build::{
        self, go,
        image::{Inputs, SlotFiles, assemble_uki, slot_key},
        kernel,
    },
    cache, sdk,
};

const FOREVER: SignedDuration = SignedDuration::from_hours(24 * 365 * 20);
const VALIDITY: Validity = Validity { timestamp: FOREVER, snapshot: FOREVER, targets: FOREVER };

/// Makes so many good releases, or takes them from the cache.
pub fn provide(repository: &Path, good: u16) -> Result<Releases> {
    ensure!(good > 0, "bad releases are made from a good one");
    let sdk = sdk::provide(repository)?;
    let kernel = kernel::provide(repository, &sdk)?;
    let inputs = build::inputs(repository, &sdk, &kernel)?;
    let keys = keys::of_this_computer()?;
    let key = slot_key(&inputs, "test-releases")?
        .text(&good.to_string())
        .path(repository, "crates/update")?
        .path(repository, "image/release/src")?
        .path(repository, "tests/qemu/src/bed.rs")?
        .path(repository, "xtask/src/release")?;
    let hint = format!("{good} good releases, about 1 min each, and bad ones");
    let made = cache::artifact("test-releases", key, &hint, |into| make(&inputs, &keys, good, into))?;
    Ok(Releases {
        repository: made.path.join("good"),
        versions: versions(good)?,
        slow_channel: channel("stable")?,
        fast_channel: channel("edge")?,
        bad: made.path.join("bad"),
        keys: keys.folder().to_owned(),
    })
}

fn make(inputs: &Inputs, keys: &Keys, good: u16, into: &Path) -> Result<()> {
    let parts = into.join("parts");
    let mut built = Vec::new();
    for version in versions(good)? {
        let store = parts.join(&version);
        let inputs = Inputs { version: version.clone(), store, ..inputs.clone() };
        built.push((ReleaseVersion::new(&version)?, Built::new(&inputs, image::root::TIME_FLOOR_S)?));
    }
    let releases =
        built.iter().map(|(version, built)| built.release(*version, None)).collect::<Result<Vec<_>>>()?;
    let mut scheduled = Vec::new();
    for (index, release) in releases.iter().enumerate() {
        scheduled.push((channel("edge")?, due(release)));
        if index == 0 {
            scheduled.push((channel("stable")?, due(release)));
        }
    }
    publish_to(&into.join("good"), keys, &releases, &Changes { scheduled, poisoned: Vec::new() })?;
    let (version, first) = built.first().context("no good release")?;
    let inputs = Inputs { version: version.to_string(), ..inputs.clone() };
    for kind in BadRelease::ALL {
        let files = spoil(&inputs, &first.files, kind, &parts)?;
        let release = Release { a: &files.a, b: &files.b, ..first.release(*version, None)? };
        let scheduled = vec![(channel("stable")?, due(&release))];
        let folder = into.join("bad").join(kind.name());
        publish_to(&folder, keys, &[release], &Changes { scheduled, poisoned: Vec::new() })?;
        // The same content once: there are many.
        let root = |folder: &Path| folder.join("targets/releases").join(version.as_str()).join("root.img");
        fs::remove_file(root(&folder))?;
        fs::hard_link(root(&into.join("good")), root(&folder))?;
    }
    cache::remove(&parts)
}

fn publish_to(folder: &Path, keys: &Keys, releases: &[Release<'_>], changes: &Changes) -> Result<()> {
    let now = Timestamp::from_second(i64::try_from(image::root::TIME_FLOOR_S)?)?;
    publish(folder, keys, releases, changes, VALIDITY, now)
}

/// The release's files with UKIs that make it bad.
fn spoil(inputs: &Inputs, good: &SlotFiles, kind: BadRelease, parts: &Path) -> Result<SlotFiles> {
    let uki = |name: &str, partition: &layout::Partition| -> Result<PathBuf> {
        let path = parts.join(format!("{}-{name}", kind.name()));
        let command_line = uki::command_line(&good.facts, partition, kind.words())?;
        fs::write(&path, assemble_uki(inputs, &command_line)?)?;
        Ok(path)
    };
    let (a, b) = (uki("a.efi", &layout::ROOT_A)?, uki("b.efi", &layout::ROOT_B)?);
    Ok(SlotFiles { a, b, ..good.clone() })
}

/// At once, for everybody.
fn due(release: &Release<'_>) -> ChannelRelease {
    ChannelRelease { version: release.version, begin_s: 0, spread_s: 0, paused: false, poisoned: false }
}

fn channel(name: &str) -> Result<String> {
    let (minor, _) = go::KUBERNETES_VERSION.rsplit_once('.').context("no version of Kubernetes")?;
    Ok(format!("{name}-k{minor}"))
}

fn versions(good: u16) -> Result<Vec<String>> {
    (1..=good).map(build::next_version).collect()
}

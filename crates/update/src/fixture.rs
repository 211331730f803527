//! Releases for tests: number `n` is `1.n.0`.

use bootstate::{ReleaseVersion, Slot};

use crate::{
    Channel, ChannelRelease, File, Image, Installed, KubernetesVersion, MANIFEST_FORMAT, Manifest, UkiImage,
    Ukis,
};

/// A Tuesday in 2026, in seconds since 1970.
pub(crate) const START_S: u64 = 1_795_000_000;

pub(crate) fn version(number: u8) -> ReleaseVersion {
    ReleaseVersion::new(&format!("1.{number}.0")).unwrap()
}

pub(crate) fn uki(number: u8, slot: Slot) -> UkiImage {
    let letter = slot.letter().to_ascii_lowercase();
    UkiImage {
        image: image(&format!("{letter}.efi"), &format!("{letter}.leaves"), 1),
        length_bytes: 4096,
        sha256: [number * 2 + u8::from(slot == Slot::B); 32],
    }
}

fn image(path: &str, leaves: &str, data_blocks: u64) -> Image {
    Image { path: path.into(), leaves: leaves.into(), data_blocks, salt: [7; 32], root_hash: [8; 32] }
}

pub(crate) fn manifest(number: u8) -> Manifest {
    Manifest {
        format: MANIFEST_FORMAT,
        version: version(number),
        kubernetes: KubernetesVersion { major: 1, minor: 37, patch: number.into() },
        kernel: "6.18.1".into(),
        architecture: "x86_64".into(),
        created_s: START_S,
        time_floor_s: START_S,
        // Every third release rules out what is two and more before it.
        rollback_floor: if number % 3 == 2 { version(number - 1) } else { ReleaseVersion::UNKNOWN },
        root: image("root.img", "root.leaves", 1000),
        ukis: Ukis { a: uki(number, Slot::A), b: uki(number, Slot::B) },
        sbom: File { path: "sbom.spdx.json".into(), length_bytes: 10, sha256: [9; 32] },
    }
}

pub(crate) fn installed(number: u8) -> Installed {
    let Manifest { version, kubernetes, architecture, .. } = manifest(number);
    Installed { version, kubernetes, architecture }
}

/// A channel with releases 1 and up, each a day after the other.
pub(crate) fn channel(releases: u8) -> Channel {
    let release = |number: u8| ChannelRelease {
        version: version(number),
        begin_s: START_S + u64::from(number) * 86_400,
        spread_s: 86_400,
        paused: false,
        poisoned: false,
    };
    let name = "stable-k1.37".to_owned();
    Channel { format: MANIFEST_FORMAT, name, releases: (1..releases).map(release).collect() }
}

/// The example of this name in docs/FORMATS.md.
pub(crate) fn documented(name: &str) -> &'static str {
    let (_, example) =
        include_str!("../../../docs/FORMATS.md").split_once(&format!("```json {name}\n")).unwrap();
    example.split_once("```").unwrap().0
}

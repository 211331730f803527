//! The manifest of a release: what it is, and the hashes that everything else of it is held by.

use std::fmt;

use bootstate::{ReleaseVersion, Slot, Uki};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use verity::{BLOCK_BYTES, Hash};

use crate::{JSON_MAX_BYTES, text};

/// Form of manifests and channel files that this crate reads.
pub const MANIFEST_FORMAT: u32 = 1;
/// Longest name of a file, an architecture, a kernel version.
const NAME_MAX_BYTES: usize = 64;
/// Largest bill of materials: it is never needed on a node, so this only bounds what somebody may wait for.
const SBOM_MAX_BYTES: u64 = 64 << 20;
/// End of the year 9999, in seconds since 1970: later ones are mistakes.
const TIME_MAX_S: u64 = 253_402_300_799;

/// A release, as `targets/releases/<version>/manifest.json` describes it. Paths are names of files beside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The release's version.
    #[serde(with = "text::version")]
    pub version: ReleaseVersion,
    /// Version of the Kubernetes parts.
    pub kubernetes: KubernetesVersion,
    /// Version of the kernel; for people only.
    pub kernel: String,
    /// Architecture that it runs on, such as `x86_64`.
    pub architecture: String,
    /// When it was made, in seconds since 1970; for people only.
    pub created_s: u64,
    /// A node that runs it never takes its clock to be before this, in seconds since 1970.
    pub time_floor_s: u64,
    /// Releases below this are refused once this one is confirmed; unknown for none.
    #[serde(with = "text::version")]
    pub rollback_floor: ReleaseVersion,
    /// The root file system.
    pub root: Image,
    /// The kernel images.
    pub ukis: Ukis,
    /// Bill of materials (SPDX).
    pub sbom: File,
}

/// A file of whole blocks under a hash tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// The file. A root's own tree may follow its data.
    pub path: String,
    /// The leaf level of the tree ([`verity::HashTree::leaves_file`]).
    pub leaves: String,
    /// Blocks of 4096 bytes with data.
    pub data_blocks: u64,
    /// Salt of all hashes.
    #[serde(with = "text::digest")]
    pub salt: [u8; 32],
    /// Root of the tree.
    #[serde(with = "text::digest")]
    pub root_hash: Hash,
}

/// One UKI per slot; they differ in the root that they mount.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ukis {
    /// Slot A's.
    pub a: UkiImage,
    /// Slot B's.
    pub b: UkiImage,
}

/// A UKI, padded with zeros to whole blocks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UkiImage {
    /// The padded file.
    pub image: Image,
    /// Length of the PE file without padding.
    pub length_bytes: u64,
    /// Digest of the PE file.
    #[serde(with = "text::digest")]
    pub sha256: [u8; 32],
}

/// A file held by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct File {
    /// The file.
    pub path: String,
    /// Its length.
    pub length_bytes: u64,
    /// Its digest.
    #[serde(with = "text::digest")]
    pub sha256: [u8; 32],
}

/// A version of Kubernetes, `MAJOR.MINOR.PATCH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesVersion {
    /// Its major.
    pub major: u32,
    /// Its minor.
    pub minor: u32,
    /// Its patch level.
    pub patch: u32,
}

/// Why a file is no manifest that this node could use.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Larger than any that is meant well.
    #[error("the manifest has {length_bytes} bytes; the most is {JSON_MAX_BYTES}")]
    TooLong {
        /// Its length.
        length_bytes: usize,
    },
    /// Not the JSON that it should be.
    #[error("the manifest is not of the form that it should have")]
    Json {
        /// What the JSON parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Made for other releases of the OS.
    #[error("the manifest has format {format}; this release reads format {MANIFEST_FORMAT}")]
    Format {
        /// As found.
        format: u32,
    },
    /// A value that no release has.
    #[error("the manifest's {field} is not possible")]
    Field {
        /// Which.
        field: &'static str,
    },
    /// Larger than its partition.
    #[error("the release's {image} does not fit into its partition of {room_blocks} blocks")]
    TooLarge {
        /// Which image.
        image: &'static str,
        /// What there is.
        room_blocks: u64,
    },
}

impl Manifest {
    /// Reads a manifest and checks all that can be checked without the files it speaks of.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        if json.len() > JSON_MAX_BYTES {
            return Err(ManifestError::TooLong { length_bytes: json.len() });
        }
        let form: Form = serde_json::from_slice(json).map_err(|source| ManifestError::Json { source })?;
        if form.format != MANIFEST_FORMAT {
            return Err(ManifestError::Format { format: form.format });
        }
        let manifest: Self = serde_json::from_slice(json).map_err(|source| ManifestError::Json { source })?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The slot's UKI.
    #[must_use]
    pub const fn uki(&self, slot: Slot) -> &UkiImage {
        match slot {
            Slot::A => &self.ukis.a,
            Slot::B => &self.ukis.b,
        }
    }

    fn check(&self) -> Result<(), ManifestError> {
        let field =
            |possible: bool, field| if possible { Ok(()) } else { Err(ManifestError::Field { field }) };
        field(!self.version.is_unknown(), "version")?;
        field(self.rollback_floor.precedence(&self.version).is_le(), "rollbackFloor")?;
        field(is_name(&self.kernel), "kernel")?;
        field(is_name(&self.architecture), "architecture")?;
        field(self.created_s <= TIME_MAX_S, "createdS")?;
        field(self.time_floor_s <= TIME_MAX_S, "timeFloorS")?;
        field(is_name(&self.sbom.path) && self.sbom.length_bytes <= SBOM_MAX_BYTES, "sbom")?;
        self.root
            .check("root", layout::ROOT_A, |blocks| blocks.saturating_add(verity::tree_blocks(blocks)))?;
        for uki in [&self.ukis.a, &self.ukis.b] {
            uki.image.check("UKI", layout::BOOT_A, |blocks| blocks)?;
            let blocks = uki.length_bytes.div_ceil(BLOCK_BYTES as u64);
            field(blocks == uki.image.data_blocks, "UKI's lengthBytes")?;
        }
        Ok(())
    }
}

/// The one field whose meaning holds in every format.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

impl Image {
    /// Its data.
    #[must_use]
    pub const fn data_bytes(&self) -> u64 {
        self.data_blocks.saturating_mul(BLOCK_BYTES as u64)
    }

    fn check(
        &self,
        image: &'static str,
        partition: layout::Partition,
        blocks_on_disk: impl Fn(u64) -> u64,
    ) -> Result<(), ManifestError> {
        let room_blocks = partition.size_bytes.unwrap_or_default() / BLOCK_BYTES as u64;
        if self.data_blocks > room_blocks || blocks_on_disk(self.data_blocks) > room_blocks {
            return Err(ManifestError::TooLarge { image, room_blocks });
        }
        if self.data_blocks == 0 {
            return Err(ManifestError::Field { field: "dataBlocks" });
        }
        if is_name(&self.path) && is_name(&self.leaves) {
            Ok(())
        } else {
            Err(ManifestError::Field { field: "path" })
        }
    }
}

impl UkiImage {
    /// As BOOTSTATE records it.
    #[must_use]
    pub const fn record(&self) -> Uki {
        Uki { length_bytes: self.length_bytes, sha256: self.sha256 }
    }
}

impl KubernetesVersion {
    /// Takes the text.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(number);
        let version = Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }

    /// Whether the other one is of the same minor version.
    #[must_use]
    pub const fn is_same_minor(self, other: Self) -> bool {
        self.major == other.major && self.minor == other.minor
    }
}

fn number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Serialize for KubernetesVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KubernetesVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| D::Error::custom("a version of Kubernetes is MAJOR.MINOR.PATCH"))
    }
}

/// A plain name: what is put into paths and URLs, and shown to people.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    !text.is_empty() && text.len() <= NAME_MAX_BYTES && !text.starts_with('.') && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture;

    fn parse(change: impl FnOnce(&mut Value)) -> Result<Manifest, ManifestError> {
        let mut json = serde_json::to_value(fixture::manifest(2)).unwrap();
        change(&mut json);
        Manifest::parse(json.to_string().as_bytes())
    }

    /// The form is fixed: nodes in the field read it.
    #[test]
    fn reads_the_form_that_is_documented() {
        let hex = "07".repeat(32);
        let image = |path: &str, leaves: &str, blocks: u64| json!({"path": path, "leaves": leaves, "dataBlocks": blocks, "salt": hex, "rootHash": "08".repeat(32)});
        let uki = |letter: &str, digest: &str| {
            let image = image(&format!("{letter}.efi"), &format!("{letter}.leaves"), 1);
            json!({"image": image, "lengthBytes": 4096, "sha256": digest.repeat(32)})
        };
        let json = json!({
            "format": 1, "version": "1.2.0", "kubernetes": "1.37.2", "kernel": "6.18.1", "architecture": "x86_64",
            "createdS": fixture::START_S, "timeFloorS": fixture::START_S, "rollbackFloor": "1.1.0",
            "root": image("root.img", "root.leaves", 1000), "ukis": {"a": uki("a", "04"), "b": uki("b", "05")},
            "sbom": {"path": "sbom.spdx.json", "lengthBytes": 10, "sha256": "09".repeat(32)},
        });
        assert_eq!(Manifest::parse(json.to_string().as_bytes()).unwrap(), fixture::manifest(2));
        assert_eq!(serde_json::to_value(fixture::manifest(2)).unwrap(), json);
    }

    #[test]
    fn the_documented_example_is_a_manifest() {
        let manifest = Manifest::parse(fixture::documented("manifest").as_bytes()).unwrap();
        assert_eq!(&manifest.root.salt, b"cairn os verity salt, release 1.");
    }

    #[test]
    fn what_no_release_has_is_refused() {
        let field = |pointer: &str, value: Value| {
            parse(|json| *json.pointer_mut(pointer).unwrap() = value).unwrap_err().to_string()
        };
        assert!(field("/version", json!("")).contains("version"));
        assert!(field("/rollbackFloor", json!("1.2.1")).contains("rollbackFloor"));
        assert!(field("/root/path", json!("../root.img")).contains("path"));
        assert!(field("/root/leaves", json!(".leaves")).contains("path"));
        assert!(field("/architecture", json!("a".repeat(65))).contains("architecture"));
        assert!(field("/createdS", json!(253_402_300_800_u64)).contains("createdS"));
        assert!(field("/root/dataBlocks", json!(0)).contains("dataBlocks"));
        assert!(field("/ukis/a/lengthBytes", json!(4097)).contains("lengthBytes"));
        assert!(field("/sbom/lengthBytes", json!(u64::MAX)).contains("sbom"));
        let forms = [
            ("/kubernetes", json!("1.37")),
            ("/version", json!("1.2")),
            ("/root/salt", json!("07")),
            ("/root/rootHash", json!("AB".repeat(32))),
            ("/format", json!("1")),
        ];
        for (pointer, value) in forms {
            assert!(field(pointer, value).contains("form"), "{pointer}");
        }
        let unknown = parse(|json| json["later"] = json!(1));
        assert!(matches!(unknown, Err(ManifestError::Json { .. })));
        let newer = parse(|json| {
            json["format"] = json!(2);
            json["later"] = json!(1);
        });
        assert!(matches!(newer, Err(ManifestError::Format { format: 2 })));
    }

    #[test]
    fn images_fit_their_partitions_with_their_trees() {
        let root = |blocks: u64| parse(|json| json["root"]["dataBlocks"] = json!(blocks));
        // 1 GiB of 4096-byte blocks, less the tree over them.
        let most = (1..262_144).rfind(|blocks| blocks + verity::tree_blocks(*blocks) <= 262_144).unwrap();
        assert!(root(most).is_ok());
        assert!(matches!(root(most + 1), Err(ManifestError::TooLarge { image: "root", .. })));
        assert!(matches!(root(u64::MAX), Err(ManifestError::TooLarge { .. })));
        let uki = |blocks: u64| {
            parse(|json| {
                json["ukis"]["b"]["image"]["dataBlocks"] = json!(blocks);
                json["ukis"]["b"]["lengthBytes"] = json!(blocks * 4096 - 5);
            })
        };
        assert!(uki(16_384).is_ok());
        assert!(matches!(uki(16_385), Err(ManifestError::TooLarge { image: "UKI", .. })));
    }

    #[test]
    fn versions_of_kubernetes() {
        let version = |text| KubernetesVersion::new(text).map(|version| version.to_string());
        assert_eq!(version("1.37.2").as_deref(), Some("1.37.2"));
        for wrong in
            ["", "v1.37.2", "1.37", "1.37.2.1", "1.037.2", "1.37.-2", "1.37.2-rc.1", "1.37.4294967296"]
        {
            assert_eq!(version(wrong), None, "{wrong}");
        }
    }

    proptest! {
        /// Whatever bytes are changed, removed or put in: an error or a manifest that passes its own checks again.
        #[test]
        fn mutated_json_never_panics(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..8),
        ) {
            let mut json = serde_json::to_vec(&fixture::manifest(2)).unwrap();
            for (at, byte, kind) in edits {
                let at = at.index(json.len());
                match kind {
                    0 => json[at] = byte,
                    1 => json.insert(at, byte),
                    _ => { json.remove(at); }
                }
            }
            if let Ok(manifest) = Manifest::parse(&json) {
                let again = Manifest::parse(&serde_json::to_vec(&manifest).unwrap());
                prop_assert_eq!(again.unwrap(), manifest);
            }
        }

        #[test]
        fn whole_values_of_any_kind_never_panic(pick in any::<prop::sample::Index>(), value in 0..8_usize) {
            let paths = ["/format", "/version", "/kubernetes", "/createdS", "/root", "/root/dataBlocks", "/root/salt",
                "/ukis/a/image/dataBlocks", "/ukis/b/lengthBytes", "/sbom/path", "/rollbackFloor"];
            let values = [json!(null), json!(-1), json!(u64::MAX), json!(1e300), json!(""), json!([]), json!({}),
                json!("x".repeat(JSON_MAX_BYTES / 2))];
            let path = paths[pick.index(paths.len())];
            let result = parse(|json| *json.pointer_mut(path).unwrap() = values[value].clone());
            prop_assert!(result.is_err() || path == "/rollbackFloor");
        }

        #[test]
        fn what_is_too_long_is_not_even_read(length in JSON_MAX_BYTES + 1..2 * JSON_MAX_BYTES) {
            let mut json = serde_json::to_vec(&fixture::manifest(2)).unwrap();
            json.resize(length, b' ');
            let too_long = matches!(Manifest::parse(&json), Err(ManifestError::TooLong { .. }));
            prop_assert!(too_long);
            json.truncate(JSON_MAX_BYTES);
            prop_assert!(Manifest::parse(&json).is_ok());
        }
    }
}

//! Reading OCI image layouts (OCI image-spec 1.1): references, descriptors, and the order in which blobs are stored.
//! Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Longest index, manifest or other document that is read as a whole; containerd's own limit.
pub const DOCUMENT_MAX_BYTES: u64 = 8 << 20;
/// Deepest nesting of indexes.
const DEPTH_MAX: u32 = 3;
/// Most images in an archive, and most blobs in an image.
const ENTRIES_MAX: usize = 1024;

const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFEST_TYPES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

/// Why an archive is not a usable image layout.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// JSON of another shape.
    #[error("{what} is not what the OCI image specification says")]
    Document {
        /// Which document.
        what: String,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// No full reference.
    #[error("an image has no full name: annotate it in index.json with {} such as registry.example/name:tag", NAME_ANNOTATIONS[0])]
    Name,
    /// Not `sha256:` and 64 hex digits.
    #[error("{digest:?} is not a SHA-256 digest")]
    Digest {
        /// As found.
        digest: String,
    },
    /// A blob that must be there is not.
    #[error("{digest} is not in the archive")]
    Missing {
        /// Digest.
        digest: String,
    },
    /// The entry does not have the size that its descriptor says.
    #[error("{digest} has {found_bytes} bytes, not {expected_bytes}")]
    Size {
        /// Digest.
        digest: String,
        /// By the descriptor.
        expected_bytes: u64,
        /// In the archive.
        found_bytes: u64,
    },
    /// Neither index nor manifest.
    #[error("{media_type:?} is neither an image index nor an image manifest")]
    MediaType {
        /// As found.
        media_type: String,
    },
    /// Beyond the limits.
    #[error("an image nests deeper than {DEPTH_MAX} indexes or has more than {ENTRIES_MAX} parts")]
    TooBig,
}

/// Names a blob.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// Length.
    pub size: u64,
    /// Free text by key.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A blob to store, with the labels by which containerd's garbage collector finds what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The blob.
    pub descriptor: Descriptor,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Read access to the blobs of a layout.
pub trait Layout {
    /// Error of reading, which this module passes on.
    type Error: From<OciError>;
    /// Size of a blob; `None` when it is not there.
    fn size(&self, digest: &str) -> Option<u64>;
    /// Content of a small blob.
    fn read(&self, digest: &str) -> Result<Vec<u8>, Self::Error>;
}

/// The images of a layout: reference and root descriptor.
pub fn images(index: &[u8]) -> Result<Vec<(String, Descriptor)>, OciError> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Descriptor>,
    }
    let index: Index = serde_json::from_slice(index)
        .map_err(|source| OciError::Document { what: "index.json".to_owned(), source })?;
    if index.manifests.len() > ENTRIES_MAX {
        return Err(OciError::TooBig);
    }
    index.manifests.into_iter().map(|descriptor| Ok((reference(&descriptor)?, descriptor))).collect()
}

/// All blobs of an image, each after those it refers to.
pub fn plan<L: Layout>(layout: &L, root: &Descriptor) -> Result<Vec<Blob>, L::Error> {
    let mut blobs = Vec::new();
    visit(layout, root, DEPTH_MAX, &mut blobs)?;
    Ok(blobs)
}

/// Path of a blob in a layout.
pub fn blob_path(digest: &str) -> Result<String, OciError> {
    let hex = digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    hex.map(|hex| format!("blobs/sha256/{hex}")).ok_or_else(|| OciError::Digest { digest: digest.to_owned() })
}

/// A reference as the CRI spells it: with a registry. It would look for "name:tag" on docker.io.
fn reference(descriptor: &Descriptor) -> Result<String, OciError> {
    let is_full = |name: &&String| {
        name.split_once('/').is_some_and(|(registry, rest)| {
            !rest.is_empty() && (registry == "localhost" || registry.contains(['.', ':']))
        })
    };
    let names = NAME_ANNOTATIONS.iter().filter_map(|key| descriptor.annotations.get(*key));
    names.into_iter().find(is_full).cloned().ok_or(OciError::Name)
}

fn visit<L: Layout>(
    layout: &L,
    node: &Descriptor,
    depth_left: u32,
    blobs: &mut Vec<Blob>,
) -> Result<(), L::Error> {
    check(layout, node)?;
    let media_type = node.media_type.as_str();
    let mut labels = BTreeMap::new();
    if INDEX_TYPES.contains(&media_type) {
        let depth_left = depth_left.checked_sub(1).ok_or(OciError::TooBig)?;
        // An index names all platforms; an archive may hold one of them.
        let present =
            index_children(layout, node)?.into_iter().filter(|child| layout.size(&child.digest).is_some());
        for (number, child) in present.enumerate() {
            visit(layout, &child, depth_left, blobs)?;
            labels.insert(format!("containerd.io/gc.ref.content.m.{number}"), child.digest);
        }
    } else if MANIFEST_TYPES.contains(&media_type) {
        for (label, child) in manifest_children(layout, node)? {
            check(layout, &child)?;
            labels.insert(label, child.digest.clone());
            push(blobs, Blob { descriptor: child, labels: BTreeMap::new() })?;
        }
    } else {
        return Err(OciError::MediaType { media_type: node.media_type.clone() }.into());
    }
    push(blobs, Blob { descriptor: node.clone(), labels })?;
    Ok(())
}

fn push(blobs: &mut Vec<Blob>, blob: Blob) -> Result<(), OciError> {
    if blobs.len() >= ENTRIES_MAX {
        return Err(OciError::TooBig);
    }
    // Layers repeat within an image.
    if blobs.iter().all(|other| other.descriptor.digest != blob.descriptor.digest) {
        blobs.push(blob);
    }
    Ok(())
}

fn check<L: Layout>(layout: &L, descriptor: &Descriptor) -> Result<(), OciError> {
    let digest = descriptor.digest.clone();
    blob_path(&digest)?;
    match layout.size(&digest) {
        None => Err(OciError::Missing { digest }),
        Some(found_bytes) if found_bytes != descriptor.size => {
            Err(OciError::Size { digest, expected_bytes: descriptor.size, found_bytes })
        }
        Some(_) => Ok(()),
    }
}

fn index_children<L: Layout>(layout: &L, node: &Descriptor) -> Result<Vec<Descriptor>, L::Error> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Descriptor>,
    }
    let index: Index = document(layout, node)?;
    Ok(index.manifests)
}

/// Children with the label under which the manifest refers to each.
fn manifest_children<L: Layout>(
    layout: &L,
    node: &Descriptor,
) -> Result<Vec<(String, Descriptor)>, L::Error> {
    #[derive(Deserialize)]
    struct Manifest {
        config: Descriptor,
        layers: Vec<Descriptor>,
    }
    let manifest: Manifest = document(layout, node)?;
    let config = ("containerd.io/gc.ref.content.config".to_owned(), manifest.config);
    let layers = manifest.layers.into_iter().enumerate();
    let layers = layers.map(|(number, layer)| (format!("containerd.io/gc.ref.content.l.{number}"), layer));
    Ok(std::iter::once(config).chain(layers).collect())
}

fn document<L: Layout, T: for<'a> Deserialize<'a>>(layout: &L, node: &Descriptor) -> Result<T, L::Error> {
    let content = layout.read(&node.digest)?;
    serde_json::from_slice(&content)
        .map_err(|source| OciError::Document { what: node.digest.clone(), source }.into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Default)]
    struct Blobs(BTreeMap<String, Vec<u8>>);

    impl Layout for Blobs {
        type Error = OciError;
        fn size(&self, digest: &str) -> Option<u64> {
            self.0.get(digest).map(|content| content.len() as u64)
        }
        fn read(&self, digest: &str) -> Result<Vec<u8>, OciError> {
            Ok(self.0[digest].clone())
        }
    }

    impl Blobs {
        fn add(&mut self, media_type: &str, number: u8, content: &str) -> Value {
            let digest = format!("sha256:{number:064x}");
            self.0.insert(digest.clone(), content.as_bytes().to_vec());
            json!({"mediaType": media_type, "digest": digest, "size": content.len()})
        }
    }

    fn descriptor(value: &Value) -> Descriptor {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn image(blobs: &mut Blobs) -> Value {
        let config = blobs.add("config", 1, "c");
        let layer = blobs.add("layer", 2, "l");
        let manifest = json!({"config": config, "layers": [layer, layer]}).to_string();
        blobs.add(MANIFEST_TYPES[0], 3, &manifest)
    }

    #[test]
    fn children_come_first_and_are_labelled() {
        let mut blobs = Blobs::default();
        let manifest = image(&mut blobs);
        let absent =
            json!({"mediaType": MANIFEST_TYPES[0], "digest": format!("sha256:{:064x}", 9), "size": 1});
        let index = json!({"manifests": [absent, manifest]}).to_string();
        let root = blobs.add(INDEX_TYPES[0], 4, &index);
        let plan = plan(&blobs, &descriptor(&root)).unwrap();
        let order: Vec<&str> = plan.iter().map(|blob| &blob.descriptor.digest[70..]).collect();
        assert_eq!(order, ["1", "2", "3", "4"]);
        assert_eq!(plan[2].labels["containerd.io/gc.ref.content.config"], plan[0].descriptor.digest);
        assert_eq!(plan[2].labels["containerd.io/gc.ref.content.l.1"], plan[1].descriptor.digest);
        assert_eq!(plan[3].labels["containerd.io/gc.ref.content.m.0"], plan[2].descriptor.digest);
        assert_eq!(plan[3].labels.len(), 1);
    }

    #[test]
    fn a_missing_or_cut_blob_is_found_before_anything_is_stored() {
        let mut blobs = Blobs::default();
        let root = descriptor(&image(&mut blobs));
        let layer = format!("sha256:{:064x}", 2);
        blobs.0.insert(layer.clone(), Vec::new());
        assert!(matches!(plan(&blobs, &root), Err(OciError::Size { found_bytes: 0, .. })));
        blobs.0.remove(&layer);
        assert!(matches!(plan(&blobs, &root), Err(OciError::Missing { digest }) if digest == layer));
    }

    #[test]
    fn an_index_of_itself_ends() {
        let mut blobs = Blobs::default();
        let size = json!({"manifests": [{"mediaType": INDEX_TYPES[0], "digest": format!("sha256:{:064x}", 1), "size": 100}]})
            .to_string()
            .len();
        assert!(size >= 100);
        let own = json!({"manifests": [{"mediaType": INDEX_TYPES[0], "digest": format!("sha256:{:064x}", 1), "size": size}]});
        let root = blobs.add(INDEX_TYPES[0], 1, &own.to_string());
        assert!(matches!(plan(&blobs, &descriptor(&root)), Err(OciError::TooBig)));
    }

    #[test]
    fn only_full_references_are_taken() {
        let named = |key: &str, name: &str| {
            let entry = json!({"mediaType": "m", "digest": "d", "size": 1, "annotations": {key: name}});
            images(json!({"manifests": [entry]}).to_string().as_bytes()).map(|images| images[0].0.clone())
        };
        assert_eq!(named(NAME_ANNOTATIONS[0], "localhost/a:1").unwrap(), "localhost/a:1");
        assert_eq!(named(NAME_ANNOTATIONS[1], "r.example/a/b:1").unwrap(), "r.example/a/b:1");
        for bad in ["latest", "a/b:1", "localhost/", ""] {
            assert!(matches!(named(NAME_ANNOTATIONS[1], bad), Err(OciError::Name)), "{bad}");
        }
    }

    #[test]
    fn digests_cannot_name_other_paths() {
        assert!(blob_path(&format!("sha256:{}", "a".repeat(64))).is_ok());
        for bad in ["", "sha256:", "sha512:aa", "sha256:../../x"] {
            assert!(matches!(blob_path(bad), Err(OciError::Digest { .. })), "{bad}");
        }
    }
}

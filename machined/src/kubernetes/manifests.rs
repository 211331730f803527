//! Static pods: what of the configuration lies in the kubelet's manifest directory.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use config::StaticPod;
use serde_json::{Map, Value};

use crate::files;

/// Annotation by which a pod that the kubelet reports is told from the one that it was before a change.
pub const REVISION: &str = "cairn.dev/revision";

/// Why the manifests are not as configured.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The directory cannot be read or made.
    #[error("cannot use {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A manifest cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A manifest that is not configured cannot be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Makes the directory hold exactly the manifests of these pods. The kubelet watches it.
pub fn write(folder: &Path, pods: &[StaticPod]) -> Result<(), ManifestError> {
    let directory = |source| ManifestError::Directory { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(directory)?;
    let wanted = wanted(pods);
    for entry in fs::read_dir(folder).map_err(directory)? {
        let name = entry.map_err(directory)?.file_name();
        if !wanted.contains_key(&name) {
            let path = folder.join(name);
            fs::remove_file(&path).map_err(|source| ManifestError::Remove { path, source })?;
        }
    }
    for (name, content) in wanted {
        let path = folder.join(name);
        files::replace(&path, content.as_bytes(), 0o600)
            .map_err(|source| ManifestError::Write { path, source })?;
    }
    Ok(())
}

/// Tells manifests of a pod from each other.
pub fn revision(pod: &StaticPod) -> String {
    hex::encode(digest(&SHA256, pod.manifest.to_string().as_bytes()))
}

/// The manifest with its revision; null stands for what was left out.
fn annotated(pod: &StaticPod) -> Value {
    let mut manifest = pod.manifest.clone();
    let metadata = manifest.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata {
        let annotations = metadata.entry("annotations").or_insert(Value::Null);
        if annotations.is_null() {
            *annotations = Map::new().into();
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(REVISION.to_owned(), revision(pod).into());
        }
    }
    manifest
}

/// File names and contents. '_' is in no Kubernetes name, so two pods never share a file.
fn wanted(pods: &[StaticPod]) -> BTreeMap<OsString, String> {
    pods.iter()
        .map(|pod| (format!("{}_{}.json", pod.namespace, pod.name).into(), annotated(pod).to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str) -> StaticPod {
        let manifest = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "a", "image": "b"}]},
        });
        StaticPod::from_manifest(manifest).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_directory_follows_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[pod("a"), pod("b")]).unwrap();
        assert_eq!(names(folder.path()), ["default_a.json", "default_b.json"]);
        let text = fs::read_to_string(folder.path().join("default_a.json")).unwrap();
        let manifest = serde_json::from_str::<Value>(&text).unwrap();
        assert_eq!(manifest["metadata"]["name"], "a");
        assert_eq!(manifest["metadata"]["annotations"][REVISION], revision(&pod("a")));

        fs::write(folder.path().join(".default_a.json"), "left by a crash").unwrap();
        write(folder.path(), &[pod("b"), pod("c")]).unwrap();
        assert_eq!(names(folder.path()), ["default_b.json", "default_c.json"]);
    }
}

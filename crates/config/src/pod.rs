//! Static pods.

use serde_json::Value;

/// Longest name of a pod (RFC 1123 subdomain).
const NAME_MAX_BYTES: usize = 253;
/// Volume sources that need an API server, which a standalone kubelet has not.
const API_VOLUMES: [&str; 5] = ["secret", "configMap", "persistentVolumeClaim", "projected", "csi"];

/// A pod as the kubelet reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticPod {
    /// Namespace; "default" when the manifest names none.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The manifest.
    pub manifest: Value,
}

/// Why a manifest is no static pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodError {
    /// Another API object.
    #[error("pod must have apiVersion v1 and kind Pod")]
    NotAPod,
    /// No usable name.
    #[error("pod.metadata.name must be an RFC 1123 name: lower-case letters, digits, '-' and '.'")]
    Name,
    /// No containers.
    #[error("pod.spec.containers must name at least one container")]
    NoContainers,
    /// Needs the API server.
    #[error("volume {volume:?} is a {source_kind}: static pods cannot use API objects; use hostPath or emptyDir")]
    ApiVolume {
        /// Name of the volume.
        volume: String,
        /// Kind of its source.
        source_kind: &'static str,
    },
}

impl StaticPod {
    /// Checks a manifest.
    pub fn from_manifest(manifest: Value) -> Result<Self, PodError> {
        if manifest["apiVersion"] != "v1" || manifest["kind"] != "Pod" {
            return Err(PodError::NotAPod);
        }
        let name = manifest["metadata"]["name"].as_str().filter(|name| is_name(name)).ok_or(PodError::Name)?;
        let namespace = match &manifest["metadata"]["namespace"] {
            Value::Null => "default",
            other => other.as_str().filter(|name| is_name(name)).ok_or(PodError::Name)?,
        };
        if manifest["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
            return Err(PodError::NoContainers);
        }
        for volume in manifest["spec"]["volumes"].as_array().into_iter().flatten() {
            if let Some(source_kind) = API_VOLUMES.into_iter().find(|source| !volume[*source].is_null()) {
                let volume = volume["name"].as_str().unwrap_or_default().to_owned();
                return Err(PodError::ApiVolume { volume, source_kind });
            }
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned(), manifest })
    }
}

/// RFC 1123 subdomain.
pub(crate) fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        label.bytes().next().is_some_and(plain)
            && label.bytes().last().is_some_and(plain)
            && label.bytes().all(|byte| plain(byte) || byte == b'-')
    };
    name.len() <= NAME_MAX_BYTES && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [{"name": "a"}]}})
    }

    #[test]
    fn names_and_volumes_are_checked() {
        assert_eq!(StaticPod::from_manifest(pod()).unwrap().namespace, "default");
        for bad in ["", "A", "-a", "a-", "a_b", "a/b", "a..b"] {
            let mut pod = pod();
            pod["metadata"]["name"] = json!(bad);
            assert_eq!(StaticPod::from_manifest(pod), Err(PodError::Name), "{bad}");
        }
        let mut pod = pod();
        pod["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "s"}}]);
        assert!(StaticPod::from_manifest(pod).unwrap_err().to_string().contains("is a secret"));
        assert_eq!(StaticPod::from_manifest(json!([])), Err(PodError::NotAPod));
    }
}

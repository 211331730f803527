//! Static pods.

use serde_json::Value;

/// Longest name of a pod (RFC 1123 subdomain).
const NAME_MAX_BYTES: usize = 253;
/// Sources of volumes, and of projected ones, that need an API server, which a standalone kubelet has not.
const API_VOLUMES: [&str; 5] = ["secret", "configMap", "persistentVolumeClaim", "ephemeral", "csi"];
const API_PROJECTIONS: [&str; 5] =
    ["secret", "configMap", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];
const API_ENVIRONMENT: [&str; 2] = ["secretKeyRef", "configMapKeyRef"];
const API_ENVIRONMENTS: [&str; 2] = ["secretRef", "configMapRef"];
const API_FIELDS: [&str; 4] = ["imagePullSecrets", "serviceAccountName", "serviceAccount", "resourceClaims"];
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// A pod as the kubelet reads it. `Debug` leaves the manifest out: its environment may hold secrets.
#[derive(Clone, PartialEq)]
pub struct StaticPod {
    /// Namespace; "default" when the manifest names none.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The manifest.
    pub manifest: Value,
}

impl std::fmt::Debug for StaticPod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { namespace, name, manifest: _ } = self;
        f.debug_struct("StaticPod").field("namespace", namespace).field("name", name).finish_non_exhaustive()
    }
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
    /// No usable namespace.
    #[error("pod.metadata.namespace must be an RFC 1123 label: lower-case letters, digits and '-'")]
    Namespace,
    /// No containers.
    #[error("pod.spec.containers must name at least one container")]
    NoContainers,
    /// Needs the API server.
    #[error(
        "pod.spec.{path} is an API object, and a node without an API server has none; use hostPath, emptyDir or plain values"
    )]
    ApiObject {
        /// Where it stands in the pod's spec.
        path: String,
    },
}

impl PodError {
    /// Where the fault stands in the manifest, such as `spec.volumes[0].secret`.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::NotAPod => String::new(),
            Self::Name => "metadata.name".into(),
            Self::Namespace => "metadata.namespace".into(),
            Self::NoContainers => "spec.containers".into(),
            Self::ApiObject { path } => format!("spec.{path}"),
        }
    }
}

impl StaticPod {
    /// Checks a manifest.
    pub fn from_manifest(manifest: Value) -> Result<Self, PodError> {
        if manifest["apiVersion"] != "v1" || manifest["kind"] != "Pod" {
            return Err(PodError::NotAPod);
        }
        let name =
            manifest["metadata"]["name"].as_str().filter(|name| is_name(name)).ok_or(PodError::Name)?;
        let namespace = match &manifest["metadata"]["namespace"] {
            Value::Null => "default",
            other => {
                let namespace = other.as_str().filter(|name| is_name(name) && !name.contains('.'));
                namespace.ok_or(PodError::Namespace)?
            }
        };
        if manifest["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
            return Err(PodError::NoContainers);
        }
        if let Some(path) = api_object(&manifest["spec"]) {
            return Err(PodError::ApiObject { path });
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned(), manifest })
    }
}

/// Path of the first API object that the spec refers to; the kubelet would refuse the pod for it.
fn api_object(spec: &Value) -> Option<String> {
    if let Some(field) = API_FIELDS.into_iter().find(|field| is_set(&spec[*field])) {
        return Some(field.to_owned());
    }
    for (path, volume) in elements("volumes", &spec["volumes"]) {
        let projections = elements(&format!("{path}.projected.sources"), &volume["projected"]["sources"]);
        let found = set_field(&path, volume, &API_VOLUMES).or_else(|| {
            projections.into_iter().find_map(|(path, source)| set_field(&path, source, &API_PROJECTIONS))
        });
        if found.is_some() {
            return found;
        }
    }
    CONTAINERS.into_iter().flat_map(|list| elements(list, &spec[list])).find_map(|(path, container)| {
        let variables = elements(&format!("{path}.env"), &container["env"]);
        let sources = elements(&format!("{path}.envFrom"), &container["envFrom"]);
        variables
            .into_iter()
            .find_map(|(path, variable)| {
                set_field(&format!("{path}.valueFrom"), &variable["valueFrom"], &API_ENVIRONMENT)
            })
            .or_else(|| {
                sources.into_iter().find_map(|(path, source)| set_field(&path, source, &API_ENVIRONMENTS))
            })
    })
}

fn elements<'a>(path: &str, list: &'a Value) -> Vec<(String, &'a Value)> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().enumerate().map(|(index, value)| (format!("{path}[{index}]"), value)).collect()
}

fn set_field(path: &str, object: &Value, fields: &[&str]) -> Option<String> {
    let field = fields.iter().find(|field| is_set(&object[**field]))?;
    Some(format!("{path}.{field}"))
}

/// An empty list or name refers to nothing.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
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
    fn names_are_checked() {
        assert_eq!(StaticPod::from_manifest(pod()).unwrap().namespace, "default");
        for bad in ["", "A", "-a", "a-", "a_b", "a/b", "a..b"] {
            let mut pod = pod();
            pod["metadata"]["name"] = json!(bad);
            assert_eq!(StaticPod::from_manifest(pod), Err(PodError::Name), "{bad}");
        }
        assert_eq!(StaticPod::from_manifest(json!([])), Err(PodError::NotAPod));
    }

    #[test]
    fn api_objects_are_refused_wherever_they_are_named() {
        for (field, value, expected) in [
            ("volumes", json!([{"name": "v", "secret": {"secretName": "s"}}]), "volumes[0].secret"),
            (
                "volumes",
                json!([{"emptyDir": {}}, {"projected": {"sources": [{"downwardAPI": {}}, {"configMap": {}}]}}]),
                "volumes[1].projected.sources[1].configMap",
            ),
            ("imagePullSecrets", json!([{"name": "s"}]), "imagePullSecrets"),
            ("serviceAccountName", json!("robot"), "serviceAccountName"),
            (
                "initContainers",
                json!([{"env": [{"name": "A", "value": "b"}, {"valueFrom": {"secretKeyRef": {"name": "s"}}}]}]),
                "initContainers[0].env[1].valueFrom.secretKeyRef",
            ),
            (
                "containers",
                json!([{"envFrom": [{"configMapRef": {}}]}]),
                "containers[0].envFrom[0].configMapRef",
            ),
        ] {
            let mut pod = pod();
            pod["spec"][field] = value;
            assert_eq!(StaticPod::from_manifest(pod), Err(PodError::ApiObject { path: expected.to_owned() }));
        }
    }

    #[test]
    fn what_the_node_has_itself_may_be_used() {
        let mut pod = pod();
        pod["spec"]["serviceAccountName"] = json!("");
        pod["spec"]["volumes"] = json!([
            {"name": "a", "hostPath": {"path": "/var/a"}},
            {"name": "b", "projected": {"sources": [{"downwardAPI": {}}]}},
        ]);
        pod["spec"]["containers"] = json!([{"name": "a", "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}]);
        assert!(StaticPod::from_manifest(pod).is_ok());
    }
}

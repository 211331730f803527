//! Objects of the Kubernetes API: what they are called, where they lie, which one goes before which. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The namespace of objects that name none.
const DEFAULT_NAMESPACE: &str = "default";
/// Who applied an object (kubernetes.io, Recommended Labels), and which document it is of.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const DOCUMENT: &str = "cairn.dev/manifests";
/// What others need to be there, in order; webhooks, which judge all others, last.
const FIRST: [&str; 8] = [
    "CustomResourceDefinition",
    "Namespace",
    "PriorityClass",
    "StorageClass",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "Service",
];
const LAST: [&str; 3] = ["APIService", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"];

/// What an object is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Id {
    /// Such as "apps/v1".
    pub api_version: String,
    /// Such as "Deployment".
    pub kind: String,
    /// Empty where the object names none.
    #[serde(default)]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What the API server says of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    kind: String,
    plural: String,
    namespaced: bool,
}

impl Id {
    /// Of an object; `None` when it has no name.
    pub fn of(object: &Value) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer)?.as_str().map(str::to_owned);
        Some(Self {
            api_version: text("/apiVersion")?,
            kind: text("/kind")?,
            namespace: text("/metadata/namespace").unwrap_or_default(),
            name: text("/metadata/name")?,
        })
    }

    /// Whether both are one object: an API server serves one in every version of its group.
    pub fn is_same<'a>(&'a self, other: &'a Self) -> bool {
        let group = |id: &'a Self| id.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let called = |id: &'a Self| (group(id), &id.kind, &id.namespace, &id.name);
        called(self) == called(other)
    }

    /// Its place in the order of application.
    pub fn rank(&self) -> usize {
        let place = |kinds: &[&str]| kinds.iter().position(|kind| *kind == self.kind);
        match (place(&FIRST), place(&LAST)) {
            (Some(place), _) => place,
            (None, None) => FIRST.len(),
            (None, Some(place)) => FIRST.len() + 1 + place,
        }
    }

    /// Where it lies, by what is known of the kinds of its API.
    pub fn path(&self, known: &[Resource]) -> Option<String> {
        let resource = known.iter().find(|resource| resource.kind == self.kind)?;
        let namespace = match self.namespace.as_str() {
            "" => DEFAULT_NAMESPACE,
            namespace => namespace,
        };
        let within = if resource.namespaced { format!("namespaces/{namespace}/") } else { String::new() };
        Some(format!("{}/{within}{}/{}", root(&self.api_version), resource.plural, self.name))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, .. } = self;
        if namespace.is_empty() { write!(f, "{kind} {name}") } else { write!(f, "{kind} {namespace}/{name}") }
    }
}

/// Where the kinds of an API are told.
pub fn root(api_version: &str) -> String {
    if api_version.contains('/') { format!("/apis/{api_version}") } else { format!("/api/{api_version}") }
}

/// The kinds of an APIResourceList. Those with a slash are parts of objects, such as a Deployment's scale.
pub fn resources(answer: &Value) -> Vec<Resource> {
    let items = answer["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let resource = |item: &Value| {
        let plural = item["name"].as_str().filter(|name| !name.contains('/'))?;
        Some(Resource {
            kind: item["kind"].as_str()?.to_owned(),
            plural: plural.to_owned(),
            namespaced: item["namespaced"].as_bool()?,
        })
    };
    items.iter().filter_map(resource).collect()
}

/// The object with labels that say whose it is. What a document says of these labels itself is kept.
pub fn owned(mut object: Value, document: &str) -> Value {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata {
        let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
        if let Some(labels) = labels.as_object_mut() {
            labels.entry(MANAGED_BY).or_insert_with(|| "cairn".into());
            labels.entry(DOCUMENT).or_insert_with(|| document.into());
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(api_version: &str, kind: &str, namespace: &str) -> Id {
        let metadata = if namespace.is_empty() {
            json!({"name": "a"})
        } else {
            json!({"name": "a", "namespace": namespace})
        };
        Id::of(&json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})).unwrap()
    }

    #[test]
    fn objects_lie_where_the_api_server_says() {
        let known = resources(&json!({"resources": [
            {"name": "deployments/scale", "kind": "Scale", "namespaced": true},
            {"name": "deployments", "kind": "Deployment", "namespaced": true},
            {"name": "namespaces", "kind": "Namespace", "namespaced": false},
        ]}));
        let path = |id: &Id| id.path(&known);
        assert_eq!(
            path(&id("apps/v1", "Deployment", "shop")).as_deref(),
            Some("/apis/apps/v1/namespaces/shop/deployments/a")
        );
        assert_eq!(
            path(&id("apps/v1", "Deployment", "")).as_deref(),
            Some("/apis/apps/v1/namespaces/default/deployments/a")
        );
        assert_eq!(path(&id("v1", "Namespace", "")).as_deref(), Some("/api/v1/namespaces/a"));
        assert_eq!(path(&id("v1", "Scale", "")), None);
    }

    #[test]
    fn an_object_is_itself_in_another_version_of_its_api() {
        let deployment = id("apps/v1", "Deployment", "shop");
        assert!(deployment.is_same(&id("apps/v1beta1", "Deployment", "shop")));
        for other in [
            ("apps/v1", "Deployment", "till"),
            ("other/v1", "Deployment", "shop"),
            ("v1", "Deployment", "shop"),
        ] {
            assert!(!deployment.is_same(&id(other.0, other.1, other.2)), "{other:?}");
        }
    }

    #[test]
    fn what_others_need_goes_first() {
        let mut kinds = [
            "MutatingWebhookConfiguration",
            "Deployment",
            "ConfigMap",
            "Namespace",
            "CustomResourceDefinition",
        ]
        .map(|kind| id("v1", kind, ""));
        kinds.sort_by_key(Id::rank);
        let kinds = kinds.map(|id| id.kind);
        assert_eq!(
            kinds,
            [
                "CustomResourceDefinition",
                "Namespace",
                "ConfigMap",
                "Deployment",
                "MutatingWebhookConfiguration"
            ]
        );
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let ids = [id("v1", "Namespace", ""), id("apps/v1", "Deployment", "shop")];
        let text = serde_json::to_string(&ids).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Id>>(&text).unwrap(), ids);
    }

    #[test]
    fn objects_say_whose_they_are() {
        let object =
            json!({"metadata": {"name": "a", "labels": {"app": "x", "app.kubernetes.io/managed-by": "me"}}});
        let labels = owned(object, "shop")["metadata"]["labels"].clone();
        assert_eq!(
            labels,
            json!({"app": "x", "app.kubernetes.io/managed-by": "me", "cairn.dev/manifests": "shop"})
        );
    }
}

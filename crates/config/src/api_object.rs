//! Objects of the Kubernetes API, as far as they are judged before an API server sees them.

use serde_json::{Value, json};

/// Most objects of a document.
pub(crate) const OBJECTS_MAX: usize = 1024;

/// What is wrong with an object.
pub(crate) struct Fault {
    /// Where, such as `metadata.name`; empty for the object itself.
    pub(crate) place: &'static str,
    pub(crate) message: &'static str,
}

/// All that is wrong with an object.
pub(crate) fn faults(object: &Value) -> Vec<Fault> {
    if !object.is_object() {
        return vec![Fault { place: "", message: "must be an API object (lines of name: value)" }];
    }
    let missing = |pointer: &str| {
        object.pointer(pointer).and_then(Value::as_str).is_none_or(|text| text.trim().is_empty())
    };
    let mut faults = Vec::new();
    for (pointer, place, message) in [
        ("/apiVersion", "apiVersion", "must say the version of the API, such as v1 or apps/v1"),
        ("/kind", "kind", "must say the kind of the object, such as Deployment"),
    ] {
        if missing(pointer) {
            faults.push(Fault { place, message });
        }
    }
    if object["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) && object["items"].is_array() {
        faults
            .push(Fault { place: "kind", message: "is a list of objects; write each as an item of its own" });
    } else if missing("/metadata/name") {
        faults.push(Fault { place: "metadata.name", message: "must name the object" });
    }
    faults
}

pub(crate) fn schema() -> Value {
    let text = json!({"type": "string", "minLength": 1});
    json!({
        "type": "object",
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {
            "apiVersion": text,
            "kind": text,
            "metadata": {"type": "object", "required": ["name"], "properties": {"name": text}},
        },
    })
}

//! JSON patch (RFC 6902) on documents.

use json_patch::{Patch, PatchOperation};
use serde_json::{Map, Value};

use crate::{
    API_VERSION, Document, Documents, TEXT_MAX_BYTES,
    merge::{MergeError, checked},
    tree::{DEPTH_MAX, NODES_MAX},
};

/// Most operations of a patch; each is checked by a walk over all documents.
pub(crate) const OPERATIONS_MAX: usize = 256;

/// Applies a JSON patch to documents, all of it or nothing, and checks the result.
///
/// To the patch the documents are one object. Its names are their keys, so that a path begins with one, its slashes
/// written as `~1`: `/Interface~1eth0/mtu`. An added document need not repeat its kind and version.
pub fn json_patch(base: &Documents, patch: &str) -> Result<Documents, MergeError> {
    if patch.len() > TEXT_MAX_BYTES {
        return Err(MergeError::TooLong { bytes: patch.len() });
    }
    let Patch(operations) = serde_json::from_str(patch).map_err(|source| MergeError::Json { source })?;
    if operations.len() > OPERATIONS_MAX {
        return Err(MergeError::TooManyOperations { count: operations.len() });
    }
    let mut root = Value::Object(
        base.iter()
            .map(|document| (document.key().to_string(), Value::Object(document.fields().clone())))
            .collect(),
    );
    for (index, operation) in operations.into_iter().enumerate() {
        apply(&mut root, operation, index + 1)?;
    }
    let Value::Object(documents) = root else {
        return Err(MergeError::Document { key: "the root".to_owned() });
    };
    checked(&back(base, documents)?)
}

fn apply(root: &mut Value, operation: PatchOperation, number: usize) -> Result<(), MergeError> {
    let path = operation.path().to_string();
    let operations = [operation];
    if let Err(error) = json_patch::patch(root, &operations) {
        return Err(MergeError::Operation { number, path, reason: error.kind });
    }
    // Copies of copies grow without bound.
    if fits(root, 0, &mut 0) { Ok(()) } else { Err(MergeError::TooLarge { number, path }) }
}

/// One more level than a document has, for the object of all documents.
const LEVELS_MAX: usize = DEPTH_MAX + 1;

fn fits(value: &Value, depth: usize, nodes: &mut usize) -> bool {
    *nodes += 1;
    if depth > LEVELS_MAX || *nodes > NODES_MAX {
        return false;
    }
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, depth + 1, nodes)),
        Value::Object(fields) => fields.values().all(|field| fits(field, depth + 1, nodes)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// The documents that the patch left, in their order, then those that it added.
fn back(base: &Documents, mut patched: Map<String, Value>) -> Result<Documents, MergeError> {
    let mut documents = base.clone();
    for document in base {
        match patched.remove(&document.key().to_string()) {
            Some(value) => documents.put(read(&document.key().to_string(), value)?),
            None => drop(documents.remove(document.key())),
        }
    }
    for (key, value) in patched {
        documents.put(read(&key, value)?);
    }
    Ok(documents)
}

fn read(key: &str, value: Value) -> Result<Document, MergeError> {
    let wrong = || MergeError::Document { key: key.to_owned() };
    let Value::Object(mut fields) = value else { return Err(wrong()) };
    let (kind, _) = key.split_once('/').unwrap_or((key, ""));
    fields.entry("apiVersion").or_insert_with(|| API_VERSION.into());
    fields.entry("kind").or_insert_with(|| kind.into());
    let document = Document::new(fields);
    if document.key().to_string() == key { Ok(document) } else { Err(wrong()) }
}

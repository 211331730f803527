//! Changing documents by a patch: the strategic merge here, RFC 6902 in [`json_patch()`].
//!
//! The strategic merge is Kubernetes': the documents of a patch meet those with their key; mappings are merged field by
//! field; `null` removes a field; lists of a pod whose items have a key are merged item by item; all other lists are
//! replaced. `$patch: delete` in a document, a mapping or an item removes it, `$patch: replace` puts the patch in its
//! place. Removing what is not there is no error, so that a patch can be applied twice.

use serde_json::{Map, Value};

use crate::{
    ConfigErrors, Document, Documents, TEXT_MAX_BYTES, YamlError, documents::key_of, read_unchecked,
};

pub use crate::patch::json_patch;

/// Why a patch cannot be applied, or its result cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Not YAML.
    #[error("the patch cannot be read: {errors}")]
    Read {
        /// Places in the patch.
        errors: ConfigErrors,
    },
    /// A document that says not which one it changes.
    #[error(
        "document {document} of the patch names no document: it needs kind, and the name that its kind has"
    )]
    Unnamed {
        /// From 1.
        document: usize,
    },
    /// A directive that is not known here.
    #[error("{path}: {directive} is not known; there are $patch: delete and $patch: replace")]
    Directive {
        /// Where it stands.
        path: String,
        /// What stands there.
        directive: String,
    },
    /// An item of a list that is merged by key has none.
    #[error("{path}: an item must have {key}, by which it is merged")]
    ItemKey {
        /// Where it stands.
        path: String,
        /// The missing field.
        key: &'static str,
    },
    /// Not the JSON of RFC 6902.
    #[error("the patch is no JSON patch (RFC 6902)")]
    Json {
        /// What the JSON parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Longer than a whole configuration may be.
    #[error("a patch of {bytes} bytes is longer than the {TEXT_MAX_BYTES} allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Too many operations.
    #[error("{count} operations are more than the {max} allowed", max = crate::patch::OPERATIONS_MAX)]
    TooManyOperations {
        /// Their number.
        count: usize,
    },
    /// An operation that does not fit.
    #[error("operation {number} ({path}): {reason}; nothing was changed")]
    Operation {
        /// From 1.
        number: usize,
        /// Its path.
        path: String,
        /// What is wrong.
        reason: json_patch::PatchErrorKind,
    },
    /// An operation that makes the documents too large or too deep.
    #[error("operation {number} ({path}) makes the documents too large or too deep; nothing was changed")]
    TooLarge {
        /// From 1.
        number: usize,
        /// Its path.
        path: String,
    },
    /// A document that is none, or does not say what its key says.
    #[error("what the patch leaves at {key} is not the document of that name")]
    Document {
        /// The first step of its path.
        key: String,
    },
    /// A value that YAML cannot hold.
    #[error(transparent)]
    Write(#[from] YamlError),
    /// The result is no configuration.
    #[error("the patched configuration is wrong: {errors}")]
    Result {
        /// Places in the patched text.
        errors: ConfigErrors,
        /// That text.
        text: String,
    },
}

/// Merges the documents of a patch into others, and checks the result.
pub fn strategic(base: &Documents, patch: &str) -> Result<Documents, MergeError> {
    let patch = read_unchecked(patch).map_err(|errors| MergeError::Read { errors })?;
    let mut merged = base.clone();
    for (index, document) in patch.iter().enumerate() {
        merge_document(&mut merged, document.fields().clone(), index + 1)?;
    }
    checked(&merged)
}

/// The documents as they would be read from their text.
pub(crate) fn checked(documents: &Documents) -> Result<Documents, MergeError> {
    let text = documents.to_yaml()?;
    Documents::parse(&text).map_err(|errors| MergeError::Result { errors, text })
}

fn merge_document(
    merged: &mut Documents,
    mut patch: Map<String, Value>,
    number: usize,
) -> Result<(), MergeError> {
    let key = key_of(&patch);
    let nameless = |name: &String| name.is_empty() || name.ends_with('/');
    if key.kind.is_empty() || key.name.as_ref().is_some_and(nameless) {
        return Err(MergeError::Unnamed { document: number });
    }
    let list = Lists { keyed: key.kind == "StaticPod" };
    let path = key.to_string();
    let fields = match (take_directive(&mut patch, &path)?, merged.get(&key)) {
        (Directive::Delete, _) => {
            merged.remove(&key);
            return Ok(());
        }
        (Directive::Merge, Some(base)) => {
            let mut fields = base.fields().clone();
            list.merge_map(&mut fields, patch, &path)?;
            fields
        }
        (Directive::Replace, _) | (Directive::Merge, None) => list.fresh_map(patch, &path)?,
    };
    merged.put(Document::new(fields));
    Ok(())
}

enum Directive {
    Merge,
    Delete,
    Replace,
}

const DIRECTIVE: &str = "$patch";

/// Takes the directive out of a mapping of the patch. Kubernetes' other directives are refused, never taken for fields.
fn take_directive(patch: &mut Map<String, Value>, path: &str) -> Result<Directive, MergeError> {
    let unknown = |directive: String| MergeError::Directive { path: path.to_owned(), directive };
    let directive = match patch.remove(DIRECTIVE) {
        None => Directive::Merge,
        Some(Value::String(word)) if word == "delete" => Directive::Delete,
        Some(Value::String(word)) if word == "replace" => Directive::Replace,
        Some(Value::String(word)) if word == "merge" => Directive::Merge,
        Some(_) => return Err(unknown(format!("this value of {DIRECTIVE}"))),
    };
    match patch.keys().find(|name| name.starts_with('$')) {
        Some(name) => Err(unknown(name.clone())),
        None => Ok(directive),
    }
}

/// How the lists of a document are merged.
struct Lists {
    /// Whether those of pods have keys.
    keyed: bool,
}

impl Lists {
    fn merge_map(
        &self,
        base: &mut Map<String, Value>,
        patch: Map<String, Value>,
        path: &str,
    ) -> Result<(), MergeError> {
        for (name, value) in patch {
            let path = format!("{path}.{name}");
            let merged = match (base.get_mut(&name), value) {
                (_, Value::Null) => None,
                (Some(Value::Object(inner)), Value::Object(mut patch)) => {
                    match take_directive(&mut patch, &path)? {
                        Directive::Delete => None,
                        Directive::Replace => Some(Value::Object(self.fresh_map(patch, &path)?)),
                        Directive::Merge => {
                            self.merge_map(inner, patch, &path)?;
                            continue;
                        }
                    }
                }
                (Some(Value::Array(items)), Value::Array(patch)) => {
                    self.merge_list(items, patch, &name, &path)?;
                    continue;
                }
                (_, other) => self.fresh(other, &name, &path)?,
            };
            match merged {
                Some(value) => base.insert(name, value),
                None => base.remove(&name),
            };
        }
        Ok(())
    }

    fn merge_list(
        &self,
        base: &mut Vec<Value>,
        mut patch: Vec<Value>,
        name: &str,
        path: &str,
    ) -> Result<(), MergeError> {
        if let Some(at) = patch.iter().position(replaces_list) {
            patch.remove(at);
            base.clear();
        }
        let Some(key) = self.key(name) else {
            if patch.iter().any(holds_directive) {
                let directive = format!("{DIRECTIVE} in a list that is replaced as a whole");
                return Err(MergeError::Directive { path: path.to_owned(), directive });
            }
            *base = patch;
            return Ok(());
        };
        for item in patch {
            let keyless = || MergeError::ItemKey { path: path.to_owned(), key: key.field };
            let Value::Object(mut item) = item else { return Err(keyless()) };
            let id = key.of(&item).ok_or_else(keyless)?;
            let path = format!("{path}[{}]", id.0);
            let same =
                |other: &Value| other.as_object().and_then(|other| key.of(other)).as_ref() == Some(&id);
            let at = base.iter().position(same);
            let directive = take_directive(&mut item, &path)?;
            match (directive, at.and_then(|at| base.get_mut(at).map(|found| (at, found)))) {
                (Directive::Delete, Some((at, _))) => drop(base.remove(at)),
                (Directive::Delete, None) => {}
                (Directive::Merge, Some((_, Value::Object(found)))) => {
                    self.merge_map(found, item, &path)?;
                }
                (Directive::Merge | Directive::Replace, Some((_, found))) => {
                    *found = Value::Object(self.fresh_map(item, &path)?);
                }
                (Directive::Merge | Directive::Replace, None) => {
                    base.push(Value::Object(self.fresh_map(item, &path)?));
                }
            }
        }
        Ok(())
    }

    /// A value of the patch where the base has none: the directives in it are carried out on nothing.
    fn fresh(&self, value: Value, name: &str, path: &str) -> Result<Option<Value>, MergeError> {
        Ok(match value {
            Value::Object(mut map) => match take_directive(&mut map, path)? {
                Directive::Delete => None,
                Directive::Merge | Directive::Replace => Some(Value::Object(self.fresh_map(map, path)?)),
            },
            Value::Array(items) => {
                let mut list = Vec::new();
                self.merge_list(&mut list, items, name, path)?;
                Some(Value::Array(list))
            }
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => Some(other),
        })
    }

    fn fresh_map(&self, patch: Map<String, Value>, path: &str) -> Result<Map<String, Value>, MergeError> {
        let mut map = Map::new();
        self.merge_map(&mut map, patch, path)?;
        Ok(map)
    }

    fn key(&self, list: &str) -> Option<&'static ListKey> {
        LIST_KEYS.iter().find(|key| self.keyed && key.list == list)
    }
}

/// An item that is a directive alone: the list is replaced by the other items.
fn replaces_list(item: &Value) -> bool {
    item.as_object().is_some_and(|item| item.len() == 1 && item.get(DIRECTIVE) == Some(&"replace".into()))
}

fn holds_directive(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| name == DIRECTIVE || holds_directive(value))
        }
        Value::Array(items) => items.iter().any(holds_directive),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// What tells the items of a list of a pod apart: Kubernetes' patchMergeKey and list-map keys (k8s.io/api, core/v1).
struct ListKey {
    list: &'static str,
    field: &'static str,
    /// A second field, with its default.
    besides: Option<(&'static str, &'static str)>,
}

impl ListKey {
    const fn new(list: &'static str, field: &'static str) -> Self {
        Self { list, field, besides: None }
    }

    fn of(&self, item: &Map<String, Value>) -> Option<(String, Option<String>)> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let besides = self
            .besides
            .map(|(field, default)| item.get(field).and_then(text).unwrap_or_else(|| default.to_owned()));
        Some((text(item.get(self.field)?)?, besides))
    }
}

const LIST_KEYS: &[ListKey] = &[
    ListKey::new("containers", "name"),
    ListKey::new("initContainers", "name"),
    ListKey::new("ephemeralContainers", "name"),
    ListKey::new("env", "name"),
    ListKey::new("volumes", "name"),
    ListKey::new("volumeMounts", "mountPath"),
    ListKey::new("volumeDevices", "devicePath"),
    ListKey { list: "ports", field: "containerPort", besides: Some(("protocol", "TCP")) },
    ListKey::new("hostAliases", "ip"),
];

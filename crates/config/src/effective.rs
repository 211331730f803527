//! Documents as the node reads them, and documents as anyone may read them.

use serde_json::{Map, Value};

use crate::{
    documents::{Document, Documents},
    table::{self, Default, Field, Type},
};

/// What stands for a secret.
pub const REDACTED: &str = "<redacted>";

/// The documents with all defaults filled in.
#[must_use]
pub fn effective(documents: &Documents) -> Documents {
    documents.iter().map(|document| with_fields(document, fill)).collect()
}

/// The documents without their secrets: passwords, and the values of environment variables of pods.
#[must_use]
pub fn redact(documents: &Documents) -> Documents {
    documents.iter().map(|document| with_fields(document, hide)).collect()
}

fn with_fields(document: &Document, change: fn(&mut Map<String, Value>, &[Field])) -> Document {
    let Some(kind) = table::kind(&document.key().kind) else { return document.clone() };
    let mut fields = document.fields().clone();
    change(&mut fields, kind.fields);
    if fields == *document.fields() { document.clone() } else { Document::new(fields) }
}

fn fill(object: &mut Map<String, Value>, fields: &[Field]) {
    for field in fields {
        if let (Some(Value::Object(inner)), Type::Object(fields)) = (object.get_mut(field.name), &field.kind)
        {
            fill(inner, fields);
        }
        let default = match field.default {
            Default::Absent | Default::Node(_) => continue,
            Default::False => Value::Bool(false),
            Default::Integer(number) => Value::from(number),
            Default::Text(text) => Value::from(text),
            Default::EmptyList => Value::Array(Vec::new()),
            Default::EmptyMap => Value::Object(Map::new()),
            Default::TrueUnless { field } => {
                Value::Bool(object.get(field).and_then(Value::as_array).is_none_or(Vec::is_empty))
            }
        };
        object.entry(field.name).or_insert(default);
    }
}

fn hide(object: &mut Map<String, Value>, fields: &[Field]) {
    for field in fields {
        let Some(value) = object.get_mut(field.name) else { continue };
        match &field.kind {
            _ if field.secret => *value = REDACTED.into(),
            Type::Object(fields) => {
                if let Value::Object(inner) = value {
                    hide(inner, fields);
                }
            }
            Type::Pod => hide_environment(value),
            Type::ApiObjects => value.as_array_mut().into_iter().flatten().for_each(hide_secret),
            Type::Bool
            | Type::Integer { .. }
            | Type::Text(_)
            | Type::Choice(_)
            | Type::List { .. }
            | Type::Map { .. }
            | Type::Setting
            | Type::Port
            | Type::Kubelet => {}
        }
    }
}

/// What a Secret holds; of anything else nothing is secret.
fn hide_secret(object: &mut Value) {
    if object.get("kind").and_then(Value::as_str) != Some("Secret") {
        return;
    }
    for field in ["data", "stringData"] {
        let values = object.get_mut(field).and_then(Value::as_object_mut).into_iter().flatten();
        values.for_each(|(_, value)| *value = REDACTED.into());
    }
}

/// A node without an API server has no Secrets: pods get theirs as plain values.
fn hide_environment(pod: &mut Value) {
    let Some(Value::Object(spec)) = pod.get_mut("spec") else { return };
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        let variables = containers.filter_map(|container| container.get_mut("env")?.as_array_mut());
        for value in variables.flatten().filter_map(|variable| variable.get_mut("value")) {
            *value = REDACTED.into();
        }
    }
}

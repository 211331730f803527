//! The tables as JSON Schema (draft 2020-12), for editors. It lets pass all that the checks let pass, and refuses
//! what a schema can tell.

use serde_json::{Map, Value, json};

use crate::{
    api_object,
    format::Format,
    kubelet,
    parse::API_VERSION,
    port,
    table::{self, Default, Field, Kind, Type},
};

/// One schema for every document; which kind it is decides what it may hold.
#[must_use]
pub fn json_schema() -> Value {
    let names: Vec<&str> = table::kinds().map(|kind| kind.name).collect();
    let references: Vec<Value> =
        names.iter().map(|name| json!({"$ref": format!("#/$defs/{name}")})).collect();
    let definitions: Map<String, Value> =
        table::kinds().map(|kind| (kind.name.to_owned(), document(kind))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("Cairn machine configuration, {API_VERSION}"),
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {"apiVersion": {"const": API_VERSION}, "kind": {"enum": names}},
        "oneOf": references,
        "$defs": definitions,
    })
}

fn document(kind: &Kind) -> Value {
    let mut schema = object(kind.fields);
    schema["title"] = kind.name.into();
    schema["description"] = kind.doc.into();
    schema["properties"]["apiVersion"] = json!({"const": API_VERSION});
    schema["properties"]["kind"] = json!({"const": kind.name});
    if let Some(required) = schema["required"].as_array_mut() {
        required.splice(0..0, ["apiVersion".into(), "kind".into()]);
    }
    schema
}

fn object(fields: &[Field]) -> Value {
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), property(field))).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn property(field: &Field) -> Value {
    let mut schema = value(&field.kind);
    schema["description"] = field.doc.into();
    if field.secret {
        schema["writeOnly"] = true.into();
    }
    match field.default {
        Default::False => schema["default"] = false.into(),
        Default::Text(text) => schema["default"] = text.into(),
        Default::Integer(number) => schema["default"] = number.into(),
        Default::EmptyList => schema["default"] = json!([]),
        Default::EmptyMap => schema["default"] = json!({}),
        Default::Absent | Default::TrueUnless { .. } | Default::Node(_) => {}
    }
    schema
}

fn value(kind: &Type) -> Value {
    match kind {
        Type::Bool => json!({"type": "boolean"}),
        Type::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Type::Text(format) => match format.pattern() {
            Some(pattern) => json!({"type": "string", "pattern": pattern}),
            None => json!({"type": "string", "minLength": 1}),
        },
        Type::Choice(choices) => json!({"enum": choices}),
        Type::List { item, min, max } => json!({
            "type": "array",
            "items": value(item),
            "minItems": min,
            "maxItems": max,
            "uniqueItems": true,
        }),
        Type::Map { key, value: item, max } => {
            let names = key.pattern().map_or(json!({}), |pattern| json!({"pattern": pattern}));
            json!({
                "type": "object",
                "propertyNames": names,
                "additionalProperties": value(item),
                "maxProperties": max,
            })
        }
        Type::Object(fields) => object(fields),
        Type::Setting => json!({"type": ["string", "integer"], "minLength": 1}),
        Type::Port => {
            json!({"type": ["string", "integer"], "pattern": port::PATTERN, "minimum": 1, "maximum": u16::MAX})
        }
        Type::Pod => pod(),
        Type::ApiObjects => {
            json!({"type": "array", "items": api_object::schema(), "maxItems": api_object::OBJECTS_MAX})
        }
        Type::Kubelet => {
            let fields = kubelet::names().filter_map(|name| Some((name, kubelet::field(name)?)));
            let properties: Map<String, Value> =
                fields.map(|(name, shape)| (name.to_owned(), shape.schema())).collect();
            json!({"type": "object", "properties": properties, "additionalProperties": false})
        }
    }
}

/// What is checked of a pod; the rest is the kubelet's to judge.
fn pod() -> Value {
    json!({
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": "v1"},
            "kind": {"const": "Pod"},
            "metadata": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "pattern": Format::DnsName.pattern()}}},
            "spec": {
                "type": "object",
                "required": ["containers"],
                "properties": {"containers": {"type": "array", "minItems": 1}},
            },
        },
    })
}

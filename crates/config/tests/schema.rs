//! The schema lets pass what is right, and refuses what a schema can tell.

use config::{Documents, json_schema, read_unchecked};
use regex::Regex;
use serde_json::{Map, Value, json};

const GOOD: &str = include_str!("good.yaml");

/// Whether a value is valid (draft 2020-12, of its keywords those alone that the schema uses).
fn valid(root: &Value, schema: &Value, value: &Value) -> bool {
    schema.as_object().unwrap().iter().all(|(keyword, rule)| holds(root, schema, keyword, rule, value))
}

fn holds(root: &Value, schema: &Value, keyword: &str, rule: &Value, value: &Value) -> bool {
    let none = Map::new();
    let object = value.as_object().unwrap_or(&none);
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let limit = || rule.as_u64().unwrap();
    let length = |length: usize| u64::try_from(length).unwrap();
    match keyword {
        "$schema" | "$defs" | "title" | "description" | "default" | "writeOnly" => true,
        "$ref" => {
            valid(root, root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap(), value)
        }
        "oneOf" => rule.as_array().unwrap().iter().filter(|schema| valid(root, schema, value)).count() == 1,
        "const" => rule == value,
        "enum" => rule.as_array().unwrap().contains(value),
        "type" => match rule {
            Value::Array(types) => types.iter().any(|name| is_a(name.as_str().unwrap(), value)),
            name => is_a(name.as_str().unwrap(), value),
        },
        "required" => rule.as_array().unwrap().iter().all(|name| object.contains_key(name.as_str().unwrap())),
        "properties" => {
            object.iter().all(|(name, value)| rule.get(name).is_none_or(|rule| valid(root, rule, value)))
        }
        "propertyNames" => object.keys().all(|name| valid(root, rule, &json!(name))),
        "additionalProperties" => {
            let others = object.iter().filter(|(name, _)| schema["properties"].get(name).is_none());
            others.into_iter().all(|(_, value)| rule.is_object() && valid(root, rule, value))
        }
        "maxProperties" => length(object.len()) <= limit(),
        "minProperties" => value.is_object() && length(object.len()) >= limit(),
        "items" => items.iter().all(|item| valid(root, rule, item)),
        "minItems" => !value.is_array() || length(items.len()) >= limit(),
        "maxItems" => length(items.len()) <= limit(),
        "uniqueItems" => items.iter().enumerate().all(|(index, item)| !items[..index].contains(item)),
        "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
        "minLength" => value.as_str().is_none_or(|text| length(text.chars().count()) >= limit()),
        "pattern" => {
            value.as_str().is_none_or(|text| Regex::new(rule.as_str().unwrap()).unwrap().is_match(text))
        }
        other => panic!("this test does not know the keyword {other}"),
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("this test does not know the type {other}"),
    }
}

fn accepts(fields: &Map<String, Value>) -> bool {
    let schema = json_schema();
    valid(&schema, &schema, &Value::Object(fields.clone()))
}

#[test]
fn what_is_right_is_valid() {
    for document in &Documents::parse(GOOD).unwrap() {
        assert!(accepts(document.fields()), "{}", document.key());
    }
}

#[test]
fn what_a_schema_can_tell_is_refused() {
    for (from, to) in [
        ("v1alpha1\nkind: Machine", "v2\nkind: Machine"),
        ("kind: Machine", "kind: Machin"),
        ("shop-17", "Shop_17"),
        ("shop-17", "17"),
        ("hostname:", "hostnam:"),
        ("site: harbour", "site: a b"),
        ("bus: nvme", "bus: nvm"),
        ("64GiB", "64 Gi"),
        ("\"ACME*\"", "\"A*E\""),
        ("    -----END CERTIFICATE-----\nrevoked", "revoked"),
        ("- 0123456789abcdef", "- 01:23"),
        ("192.0.2.17/24", "192.0.2.17"),
        ("198.51.100.4/31", "192.0.2.17/24"),
        ("mtu: 9000", "mtu: 90"),
        ("name: eth0\n", ""),
        ("servers: [192.0.2.53, \"2001:db8::53\"]", "servers: []"),
        ("search: [example.com]", "search: example.com"),
        ("maxPods: 40", "maxPod: 40"),
        ("maxPods: 40", "port: 10250"),
        ("1h30m", "soon"),
        ("metadata: {name: web,", "metadata: {name: Web,"),
        ("host: docker.io", "host: https://docker.io"),
        ("https://mirror.example.com:5000/v2", "https://a:b@mirror.example.com"),
        ("  password: hunter2\n", ""),
        ("net.core.somaxconn: 4096", "somaxconn: 4096"),
        ("net.core.somaxconn: 4096", "net.core.somaxconn: true"),
        ("zramPercent: 75", "zramPercent: 900"),
        ("channel: stable-k1.37", "channel: stable"),
        ("{start: 23:30, duration: 1h30m}", "{days: [Sat, Sun], start: \"02:00\", duration: 4h}"),
        ("start: \"02:00\"", "start: \"24:00\""),
        ("tcp://[2001:db8::1]:443", "icmp://192.0.2.1"),
        ("8000-8010", "8000-"),
        ("ports: [53]", "ports: [0]"),
        ("protocol: udp", "protocol: sctp"),
        ("[trunk, lan]", "['trunk*']"),
        ("from: [10.0.0.0/8,", "from: [10.0.0.0,"),
        ("[k8s.example.com, ", "[\"https://k8s.example.com\", "),
        ("abcdef.0123456789abcdef", "abcdef.0123456789"),
        ("role=camera:NoSchedule", "role=camera:Never"),
        ("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "MDEy"),
        ("podSubnet: 10.32.0.0/16", "podSubnet: 10.32.0.0"),
        ("    kind: Namespace\n", ""),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let documents = read_unchecked(&text).unwrap();
        assert!(documents.iter().any(|document| !accepts(document.fields())), "{to}");
        assert!(config::parse(&text).is_err(), "the schema must not be stricter than the checks: {to}");
    }
}

//! Resources as they are printed, whatever their kind.

use prost_types::value::Kind as ProtoValue;
use prost_types::{Struct, Timestamp};
use proto::resource::v1 as api;
use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::clock;

/// Whole numbers up to here survive the protocol's floating point (2^53).
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
const KIB: f64 = 1024.0;
/// From here on a size is shown in a larger unit.
const PLAIN_BYTES_MAX: f64 = KIB * KIB;

/// A resource; its JSON form is stable.
#[derive(Clone, Debug, Serialize)]
pub struct Resource {
    /// Kind in singular.
    pub kind: String,
    /// Unique within the kind.
    pub id: String,
    /// Version of the last change.
    pub version: u64,
    /// Time of the last change, RFC 3339.
    pub updated: Option<String>,
    /// What it says.
    pub spec: Map<String, Value>,
    #[serde(skip)]
    changed: Option<Timestamp>,
}

impl From<api::Resource> for Resource {
    fn from(resource: api::Resource) -> Resource {
        Resource {
            kind: resource.kind,
            id: resource.id,
            version: resource.version,
            updated: resource.updated.as_ref().map(ToString::to_string),
            spec: resource.spec.map(object).unwrap_or_default(),
            changed: resource.updated,
        }
    }
}

impl Resource {
    /// A text field of the spec; empty when there is none.
    pub fn text(&self, field: &str) -> &str {
        self.spec.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The cells of its row: the id, the columns, the age.
    pub fn row(&self, columns: &[String], now_s: u64) -> Vec<String> {
        let cells = columns
            .iter()
            .map(|column| self.spec.get(column).map_or_else(String::new, |value| cell(column, value)));
        let age = clock::age(self.changed.as_ref(), now_s);
        std::iter::once(self.id.clone()).chain(cells).chain([age]).collect()
    }
}

/// The heading for the same columns.
pub fn heading(columns: &[String]) -> Vec<String> {
    let columns = columns.iter().map(|column| title(column));
    std::iter::once("ID".to_owned()).chain(columns).chain(["AGE".to_owned()]).collect()
}

/// "hardwareAddress" becomes "HARDWARE-ADDRESS"; a unit that the cells show is left out.
fn title(column: &str) -> String {
    let name = size_unit(column).map_or(column, |(name, _)| name);
    let mut title = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !title.is_empty() {
            title.push('-');
        }
        title.push(c.to_ascii_uppercase());
    }
    title
}

/// Name and unit, in bytes, of a column that holds a size.
fn size_unit(column: &str) -> Option<(&str, f64)> {
    let bytes = column.strip_suffix("Bytes").map(|name| (name, 1.0));
    bytes.or_else(|| column.strip_suffix("Mib").map(|name| (name, KIB * KIB)))
}

fn cell(column: &str, value: &Value) -> String {
    match (value, size_unit(column)) {
        (Value::Number(number), Some((_, unit))) => {
            number.as_f64().map_or_else(String::new, |size| human(size * unit))
        }
        (Value::Null, _) => String::new(),
        (Value::String(text), _) => text.clone(),
        (other, _) => other.to_string(),
    }
}

fn human(size_bytes: f64) -> String {
    if size_bytes < PLAIN_BYTES_MAX {
        return size_bytes.to_string();
    }
    let mut size = size_bytes / PLAIN_BYTES_MAX;
    let mut units = ["MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if size < KIB {
            break;
        }
        size /= KIB;
        unit = larger;
    }
    if size < 10.0 && size.fract() != 0.0 { format!("{size:.1}{unit}") } else { format!("{size:.0}{unit}") }
}

fn object(object: Struct) -> Map<String, Value> {
    object.fields.into_iter().map(|(name, field)| (name, value(field))).collect()
}

fn value(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(ProtoValue::NullValue(_)) => Value::Null,
        Some(ProtoValue::BoolValue(flag)) => Value::Bool(flag),
        Some(ProtoValue::NumberValue(number)) => self::number(number),
        Some(ProtoValue::StringValue(text)) => Value::String(text),
        Some(ProtoValue::ListValue(list)) => Value::Array(list.values.into_iter().map(self::value).collect()),
        Some(ProtoValue::StructValue(inner)) => Value::Object(object(inner)),
    }
}

fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
        // Exact by the check above.
        return Value::Number(Number::from(number as i64));
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn api_resource(fields: &[(&str, ProtoValue)]) -> api::Resource {
        let fields = fields
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), prost_types::Value { kind: Some(kind.clone()) }));
        api::Resource {
            kind: "disk".into(),
            id: "vda".into(),
            version: 7,
            updated: Some(Timestamp { seconds: 1_000, nanos: 0 }),
            spec: Some(Struct { fields: fields.collect() }),
        }
    }

    #[test]
    fn rows_show_columns_in_order_with_readable_sizes() {
        let resource = Resource::from(api_resource(&[
            ("path", ProtoValue::StringValue("/dev/vda".into())),
            ("sizeBytes", ProtoValue::NumberValue(16.0 * 1024.0 * 1024.0 * 1024.0)),
            ("memoryMib", ProtoValue::NumberValue(1536.0)),
            ("mtuBytes", ProtoValue::NumberValue(1500.0)),
            ("pid", ProtoValue::NullValue(0)),
            ("up", ProtoValue::BoolValue(true)),
        ]));
        let columns =
            ["path", "sizeBytes", "memoryMib", "mtuBytes", "pid", "up", "unknownColumn"].map(str::to_owned);
        assert_eq!(
            heading(&columns),
            ["ID", "PATH", "SIZE", "MEMORY", "MTU", "PID", "UP", "UNKNOWN-COLUMN", "AGE"]
        );
        assert_eq!(
            resource.row(&columns, 1_030),
            ["vda", "/dev/vda", "16GiB", "1.5GiB", "1500", "", "true", "", "30s"]
        );
    }

    #[test]
    fn json_has_whole_numbers() {
        let resource = Resource::from(api_resource(&[
            ("n", ProtoValue::NumberValue(3.0)),
            ("f", ProtoValue::NumberValue(0.5)),
        ]));
        let json = serde_json::to_value(&resource).unwrap();
        let expected = serde_json::json!({
            "kind": "disk", "id": "vda", "version": 7, "updated": "1970-01-01T00:16:40Z", "spec": {"n": 3, "f": 0.5}
        });
        assert_eq!(json, expected);
    }

    proptest! {
        #[test]
        fn any_number_prints(bits: u64) {
            let float = f64::from_bits(bits);
            match number(float) {
                Value::Number(number) => prop_assert_eq!(number.as_f64(), Some(float)),
                other => prop_assert!(other.is_null() && !float.is_finite()),
            }
        }
    }
}

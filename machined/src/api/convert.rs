//! Between JSON values and the API's well-known types.

use prost_types::{ListValue, Struct, Timestamp, Value, value::Kind};

/// A JSON object as a protobuf Struct; anything else is an empty one.
pub fn to_struct(json: &serde_json::Value) -> Struct {
    let fields = json.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), to_value(value)));
    Struct { fields: fields.collect() }
}

/// Milliseconds since 1970 as a timestamp.
pub fn to_timestamp(milliseconds: u64) -> Timestamp {
    let seconds = i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(milliseconds % 1000 * 1_000_000).unwrap_or_default();
    Timestamp { seconds, nanos }
}

fn to_value(json: &serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(*value),
        // Struct numbers are doubles: exact up to 2^53, so up to 8 PiB in bytes.
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(to_value).collect() })
        }
        serde_json::Value::Object(_) => Kind::StructValue(to_struct(json)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_values_keep_their_types() {
        let value = to_struct(&json!({"a": [1, null, {"b": true}], "c": "d"}));
        let Some(Kind::ListValue(list)) = value.fields["a"].kind.clone() else { panic!("no list") };
        assert_eq!(list.values[0].kind, Some(Kind::NumberValue(1.0)));
        assert_eq!(list.values[1].kind, Some(Kind::NullValue(0)));
        assert_eq!(value.fields["c"].kind, Some(Kind::StringValue("d".into())));
        assert_eq!(to_struct(&json!("x")).fields.len(), 0);
    }

    #[test]
    fn timestamps_split_at_the_second() {
        assert_eq!(to_timestamp(1_500), Timestamp { seconds: 1, nanos: 500_000_000 });
    }
}

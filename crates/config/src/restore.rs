//! Secrets put back into a text that was shown without them, and edited.

use serde_json::Value;

use crate::{
    documents::{Document, DocumentKey, Documents},
    effective::{REDACTED, redact},
};

/// A secret that was hidden stands where the base has none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {REDACTED} stands where the running configuration has no secret; write the secret itself")]
pub struct RestoreError {
    /// In which document.
    pub key: DocumentKey,
}

/// The documents with every hidden secret as it is in `base`. Elements of lists are found again by their name, else by
/// their place.
///
/// # Errors
/// [`RestoreError`] for a hidden secret that `base` does not have.
pub fn restore(edited: &Documents, base: &Documents) -> Result<Documents, RestoreError> {
    let shown = redact(base);
    edited.iter().map(|document| one(document, &shown, base)).collect()
}

fn one(document: &Document, shown: &Documents, base: &Documents) -> Result<Document, RestoreError> {
    let mut fields = Value::Object(document.fields().clone());
    if let (Some(shown), Some(base)) = (shown.get(document.key()), base.get(document.key())) {
        for (name, value) in fields.as_object_mut().into_iter().flatten() {
            if let (Some(shown), Some(base)) = (shown.fields().get(name), base.fields().get(name)) {
                put_back(value, shown, base);
            }
        }
    }
    if holds_hidden(&fields, document) {
        return Err(RestoreError { key: document.key().clone() });
    }
    match fields {
        Value::Object(fields) if fields != *document.fields() => Ok(Document::new(fields)),
        _ => Ok(document.clone()),
    }
}

fn put_back(edited: &mut Value, shown: &Value, base: &Value) {
    match (edited, shown, base) {
        (edited, Value::String(hidden), base) if hidden == REDACTED && edited == REDACTED => {
            *edited = base.clone();
        }
        (Value::Object(edited), Value::Object(shown), Value::Object(base)) => {
            for (name, value) in edited {
                if let (Some(shown), Some(base)) = (shown.get(name), base.get(name)) {
                    put_back(value, shown, base);
                }
            }
        }
        (Value::Array(edited), Value::Array(shown), Value::Array(base)) => {
            for (place, value) in edited.iter_mut().enumerate() {
                let place = place_of(value, place, base);
                if let (Some(shown), Some(base)) = (shown.get(place), base.get(place)) {
                    put_back(value, shown, base);
                }
            }
        }
        _ => {}
    }
}

/// Where the base has the element of this name.
fn place_of(element: &Value, place: usize, base: &[Value]) -> usize {
    let Some(name) = element.get("name") else { return place };
    base.iter().position(|other| other.get("name") == Some(name)).unwrap_or(usize::MAX)
}

/// Whether a place that is hidden when shown still reads as hidden. Elsewhere the words are anybody's.
fn holds_hidden(fields: &Value, document: &Document) -> bool {
    let Value::Object(fields) = fields else { return false };
    let now: Documents = std::iter::once(Document::new(fields.clone())).collect();
    let shown = redact(&now);
    shown.get(document.key()).is_some_and(|shown| {
        fields.iter().any(|(name, value)| shown.fields().get(name).is_some_and(|shown| hidden(value, shown)))
    })
}

fn hidden(value: &Value, shown: &Value) -> bool {
    match (value, shown) {
        (Value::String(value), Value::String(shown)) => value == REDACTED && shown == REDACTED,
        (Value::Object(value), Value::Object(shown)) => {
            value.iter().any(|(name, value)| shown.get(name).is_some_and(|shown| hidden(value, shown)))
        }
        (Value::Array(value), Value::Array(shown)) => {
            value.iter().zip(shown).any(|(value, shown)| hidden(value, shown))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Registry\nhost: r.example\ncredentials: {username: u, password: secret}\n";

    fn documents(text: &str) -> Documents {
        let api = include_str!("../tests/good.yaml").split("\n---\n").nth(1).unwrap();
        Documents::parse(&format!("{api}\n---\n{text}")).unwrap()
    }

    #[test]
    fn what_was_shown_and_edited_keeps_its_secrets() {
        let base = documents(BASE);
        let shown = redact(&base).to_yaml().unwrap();
        assert!(!shown.contains("secret"), "{shown}");
        let edited = Documents::parse(&shown.replace("username: u", "username: other")).unwrap();
        let restored = restore(&edited, &base).unwrap().to_yaml().unwrap();
        assert!(restored.contains("secret") && restored.contains("other"), "{restored}");
        let changed = Documents::parse(&shown.replace(REDACTED, "new")).unwrap();
        assert!(restore(&changed, &base).unwrap().to_yaml().unwrap().contains("new"));
    }

    #[test]
    fn variables_of_pods_are_found_by_name() {
        let pod = "apiVersion: cairn.dev/v1alpha1\nkind: StaticPod\npod:\n  apiVersion: v1\n  kind: Pod\n  metadata: {name: x}\n  \
                   spec: {containers: [{name: c, image: i, env: [{name: A, value: one}, {name: B, value: two}]}]}\n";
        let base = documents(pod);
        let edited = documents(&pod.replace(
            "{name: A, value: one}, {name: B, value: two}",
            "{name: B, value: <redacted>}, {name: A, value: <redacted>}",
        ));
        let restored = restore(&edited, &base).unwrap().to_yaml().unwrap();
        assert!(restored.find("two").unwrap() < restored.find("one").unwrap(), "{restored}");
    }

    #[test]
    fn a_secret_that_the_base_has_not_is_refused() {
        let edited = documents(&BASE.replace("secret", REDACTED));
        let error = restore(&edited, &documents(&BASE.replace("r.example", "other.example"))).unwrap_err();
        assert_eq!(error.key.to_string(), "Registry/r.example");
    }
}

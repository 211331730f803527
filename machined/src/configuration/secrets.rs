//! Secrets that a client was not shown, and so could not send back. Pure.

use config::{Document, Documents, REDACTED};
use serde_json::{Map, Value};

/// A secret that stands for itself, though there is none before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{document}: a value reads {REDACTED}, and the configuration that runs has none there: write the secret"
)]
pub struct Unknown {
    document: String,
}

/// Puts the secrets of `base` where `documents` reads [`REDACTED`]. Items of lists are told by their names, else by
/// their places.
pub fn restore(documents: &Documents, base: &Documents) -> Result<Documents, Unknown> {
    let mut restored = documents.clone();
    for document in documents.iter() {
        let mut fields = document.fields().clone();
        let former = base.get(document.key()).map(Document::fields);
        if !fill_object(&mut fields, former) {
            return Err(Unknown { document: document.key().to_string() });
        }
        restored.put(Document::new(fields));
    }
    Ok(restored)
}

/// Whether nothing reads redacted any more.
fn fill_object(fields: &mut Map<String, Value>, former: Option<&Map<String, Value>>) -> bool {
    fields.iter_mut().all(|(name, value)| fill(value, former.and_then(|former| former.get(name))))
}

fn fill(value: &mut Value, former: Option<&Value>) -> bool {
    match value {
        Value::String(text) if text == REDACTED => match former {
            Some(former @ Value::String(_)) => {
                *value = former.clone();
                true
            }
            Some(_) | None => false,
        },
        Value::Object(fields) => fill_object(fields, former.and_then(Value::as_object)),
        Value::Array(items) => {
            let former = former.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            items.iter_mut().enumerate().all(|(place, item)| {
                let former = counterpart(item, place, former);
                fill(item, former)
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn counterpart<'a>(item: &Value, place: usize, former: &'a [Value]) -> Option<&'a Value> {
    // Objects of the Kubernetes API.
    if item.pointer("/metadata/name").is_some() {
        let identity = |object: &'a Value| {
            ["/apiVersion", "/kind", "/metadata/namespace", "/metadata/name"]
                .map(|field| object.pointer(field))
        };
        let wanted = ["/apiVersion", "/kind", "/metadata/namespace", "/metadata/name"]
            .map(|field| item.pointer(field));
        return former.iter().find(|other| identity(other) == wanted);
    }
    match item.get("name") {
        Some(name) => former.iter().find(|other| other.get("name") == Some(name)),
        None => former.get(place),
    }
}

#[cfg(test)]
mod tests {
    use config::redact;

    use super::*;

    const HEADER: &str = "apiVersion: cairn.dev/v1alpha1\nkind:";

    fn documents(rest: &str) -> Documents {
        let ca = pki::Ca::create(&pki::SubjectName::parse("ca").unwrap(), pki::Validity::UNLIMITED).unwrap();
        let ca = ca.bundle().to_pem().replace('\n', "\n    ");
        Documents::parse(&format!("{HEADER} Api\nclientCAs:\n  - |\n    {ca}\n---\n{rest}")).unwrap()
    }

    fn secretive() -> Documents {
        documents(&format!(
            "{HEADER} Registry\nhost: r.example\ncredentials: {{username: u, password: swordfish}}\n---\n{HEADER} StaticPod\npod:\n  apiVersion: v1\n  kind: Pod\n  metadata: {{name: web}}\n  spec:\n    containers:\n    - name: a\n      image: b\n      env: [{{name: ONE, value: first}}, {{name: TWO, value: second}}]\n"
        ))
    }

    #[test]
    fn what_was_not_shown_comes_back() {
        let base = secretive();
        let shown = redact(&base);
        assert!(!shown.to_yaml().unwrap().contains("swordfish"));
        let restored = restore(&shown, &base).unwrap();
        let [restored, base]: [Vec<_>; 2] =
            [restored, base].map(|all| all.iter().map(|document| document.fields().clone()).collect());
        assert_eq!(restored, base);
    }

    #[test]
    fn items_are_told_by_their_names() {
        let base = secretive();
        let shown = redact(&base).to_yaml().unwrap();
        let (from, to) = ("name: ONE", "name: ZERO");
        assert!(shown.contains(from), "{shown}");
        let renamed = Documents::parse(&shown.replace(from, to)).unwrap();
        let error = restore(&renamed, &base).unwrap_err();
        assert!(error.to_string().starts_with("StaticPod/"), "{error}");
    }
}

//! Documents as data: what merging, comparing and showing work on.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use crate::{error::ConfigErrors, table};

/// What makes a document the one it is: no two of a configuration have the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// Kind.
    pub kind: String,
    /// Name among documents of the kind, such as "eth0"; a pod's is "namespace/name". None where the kind may stand only once.
    pub name: Option<String>,
}

impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}/{name}", self.kind),
            None => f.write_str(&self.kind),
        }
    }
}

/// One document. `Debug` shows its key alone, for it may hold secrets.
#[derive(Clone, PartialEq)]
pub struct Document {
    key: DocumentKey,
    fields: Map<String, Value>,
    source: Option<String>,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Document {
    /// A document of these fields, `apiVersion` and `kind` among them.
    #[must_use]
    pub fn new(fields: Map<String, Value>) -> Self {
        Self { key: key_of(&fields), fields, source: None }
    }

    /// A document that was read from this text.
    pub(crate) fn with_source(fields: Map<String, Value>, source: &str) -> Self {
        Self { source: Some(source.to_owned()), ..Self::new(fields) }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &DocumentKey {
        &self.key
    }

    /// All fields, `apiVersion` and `kind` among them.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// Its text as it was read, comments included; None once it was made or changed by a program.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }
}

/// All documents of a configuration, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents(Vec<Document>);

impl Documents {
    /// Reads and checks a configuration, as strictly as [`crate::parse`] does.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ConfigErrors> {
        crate::parse::documents(text)
    }

    /// The documents, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Document> {
        self.0.iter()
    }

    /// The document of a key.
    #[must_use]
    pub fn get(&self, key: &DocumentKey) -> Option<&Document> {
        self.iter().find(|document| document.key == *key)
    }

    /// Puts a document in the place of the one with its key, or at the end. The text of one that does not change is kept.
    pub fn put(&mut self, document: Document) {
        match self.0.iter_mut().find(|other| other.key == document.key) {
            Some(other) if other.fields == document.fields => {}
            Some(other) => *other = document,
            None => self.0.push(document),
        }
    }

    /// Takes a document out.
    pub fn remove(&mut self, key: &DocumentKey) -> Option<Document> {
        let index = self.iter().position(|document| document.key == *key)?;
        Some(self.0.remove(index))
    }

    /// The documents as YAML: as they were read where they are unchanged, else in the order of the reference.
    ///
    /// # Errors
    /// None for values that came from YAML or JSON.
    pub fn to_yaml(&self) -> Result<String, YamlError> {
        let texts = self.iter().map(Document::to_yaml).collect::<Result<Vec<_>, _>>()?;
        Ok(texts.join("---\n"))
    }
}

/// A value that YAML cannot write.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the documents as YAML")]
pub struct YamlError(#[from] serde_saphyr::ser::Error);

impl FromIterator<Document> for Documents {
    fn from_iter<T: IntoIterator<Item = Document>>(documents: T) -> Self {
        Self(documents.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Documents {
    type Item = &'a Document;
    type IntoIter = std::slice::Iter<'a, Document>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Document {
    fn to_yaml(&self) -> Result<String, YamlError> {
        if let Some(source) = &self.source {
            // The marker in front of it is written by whoever joins the documents.
            let text = source.strip_prefix("---").unwrap_or(source);
            let text = match text.split_once('\n') {
                Some((line, rest)) if line.trim().is_empty() => rest,
                Some(_) | None => text,
            };
            return Ok(if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") });
        }
        let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
        Ok(serde_saphyr::to_string_with_options(&Ordered(self), options)?)
    }
}

/// Fields in the order of the kind's table.
struct Ordered<'a>(&'a Document);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = &self.0.fields;
        let known = table::kind(&self.0.key.kind).map(|kind| kind.fields).unwrap_or_default();
        let first = ["apiVersion", "kind"].into_iter().chain(known.iter().map(|field| field.name));
        let rank = |name: &String| first.clone().position(|known| known == name).unwrap_or(usize::MAX);
        let mut entries: Vec<_> = fields.iter().collect();
        entries.sort_by_key(|(name, _)| rank(name));
        let mut map = serializer.serialize_map(Some(entries.len()))?;
        for (name, value) in entries {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The key of a document of these fields; of one that is wrong, as much of it as there is.
pub(crate) fn key_of(fields: &Map<String, Value>) -> DocumentKey {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = text(fields.get("kind"));
    let name = match table::kind(&kind).map(|kind| kind.multiplicity) {
        Some(table::Multiplicity::Named { field }) => Some(text(fields.get(field))),
        Some(table::Multiplicity::Pod) => {
            let metadata = fields.get("pod").and_then(|pod| pod.get("metadata"));
            let of = |field: &str| text(metadata.and_then(|metadata| metadata.get(field)));
            let namespace = Some(of("namespace")).filter(|namespace| !namespace.is_empty());
            Some(format!("{}/{}", namespace.as_deref().unwrap_or("default"), of("name")))
        }
        Some(table::Multiplicity::AtMostOne | table::Multiplicity::One) | None => None,
    };
    DocumentKey { kind, name }
}

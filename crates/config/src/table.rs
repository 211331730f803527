//! The shape of the tables that describe the kinds. What is checked, the JSON Schema, the reference and the defaults
//! all come from them.

use crate::{format::Format, kind_tables::KINDS};

/// A kind of document.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) multiplicity: Multiplicity,
    /// What it is for, in Markdown.
    pub(crate) doc: &'static str,
    /// Besides `apiVersion` and `kind`.
    pub(crate) fields: &'static [Field],
    /// A whole document.
    pub(crate) example: &'static str,
}

/// How many documents of a kind there may be, and what tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Multiplicity {
    AtMostOne,
    One,
    /// Any number, each with another value of `field`.
    Named {
        field: &'static str,
    },
    /// Any number, each with another namespace and name of its pod.
    Pod,
}

/// A field of a document, or of an object in it.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Type,
    pub(crate) required: bool,
    pub(crate) default: Default,
    pub(crate) secret: bool,
    pub(crate) doc: &'static str,
}

impl Field {
    pub(crate) const fn new(name: &'static str, kind: Type, doc: &'static str) -> Self {
        Self { name, kind, required: false, default: Default::Absent, secret: false, doc }
    }

    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(crate) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub(crate) const fn default(self, default: Default) -> Self {
        Self { default, ..self }
    }
}

/// What holds when a field is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    /// Nothing; `doc` says what that means.
    Absent,
    False,
    Integer(u32),
    Text(&'static str),
    EmptyList,
    EmptyMap,
    /// True unless `field` holds something.
    TrueUnless {
        field: &'static str,
    },
    /// What the node makes up itself, in words.
    Node(&'static str),
}

/// What a field holds.
pub(crate) enum Type {
    Bool,
    Integer {
        min: u32,
        max: u32,
    },
    Text(Format),
    /// One of these.
    Choice(&'static [&'static str]),
    List {
        item: &'static Type,
        min: usize,
        max: usize,
    },
    Map {
        key: Format,
        value: &'static Type,
        max: usize,
    },
    Object(&'static [Field]),
    /// A text or an integer, for settings of the kernel.
    Setting,
    /// A port as an integer, or a range of them as a text.
    Port,
    /// A manifest of Kubernetes that the kubelet judges.
    Pod,
    /// Manifests of Kubernetes that the API server judges.
    ApiObjects,
    /// Fields of KubeletConfiguration.
    Kubelet,
}

/// The table of a kind.
pub(crate) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// All kinds.
pub(crate) fn kinds() -> impl Iterator<Item = &'static Kind> + Clone {
    KINDS.iter()
}

/// Names of all fields that are secret.
pub(crate) fn secret_names() -> impl Iterator<Item = &'static str> {
    let mut names = Vec::new();
    KINDS.iter().for_each(|kind| collect_secrets(kind.fields, &mut names));
    names.into_iter()
}

fn collect_secrets(fields: &'static [Field], names: &mut Vec<&'static str>) {
    for field in fields {
        if field.secret {
            names.push(field.name);
        }
        if let Type::Object(fields) = &field.kind {
            collect_secrets(fields, names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_right() {
        let api = kind("Api").map(|kind| kind.example).unwrap_or_default();
        for kind in kinds() {
            let other = if kind.name == "Api" { "" } else { api };
            let text = format!("{}---\n{other}", kind.example);
            assert!(crate::parse(&text).is_ok(), "{}", crate::parse(&text).unwrap_err());
        }
    }

    #[test]
    fn the_fields_that_name_documents_are_required() {
        for kind in kinds() {
            if let Multiplicity::Named { field } = kind.multiplicity {
                assert!(
                    kind.fields.iter().any(|known| known.name == field && known.required),
                    "{}",
                    kind.name
                );
            }
        }
        assert_eq!(
            secret_names().collect::<Vec<_>>(),
            ["password", "bootstrapToken", "certificateAuthorityKey", "serviceAccountKey", "encryptionKey"]
        );
    }
}

//! Kinds: the names under which resources are listed, and what a table shows of them.

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::spec;

/// Description of a kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Lower-case singular; the key in the store.
    pub name: &'static str,
    /// Lower-case plural.
    pub plural: &'static str,
    /// Short names.
    pub aliases: &'static [&'static str],
    /// One sentence.
    pub description: &'static str,
    /// Spec fields that a table shows, in order.
    pub columns: &'static [&'static str],
}

impl Kind {
    /// Whether `name` is the kind's name, plural or one of its aliases. Case does not matter.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        [self.name, self.plural].iter().chain(self.aliases).any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// What a resource of one kind says. Field names are camelCase in JSON; units stand last in them.
pub trait Spec: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The kind.
    const KIND: Kind;
}

/// Every kind that this release publishes, in the order in which they are shown.
pub const KINDS: &[&Kind] = &[
    &spec::Service::KIND,
    &spec::Disk::KIND,
    &spec::Volume::KIND,
    &spec::Link::KIND,
    &spec::Address::KIND,
    &spec::Route::KIND,
    &spec::Neighbour::KIND,
    &spec::Firewall::KIND,
    &spec::Pod::KIND,
    &spec::Image::KIND,
    &spec::Generation::KIND,
    &spec::Corruption::KIND,
    &spec::Slot::KIND,
    &spec::Upgrade::KIND,
    &spec::TimeServer::KIND,
];

/// Finds a kind by its name, plural or alias.
#[must_use]
pub fn find_kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.is_named(name))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn assert_columns_are_fields<S: Spec>() {
        let schema = serde_json::to_value(schemars::schema_for!(S)).unwrap();
        let fields = schema["properties"].as_object().unwrap();
        for column in S::KIND.columns {
            assert!(fields.contains_key(*column), "{} has no field {column}", S::KIND.name);
        }
    }

    #[test]
    fn columns_are_fields_of_the_spec() {
        assert_columns_are_fields::<spec::Service>();
        assert_columns_are_fields::<spec::Disk>();
        assert_columns_are_fields::<spec::Volume>();
        assert_columns_are_fields::<spec::Link>();
        assert_columns_are_fields::<spec::Address>();
        assert_columns_are_fields::<spec::Route>();
        assert_columns_are_fields::<spec::Neighbour>();
        assert_columns_are_fields::<spec::Firewall>();
        assert_columns_are_fields::<spec::Pod>();
        assert_columns_are_fields::<spec::Image>();
        assert_columns_are_fields::<spec::Generation>();
        assert_columns_are_fields::<spec::Corruption>();
        assert_columns_are_fields::<spec::Slot>();
        assert_columns_are_fields::<spec::Upgrade>();
        assert_columns_are_fields::<spec::TimeServer>();
    }

    #[test]
    fn no_name_means_two_kinds() {
        let mut seen = HashSet::new();
        for kind in KINDS {
            for name in [kind.name, kind.plural].iter().chain(kind.aliases) {
                assert!(seen.insert(*name), "{name} is used twice");
                assert_eq!(find_kind(name), Some(*kind));
            }
        }
        assert_eq!(find_kind("unicorn"), None);
        assert_eq!(find_kind("PODS").map(|kind| kind.name), Some("pod"));
    }
}

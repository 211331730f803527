//! What the kernel has: the table as `nft -j list table inet cairn` shows it (libnftables-json(5)).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Ruleset;
use crate::ruleset::TEXT;

/// What a counter has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their bytes, headers of IP included.
    pub bytes: u64,
}

/// The table, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Which text it was made from; nothing when nobody says.
    text_id: Option<String>,
    /// How many rules its chains have.
    rules: usize,
    /// Counters by name.
    pub counters: BTreeMap<String, Count>,
}

/// Why a listing is not understood.
#[derive(Debug, thiserror::Error)]
#[error("what nft lists is not of the form that libnftables-json(5) says")]
pub struct TableError(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Item>,
}

/// An object of the listing; those of other kinds than these have none of the fields.
#[derive(Deserialize)]
struct Item {
    counter: Option<Counter>,
    rule: Option<Rule>,
}

#[derive(Deserialize)]
struct Counter {
    name: String,
    #[serde(flatten)]
    count: Count,
}

/// That it is one is enough.
#[derive(Deserialize)]
struct Rule {}

impl Table {
    /// Reads a listing.
    ///
    /// # Errors
    /// It is no JSON, or of another form.
    pub fn read(listing: &[u8]) -> Result<Self, TableError> {
        let Listing { nftables } = serde_json::from_slice(listing)?;
        let mut table = Self::default();
        for item in nftables {
            table.rules += usize::from(item.rule.is_some());
            let Some(Counter { name, count }) = item.counter else { continue };
            match name.strip_prefix(TEXT) {
                Some(id) => table.text_id = Some(id.to_owned()),
                None => drop(table.counters.insert(name, count)),
            }
        }
        Ok(table)
    }

    /// Whether it was made from this ruleset and has lost nothing since.
    #[must_use]
    pub fn is(&self, ruleset: &Ruleset) -> bool {
        self.text_id.as_deref() == Some(ruleset.text_id().as_str())
            && self.rules == ruleset.statements.len()
            && self.counters.keys().eq(sorted(&ruleset.counters))
    }
}

fn sorted(names: &[String]) -> Vec<&String> {
    let mut names: Vec<&String> = names.iter().collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Policy, Statement};

    fn listing(id: &str, rules: usize) -> String {
        let rule = r#", {"rule": {"family": "inet", "table": "cairn", "chain": "input", "handle": 9, "expr": [{"accept": null}]}}"#;
        format!(
            r#"{{"nftables": [{{"metainfo": {{"version": "1.1.3", "json_schema_version": 1}}}},
            {{"table": {{"family": "inet", "name": "cairn", "handle": 2}}}},
            {{"counter": {{"family": "inet", "name": "text-{id}", "table": "cairn", "handle": 1, "packets": 0, "bytes": 0}}}},
            {{"counter": {{"family": "inet", "name": "rule-web", "table": "cairn", "handle": 2, "packets": 7, "bytes": 420}}}},
            {{"chain": {{"family": "inet", "table": "cairn", "name": "input", "handle": 1, "policy": "drop"}}}}{}]}}"#,
            rule.repeat(rules)
        )
    }

    #[test]
    fn counters_are_read_and_a_table_is_known_again() {
        let statement = Statement { matches: vec![], counter: None, verdict: None };
        let ruleset = Ruleset {
            policy: Policy::Deny,
            counters: vec!["rule-web".into()],
            statements: vec![statement.clone(), statement],
        };
        let id = ruleset.text_id();
        let table = Table::read(listing(&id, 2).as_bytes()).unwrap();
        assert!(table.is(&ruleset));
        assert_eq!(table.counters["rule-web"], Count { packets: 7, bytes: 420 });
        for other in [listing(&id, 1), listing("0", 2), listing(&id, 2).replace("rule-web", "rule-other")] {
            assert!(!Table::read(other.as_bytes()).unwrap().is(&ruleset), "{other}");
        }
        Table::read(b"{}").unwrap_err();
        Table::read(b"table inet cairn { }").unwrap_err();
    }
}

//! `osctl gen config --values`: one configuration for each row of a table. What differs between nodes stands in the
//! table, what they share in the other options and in `--base`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Document, Documents, merge};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::{file, output};

/// The column that names a row's file.
const NAME: &str = "Machine.hostname";
const HOW: &str =
    "columns are called as fields: Machine.hostname, Machine.labels.site, Interface/eth0.addresses";

/// One node: values by column.
type Row = BTreeMap<String, Value>;

/// Writes a file for each row of `values` into `folder`, or none when one of them would be refused.
pub fn generate(base: &str, values: &Path, folder: &Path) -> Result<(), Failure> {
    let base = Documents::parse(base).map_err(|errors| refused("the shared configuration", &errors))?;
    let rows = read(values)?;
    if rows.is_empty() {
        return Err(bad(values, "it has no rows"));
    }
    let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let place = format!("row {}", index + 1);
        let name = name_of(row).ok_or_else(|| bad(values, &format!("{place} has no {NAME}")))?;
        let path = folder.join(format!("{name}.yaml"));
        let text = one(&base, row)
            .map_err(|failure| failure.hint(format!("see {place} of {}", values.display())))?;
        if texts.insert(path, text).is_some() {
            return Err(bad(values, &format!("{place}: the name {name} stands twice")));
        }
    }
    for (path, text) in &texts {
        file::replace(path, text)
            .map_err(|error| Failure::error(format!("cannot write {}", path.display())).why(error))?;
    }
    output::note(&format!("wrote {} configurations to {}", texts.len(), folder.display()));
    Ok(())
}

fn name_of(row: &Row) -> Option<&str> {
    row.get(NAME)?.as_str().filter(|name| !name.is_empty())
}

/// The configuration of one node.
fn one(base: &Documents, row: &Row) -> Result<String, Failure> {
    let mut documents: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (column, value) in row {
        let (document, fields) = column
            .split_once('.')
            .ok_or_else(|| Failure::error(format!("the column {column:?} names no field")).hint(HOW))?;
        put(documents.entry(document).or_insert_with(|| header(document)), fields, value.clone());
    }
    let patch: Documents = documents.into_values().map(Document::new).collect();
    let unwritable = |error: &dyn std::error::Error| Failure::error("cannot write YAML").why(error);
    let patch = patch.to_yaml().map_err(|error| unwritable(&error))?;
    let merged = merge::strategic(base, &patch).map_err(|error| refused("a configuration", &error))?;
    merged.to_yaml().map_err(|error| unwritable(&error))
}

/// A document `Kind` or `Kind/name`.
fn header(document: &str) -> Map<String, Value> {
    let (kind, name) = document.split_once('/').map_or((document, None), |(kind, name)| (kind, Some(name)));
    let mut fields = Map::new();
    fields.insert("apiVersion".into(), config::API_VERSION.into());
    fields.insert("kind".into(), kind.into());
    if let Some(name) = name {
        let key = if kind == "Registry" { "host" } else { "name" };
        fields.insert(key.into(), name.into());
    }
    fields
}

fn put(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(object.insert(path.to_owned(), value)),
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<Row>, Failure> {
    let text = file::read(path)
        .map_err(|error| Failure::error(format!("cannot read {}", path.display())).why(error))?;
    let is_csv = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    if is_csv { read_csv(path, &text) } else { read_yaml(path, &text) }
}

/// A list of maps.
fn read_yaml(path: &Path, text: &str) -> Result<Vec<Row>, Failure> {
    serde_saphyr::from_str(text).map_err(|error| bad(path, &error.to_string()))
}

/// A heading and rows (RFC 4180). Cells are YAML, so that `[10.0.0.5/24]` is a list; an empty one gives nothing.
fn read_csv(path: &Path, text: &str) -> Result<Vec<Row>, Failure> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let heading = reader.headers().map_err(|error| bad(path, &error.to_string()))?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| bad(path, &error.to_string()))?;
        let cells = heading.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
        let row = cells.map(|(column, cell)| Ok((column.to_owned(), value_of(path, cell)?)));
        rows.push(row.collect::<Result<Row, Failure>>()?);
    }
    Ok(rows)
}

fn value_of(path: &Path, cell: &str) -> Result<Value, Failure> {
    serde_saphyr::from_str(cell).map_err(|error| bad(path, &format!("the cell {cell:?}: {error}")))
}

fn refused(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::error(format!("the node would refuse {what}")).why(error)
}

fn bad(path: &Path, why: &str) -> Failure {
    Failure::error(format!("{} is no table of nodes", path.display())).why(why).hint(HOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> String {
        let ca = pki::Ca::create(&pki::SubjectName::parse("ca").unwrap(), pki::Validity::UNLIMITED).unwrap();
        let pem = ca.bundle().to_pem().replace('\n', "\n    ");
        format!("apiVersion: cairn.dev/v1alpha1\nkind: Api\nclientCAs:\n  - |\n    {pem}\n")
    }

    fn run(name: &str, table: &str) -> (tempfile::TempDir, Result<(), Failure>) {
        let folder = tempfile::tempdir().unwrap();
        let values = folder.path().join(name);
        std::fs::write(&values, table).unwrap();
        let made = generate(&base(), &values, &folder.path().join("out"));
        (folder, made)
    }

    #[test]
    fn each_row_becomes_a_file() {
        let csv = "Machine.hostname,Machine.labels.site,Interface/eth0.addresses,Interface/eth0.gateway\n\
                   shop-1,berlin,\"[10.0.1.5/24]\",10.0.1.1\nshop-2,,,\n";
        let yaml = "- {Machine.hostname: shop-1, Machine.labels.site: berlin, Interface/eth0.addresses: [10.0.1.5/24], \
                    Interface/eth0.gateway: 10.0.1.1}\n- {Machine.hostname: shop-2}\n";
        for (name, table) in [("nodes.csv", csv), ("nodes.yaml", yaml)] {
            let (folder, made) = run(name, table);
            made.unwrap();
            let read = |node: &str| {
                let text = std::fs::read_to_string(folder.path().join("out").join(node)).unwrap();
                config::parse(&text).unwrap()
            };
            let first = read("shop-1.yaml");
            assert_eq!(first.labels["site"], "berlin");
            assert_eq!(first.interfaces[0].gateway.unwrap().to_string(), "10.0.1.1");
            assert_eq!(read("shop-2.yaml").interfaces, []);
        }
    }

    #[test]
    fn one_bad_row_leaves_nothing_behind() {
        for (table, told) in [
            ("Machine.hostname,Machine.hostnam\na,x\n", "hostnam"),
            ("Machine.hostname\na\na\n", "twice"),
            ("Machine.labels.site\nb\n", "has no Machine.hostname"),
            ("Machine.hostname,site\na,b\n", "names no field"),
            ("Machine.hostname\n", "no rows"),
            ("Machine.hostname\na\nNot Good\n", "hostname"),
        ] {
            let (folder, made) = run("nodes.csv", table);
            let failure = made.unwrap_err().render();
            assert!(failure.contains(told), "{table}: {failure}");
            assert!(!folder.path().join("out").exists(), "{table}");
        }
    }
}

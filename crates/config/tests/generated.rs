//! The committed reference and schema are those of the tables. `CAIRN_BLESS=1` rewrites them.

use std::{env, fs, path::PathBuf};

use serde_json::Value;

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

fn bless(name: &str, text: &str) {
    if env::var_os("CAIRN_BLESS").is_some() {
        fs::create_dir_all(docs(name).parent().unwrap()).unwrap();
        fs::write(docs(name), text).unwrap();
    }
}

#[test]
fn the_reference_is_that_of_the_tables() {
    const NAME: &str = "configuration.md";
    bless(NAME, &config::reference());
    let committed = fs::read_to_string(docs(NAME)).unwrap();
    assert!(committed == config::reference(), "docs/{NAME} is old; CAIRN_BLESS=1 rewrites it");
}

#[test]
fn the_schema_is_that_of_the_tables() {
    const NAME: &str = "schema/cairn.dev_v1alpha1.json";
    bless(NAME, &format!("{:#}\n", config::json_schema()));
    let committed: Value = serde_json::from_str(&fs::read_to_string(docs(NAME)).unwrap()).unwrap();
    assert!(committed == config::json_schema(), "docs/{NAME} is old; CAIRN_BLESS=1 rewrites it");
}

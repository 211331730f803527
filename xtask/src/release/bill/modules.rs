//! Go modules, as a program itself says (`go version -m`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use release::sbom::Component;

use crate::{cache, sdk::Sdk};

/// Where the folder of programs is bound inside the SDK.
const INSIDE: &str = "/cairn/programs";

/// What the programs of a folder are made of, by program.
pub fn read(sdk: &Sdk, folder: &Path) -> Result<BTreeMap<PathBuf, BTreeSet<Component>>> {
    let output = sdk.command("go").bind(folder, INSIDE).args(["version", "-m", INSIDE]).output()?;
    let sources = cache::scratch("go/mod")?;
    let mut programs = BTreeMap::new();
    for (program, modules) in parse(&String::from_utf8(output.stdout)?) {
        let name = program.strip_prefix(INSIDE).context("go names a program elsewhere")?;
        let components = modules.iter().map(|module| component(module, &sources)).collect();
        programs.insert(folder.join(name.trim_start_matches('/')), components);
    }
    Ok(programs)
}

#[derive(Debug, PartialEq, Eq)]
struct Module {
    path: String,
    version: String,
}

/// Modules by program; a replaced one is what replaces it.
fn parse(text: &str) -> Vec<(String, Vec<Module>)> {
    let mut programs: Vec<(String, Vec<Module>)> = Vec::new();
    for line in text.lines() {
        if !line.starts_with('\t') {
            let Some((program, compiler)) = line.split_once(": ") else { continue };
            let version = compiler.trim_start_matches("go").split(' ').next().unwrap_or_default();
            programs.push((program.to_owned(), vec![Module { path: "std".into(), version: version.into() }]));
            continue;
        }
        let fields: Vec<&str> = line.trim().split('\t').collect();
        let Some((_, modules)) = programs.last_mut() else { continue };
        let (["dep" | "mod", path, version, ..] | ["=>", path, version, ..]) = fields[..] else { continue };
        if fields[0] == "=>" {
            modules.pop();
        }
        // The main module of ours has no version.
        if version != "(devel)" {
            modules.push(Module { path: path.into(), version: version.into() });
        }
    }
    programs
}

fn component(module: &Module, sources: &Path) -> Component {
    let Module { path, version } = module;
    Component {
        name: path.clone(),
        version: version.clone(),
        purl: format!("pkg:golang/{path}@{}", version.replace('+', "%2B")),
        license: license(module, sources),
        license_comment: None,
        checksum: None,
    }
}

fn license(module: &Module, sources: &Path) -> Option<String> {
    if module.path == "std" {
        return Some("BSD-3-Clause".into());
    }
    let folder = sources.join(format!("{}@{}", escaped(&module.path), escaped(&module.version)));
    let text = ["LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING", "License.txt"]
        .iter()
        .find_map(|name| fs::read_to_string(folder.join(name)).ok())?;
    recognise(&text).map(str::to_owned)
}

/// As the module cache writes upper case (golang.org/ref/mod, Module cache).
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        if letter.is_ascii_uppercase() {
            out.push('!');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// The licence by the words that no other has.
fn recognise(text: &str) -> Option<&'static str> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let has = |words: &str| text.contains(words);
    let bsd = has("Redistribution and use in source and binary forms");
    match () {
        () if has("Apache License Version 2.0") => Some("Apache-2.0"),
        () if has("Mozilla Public License") && has("ersion 2.0") => Some("MPL-2.0"),
        () if has("Permission is hereby granted, free of charge") => Some("MIT"),
        () if bsd && has("name of") => Some("BSD-3-Clause"),
        () if bsd => Some("BSD-2-Clause"),
        () if has("Permission to use, copy, modify, and/or distribute this software for any") => Some("ISC"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_is_read() {
        let text = "/cairn/programs/kubernetes: go1.26.1 X:nodwarf5\n\tpath\tcairn.dev/components/kubernetes\n\
                    \tmod\tcairn.dev/components/kubernetes\t(devel)\t\n\
                    \tdep\tgithub.com/a/b\tv1.2.3\th1:x=\n\tdep\tk8s.io/api\tv0.0.0\n\t=>\tk8s.io/other\tv0.37.2\th1:y=\n\
                    \tbuild\t-ldflags=\"-s\"\n/cairn/programs/bridge: go1.26.1\n\
                    \tmod\tgithub.com/containernetworking/plugins\tv1.9.0\th1:z=\n";
        let module = |path: &str, version: &str| Module { path: path.into(), version: version.into() };
        let expected = [
            (
                "/cairn/programs/kubernetes".to_owned(),
                vec![
                    module("std", "1.26.1"),
                    module("github.com/a/b", "v1.2.3"),
                    module("k8s.io/other", "v0.37.2"),
                ],
            ),
            (
                "/cairn/programs/bridge".to_owned(),
                vec![module("std", "1.26.1"), module("github.com/containernetworking/plugins", "v1.9.0")],
            ),
        ];
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn licences_are_told_apart_and_nothing_is_guessed() {
        assert_eq!(recognise("  Apache License\n   Version 2.0, January 2004"), Some("Apache-2.0"));
        let bsd = "Redistribution and use in source and\nbinary forms, with or without";
        assert_eq!(recognise(bsd), Some("BSD-2-Clause"));
        assert_eq!(recognise(&format!("{bsd}\nNeither the name of x")), Some("BSD-3-Clause"));
        assert_eq!(recognise("all rights reserved"), None);
        assert_eq!(escaped("github.com/BurntSushi/toml"), "github.com/!burnt!sushi/toml");
    }
}

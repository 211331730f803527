//! Which shared libraries a program needs, by reading its dynamic section.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use object::{
    Endianness,
    elf::{DT_NEEDED, FileHeader64},
    read::elf::{Dyn as _, FileHeader as _},
};

const LIBRARY_FOLDERS: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/systemd"];

/// All libraries that the programs load, directly or not: name to file below `root`.
pub fn closure(root: &Path, programs: &[PathBuf]) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open: Vec<PathBuf> = programs.to_vec();
    while let Some(program) = open.pop() {
        for name in needed(&program)? {
            if found.contains_key(&name) {
                continue;
            }
            let path =
                LIBRARY_FOLDERS.iter().map(|folder| root.join(folder).join(&name)).find(|path| path.exists());
            let Some(path) = path else {
                bail!("{} needs {name}, which the SDK does not have", program.display())
            };
            open.push(path.clone());
            found.insert(name, path);
        }
    }
    Ok(found)
}

fn needed(path: &Path) -> Result<Vec<String>> {
    let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&data).with_context(|| format!("{} is no usable ELF file", path.display()))
}

fn parse(data: &[u8]) -> Result<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let mut names = Vec::new();
    let sections = header.sections(endian, data)?;
    let Some((entries, strings)) = sections.dynamic(endian, data)? else { return Ok(names) };
    let strings = sections.strings(endian, data, strings)?;
    for entry in entries {
        if entry.tag(endian) == DT_NEEDED {
            let name = entry.string(endian, strings)?;
            names.push(String::from_utf8(name.to_vec())?);
        }
    }
    Ok(names)
}

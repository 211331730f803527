//! What must not be in a root: shells, interpreters, package managers, SSH, scripts.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

const NAMES: [&str; 20] = [
    "sh", "bash", "dash", "zsh", "ash", "ksh", "fish", "busybox", "toybox", "perl", "python3", "lua", "awk",
    "sed", "apt", "dpkg", "rpm", "ssh", "sshd", "sudo",
];
const PREFIXES: [&str; 5] = ["python", "perl", "apt-", "dpkg-", "ssh-"];

/// Paths below `directory` that must not be there.
pub fn forbidden(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(directory, &mut found)?;
    found.sort();
    Ok(found)
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if kind.is_dir() {
            walk(&entry.path(), found)?;
        } else if is_forbidden(&name) || (kind.is_file() && is_script(&entry.path())?) {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn is_forbidden(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn is_script(path: &Path) -> Result<bool> {
    let mut start = [0; 2];
    let mut file = fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(file.read_exact(&mut start).is_ok() && start == *b"#!")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn shells_links_to_them_and_scripts_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/crun"), "\x7fELF").unwrap();
        assert!(forbidden(root).unwrap().is_empty());
        fs::write(root.join("usr/bin/helper"), "#!/bin/x\n").unwrap();
        fs::write(root.join("usr/bin/python3.13"), "").unwrap();
        symlink("crun", root.join("usr/bin/sh")).unwrap();
        let found = forbidden(root).unwrap();
        assert_eq!(found, ["helper", "python3.13", "sh"].map(|name| root.join("usr/bin").join(name)));
    }
}

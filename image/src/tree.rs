//! A file tree as a plan, and its writer.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A copy of a file.
    File {
        /// From where.
        source: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// A file with this content.
    Text {
        /// Content.
        content: String,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: String,
    },
}

/// Entries by absolute path; parents are made as needed with mode 0755.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// Adds an entry; a second one for the same path is a mistake of the plan.
    pub fn add(&mut self, path: &str, entry: Entry) -> Result<()> {
        if !path.starts_with('/') || path.ends_with('/') {
            bail!("{path:?} is no absolute path");
        }
        for (at, _) in path.match_indices('/').skip(1) {
            self.0.entry(path[..at].to_owned()).or_insert(Entry::Directory { mode: 0o755 });
        }
        match self.0.get(path) {
            None | Some(Entry::Directory { .. }) => self.0.insert(path.to_owned(), entry),
            Some(_) => bail!("{path} is planned twice"),
        };
        Ok(())
    }

    /// A folder.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<()> {
        self.add(path, Entry::Directory { mode })
    }

    /// An executable file.
    pub fn program(&mut self, path: &str, source: &Path) -> Result<()> {
        self.add(path, Entry::File { source: source.to_owned(), mode: 0o755 })
    }

    /// Takes another file in the place of one that is planned.
    pub fn replace(&mut self, path: &str, with: &Path) -> Result<()> {
        match self.0.get_mut(path) {
            Some(Entry::File { source, .. }) => with.clone_into(source),
            _ => bail!("{path} is no file of the plan"),
        }
        Ok(())
    }

    /// A plain file.
    pub fn file(&mut self, path: &str, source: &Path) -> Result<()> {
        self.add(path, Entry::File { source: source.to_owned(), mode: 0o644 })
    }

    /// A file with content.
    pub fn text(&mut self, path: &str, content: impl Into<String>) -> Result<()> {
        self.add(path, Entry::Text { content: content.into(), mode: 0o644 })
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.add(path, Entry::Link { target: target.to_owned() })
    }

    /// Whether something is planned at the path.
    pub fn contains(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// All entries by path.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Writes the tree into a new directory.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let root = Entry::Directory { mode: 0o755 };
        write_entry(directory, &root).with_context(|| format!("cannot create {}", directory.display()))?;
        for (path, entry) in &self.0 {
            let target = directory.join(path.trim_start_matches('/'));
            write_entry(&target, entry).with_context(|| format!("cannot write {path}"))?;
        }
        Ok(())
    }
}

/// Modes are set and not left to creation: the host's umask must not show.
fn write_entry(target: &Path, entry: &Entry) -> Result<()> {
    let mode = match entry {
        Entry::Link { target: to } => return Ok(symlink(to, target)?),
        Entry::Directory { mode } => {
            fs::create_dir(target)?;
            mode
        }
        Entry::File { source, mode } => {
            fs::copy(source, target).with_context(|| format!("cannot copy {}", source.display()))?;
            mode
        }
        Entry::Text { content, mode } => {
            fs::write(target, content)?;
            mode
        }
    };
    Ok(fs::set_permissions(target, fs::Permissions::from_mode(*mode))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_written_once_with_parents_and_modes() {
        let mut tree = Tree::default();
        tree.text("/etc/a/b", "x").unwrap();
        tree.link("/bin", "usr/bin").unwrap();
        tree.directory("/tmp", 0o1777).unwrap();
        assert!(tree.text("/etc/a/b", "y").is_err() && tree.text("etc", "").is_err());
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        tree.write(&root).unwrap();
        assert_eq!(fs::read_to_string(root.join("etc/a/b")).unwrap(), "x");
        assert_eq!(fs::metadata(root.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
        assert_eq!(fs::read_link(root.join("bin")).unwrap(), Path::new("usr/bin"));
        assert!(tree.write(&root).is_err());
    }

    #[test]
    fn only_a_planned_file_is_replaced() {
        let mut tree = Tree::default();
        tree.program("/usr/bin/a", Path::new("/one")).unwrap();
        tree.replace("/usr/bin/a", Path::new("/two")).unwrap();
        let expected = Entry::File { source: "/two".into(), mode: 0o755 };
        assert_eq!(tree.entries().last(), Some(("/usr/bin/a", &expected)));
        assert!(tree.replace("/usr/bin/b", Path::new("/two")).is_err());
        assert!(tree.replace("/usr/bin", Path::new("/two")).is_err());
    }

    #[test]
    fn the_root_itself_has_a_mode_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        // New folders inherit this bit, and like the umask's it must not show.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o2755)).unwrap();
        Tree::default().write(&root).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o7777, 0o755);
    }
}

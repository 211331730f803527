//! A directory of a test's own, gone when the test ends.

use std::fs;
use std::path::{Path, PathBuf};

/// The directory.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it; the name tells tests of one process apart.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cairn-storage-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

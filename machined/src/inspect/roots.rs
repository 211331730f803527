//! Where the kernel shows itself, and reading there within bounds.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

/// Longest file that is read: a table of sockets with some 25,000 rows, or of mounts with as many.
const FILE_MAX_BYTES: u64 = 4 << 20;

/// The directories, so that tests can bring their own.
#[derive(Clone, Debug)]
pub struct Roots {
    /// /proc
    pub proc: PathBuf,
    /// /sys
    pub sys: PathBuf,
    /// /sys/fs/cgroup
    pub cgroups: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), cgroups: "/sys/fs/cgroup".into() }
    }
}

impl Roots {
    /// Ids of all processes, in order.
    pub fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = names(&self.proc).iter().filter_map(|name| name.parse().ok()).collect();
        pids.sort_unstable();
        pids
    }

    /// The folder of a process.
    pub fn process(&self, pid: u32) -> PathBuf {
        self.proc.join(pid.to_string())
    }
}

/// A file of the kernel, of which the rest is left out if it is too long; nothing where it cannot be read.
pub fn read(path: &Path) -> Option<Vec<u8>> {
    read_at_most(path, FILE_MAX_BYTES)
}

/// The same with a bound of one's own.
pub fn read_at_most(path: &Path, max_bytes: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(max_bytes).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A file with a line of text.
pub fn line(path: &Path) -> Option<String> {
    let bytes = read_at_most(path, 4096)?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|line| !line.is_empty())
}

/// Names in a folder, in order; none where it cannot be read.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

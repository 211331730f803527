//! Writer for the cgroup v2 tree (kernel: admin-guide/cgroup-v2.rst).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where PID 1 mounts the tree.
pub const ROOT: &str = "/sys/fs/cgroup";
/// Every controller that the kubelet wants to find below the root.
const CONTROLLERS: &[&str] = &["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];
/// Deepest pod tree walked: kubepods, class, pod, container, and what a container makes of its own.
const DEPTH_MAX: usize = 8;

/// What cannot be done to a cgroup.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The directory.
    #[error("cannot make cgroup {path}")]
    Create {
        /// Below the root.
        path: String,
        #[source]
        source: io::Error,
    },
    /// One of its files.
    #[error("cannot write {value:?} to {file} of cgroup {path}")]
    Write {
        /// Below the root.
        path: String,
        /// Name of the file.
        file: &'static str,
        /// What was to be written.
        value: String,
        #[source]
        source: io::Error,
    },
}

/// Limits of one cgroup; `None` leaves the kernel's default, which is none.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Above this the kernel reclaims and throttles.
    pub memory_high_bytes: Option<u64>,
    /// Above this it kills.
    pub memory_max_bytes: Option<u64>,
    /// Processes and threads.
    pub pids_max: Option<u32>,
    /// Share of the processor under contention (1 to 10000, default 100).
    pub cpu_weight: Option<u32>,
}

/// A mounted tree.
pub struct Cgroups {
    root: PathBuf,
}

impl Cgroups {
    /// The tree mounted there.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes the cgroup `path` ("/system/apid") and its parents.
    pub fn create(&self, path: &str) -> Result<(), CgroupError> {
        fs::create_dir_all(self.directory(path))
            .map_err(|source| CgroupError::Create { path: path.to_owned(), source })
    }

    /// Enables each controller for the children of `path`; returns those that this kernel lacks.
    pub fn delegate(&self, path: &str) -> Vec<&'static str> {
        CONTROLLERS
            .iter()
            .copied()
            .filter(|controller| {
                self.write(path, "cgroup.subtree_control", format!("+{controller}")).is_err()
            })
            .collect()
    }

    /// Sets the limits; tries all of them and returns the first error.
    pub fn limit(&self, path: &str, limits: &Limits) -> Result<(), CgroupError> {
        let values = [
            ("memory.high", limits.memory_high_bytes),
            ("memory.max", limits.memory_max_bytes),
            ("pids.max", limits.pids_max.map(u64::from)),
            ("cpu.weight", limits.cpu_weight.map(u64::from)),
        ];
        values
            .into_iter()
            .filter_map(|(file, value)| Some(self.write(path, file, value?.to_string())))
            .fold(Ok(()), Result::and)
    }

    /// Moves the calling process in.
    pub fn join(&self, path: &str) -> Result<(), CgroupError> {
        self.write(path, "cgroup.procs", "0".to_owned())
    }

    /// Kills every process in it and below.
    pub fn kill(&self, path: &str) -> Result<(), CgroupError> {
        self.write(path, "cgroup.kill", "1".to_owned())
    }

    /// Whether a process lives in it or below. An absent cgroup is empty.
    pub fn is_populated(&self, path: &str) -> bool {
        let events = fs::read_to_string(self.directory(path).join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Processes in it and below.
    pub fn processes(&self, path: &str) -> Vec<u32> {
        let mut processes = Vec::new();
        collect_processes(&self.directory(path), DEPTH_MAX, &mut processes);
        processes
    }

    fn write(&self, path: &str, file: &'static str, value: String) -> Result<(), CgroupError> {
        fs::write(self.directory(path).join(file), &value).map_err(|source| CgroupError::Write {
            path: path.to_owned(),
            file,
            value,
            source,
        })
    }

    fn directory(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

fn collect_processes(directory: &Path, depth: usize, processes: &mut Vec<u32>) {
    let own = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    processes.extend(own.lines().filter_map(|line| line.parse::<u32>().ok()));
    let Some(depth) = depth.checked_sub(1) else { return };
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        collect_processes(&entry.path(), depth, processes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_the_whole_subtree_are_found() {
        let tree = tempfile::tempdir().unwrap();
        let cgroups = Cgroups::new(tree.path());
        cgroups.create("/kubepods/besteffort/pod1/c1").unwrap();
        cgroups.create("/kubepods/pod2").unwrap();
        fs::write(tree.path().join("kubepods/besteffort/pod1/c1/cgroup.procs"), "12\n13\n").unwrap();
        fs::write(tree.path().join("kubepods/pod2/cgroup.procs"), "7\n").unwrap();
        let mut processes = cgroups.processes("/kubepods");
        processes.sort_unstable();
        assert_eq!(processes, [7, 12, 13]);
        assert_eq!(cgroups.processes("/absent"), Vec::<u32>::new());
    }

    #[test]
    fn population_is_read_from_the_events() {
        let tree = tempfile::tempdir().unwrap();
        let cgroups = Cgroups::new(tree.path());
        cgroups.create("/a").unwrap();
        for (events, populated) in [("populated 1\nfrozen 0\n", true), ("populated 0\nfrozen 1\n", false)] {
            fs::write(tree.path().join("a/cgroup.events"), events).unwrap();
            assert_eq!(cgroups.is_populated("/a"), populated);
        }
        assert!(!cgroups.is_populated("/absent"));
    }

    #[test]
    fn only_stated_limits_are_written() {
        let tree = tempfile::tempdir().unwrap();
        let cgroups = Cgroups::new(tree.path());
        cgroups.create("/a").unwrap();
        let limits = Limits {
            memory_high_bytes: None,
            memory_max_bytes: Some(4096),
            pids_max: Some(64),
            cpu_weight: None,
        };
        cgroups.limit("/a", &limits).unwrap();
        assert_eq!(fs::read_to_string(tree.path().join("a/memory.max")).unwrap(), "4096");
        assert_eq!(fs::read_to_string(tree.path().join("a/pids.max")).unwrap(), "64");
        assert!(!tree.path().join("a/memory.high").exists());
        assert!(matches!(
            cgroups.limit("/absent", &limits),
            Err(CgroupError::Write { file: "memory.max", .. })
        ));
    }
}

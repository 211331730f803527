//! Artifacts outside the source tree, keyed by a hash of everything that goes into them.
//!
//! An artifact is a directory `<cache>/artifacts/<name>/<key>`. It is built in a temporary directory beside it and
//! renamed when complete, under a lock, so that clones share artifacts and a killed build leaves nothing half-made.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result};
use aws_lc_rs::digest;
use nix::fcntl::{Flock, FlockArg};

use crate::report::{Step, say};

/// Builds of one artifact that are kept; older ones are removed when a new one is made.
const KEPT_BUILDS: usize = 3;

/// Where artifacts, toolchain caches and nodes lie.
pub fn root() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    let root = base.join("cairn");
    fs::create_dir_all(&root).with_context(|| format!("cannot create the cache {}", root.display()))?;
    Ok(root)
}

/// A directory of the cache that is not an artifact, such as a compiler's own cache.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let path = root()?.join(name);
    fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

/// Collects what an artifact is made of.
pub struct Key(digest::Context);

impl Key {
    /// A key for the recipe `name` at `revision`, which rises when the recipe's code changes its result.
    pub fn new(name: &str, revision: u32) -> Self {
        Self(digest::Context::new(&digest::SHA256)).text(name).text(&revision.to_string())
    }

    /// Adds a text, such as a version or another artifact's key.
    pub fn text(mut self, text: &str) -> Self {
        self.bytes(text.as_bytes());
        self
    }

    /// Adds a file or, recursively and in sorted order, a folder.
    pub fn path(mut self, base: &Path, relative: &str) -> Result<Self> {
        for file in files_below(&base.join(relative))? {
            let name = file.strip_prefix(base).unwrap_or(&file);
            self.bytes(name.as_os_str().as_encoded_bytes());
            let mut content = Vec::new();
            File::open(&file)
                .and_then(|mut f| f.read_to_end(&mut content))
                .with_context(|| format!("cannot read {}", file.display()))?;
            self.bytes(&content);
        }
        Ok(self)
    }

    /// The key in hex.
    pub fn finish(self) -> String {
        hex::encode(&self.0.finish().as_ref()[..12])
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

/// An artifact in the cache.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Its folder.
    pub path: PathBuf,
    /// Its key.
    pub key: String,
}

/// Returns the artifact, building it with `build(into)` when the cache does not have it.
pub fn artifact(
    name: &str,
    key: Key,
    hint: &str,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<Artifact> {
    artifact_in(&scratch("artifacts")?, name, key, hint, build)
}

/// As [`artifact`], in a store of its own below `store`.
pub fn artifact_in(
    store: &Path,
    name: &str,
    key: Key,
    hint: &str,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<Artifact> {
    let key = key.finish();
    let folder = store.join(name);
    fs::create_dir_all(&folder)?;
    let path = folder.join(&key);
    if path.is_dir() {
        touch(&path);
        return Ok(Artifact { path, key });
    }
    let _lock = lock(&folder.join(".lock"), name)?;
    if !path.is_dir() {
        let step = Step::start(name, hint);
        let temporary = folder.join(format!(".{key}.tmp"));
        remove(&temporary)?;
        fs::create_dir_all(&temporary)?;
        build(&temporary).with_context(|| format!("cannot build {name}"))?;
        fs::rename(&temporary, &path)?;
        step.done();
        prune(&folder, &path)?;
    }
    Ok(Artifact { path, key })
}

/// Takes an exclusive lock on a file, saying so when another build holds it.
pub fn lock(path: &Path, what: &str) -> Result<Flock<File>> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((file, _)) => {
            say(&format!("  {what}: waiting for another build of it"));
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
        }
    }
}

/// Removes a folder or file if it is there.
pub fn remove(path: &Path) -> Result<()> {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// All files below a path in sorted order; build products are left out.
pub fn files_below(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut entries: Vec<_> = fs::read_dir(path)
        .with_context(|| format!("cannot list {}", path.display()))?
        .collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut files = Vec::new();
    for entry in entries {
        if entry.file_name() != "target" && entry.file_name() != ".git" {
            files.extend(files_below(&entry.path())?);
        }
    }
    Ok(files)
}

fn touch(path: &Path) {
    // Only orders the pruning: a read-only cache is fine.
    if let Ok(folder) = File::open(path) {
        folder.set_modified(SystemTime::now()).ok();
    }
}

fn prune(folder: &Path, newest: &Path) -> Result<()> {
    let mut builds = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.path() != newest {
            builds.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    builds.sort();
    let surplus = (builds.len() + 1).saturating_sub(KEPT_BUILDS);
    builds.iter().take(surplus).try_for_each(|(_, path)| remove(path))
}

//! Kernel settings by name (sysctl.d(5), kernel Documentation/admin-guide/sysctl).

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{context::Context, files, health::Status};

const ROOT: &str = "/proc/sys";

/// Why a setting has not its value.
#[derive(Debug, thiserror::Error)]
enum SysctlError {
    #[error("this kernel has no setting {name}")]
    Unknown { name: String },
    #[error("the kernel refuses {value:?} for {name}: {source}")]
    Refused { name: String, value: String, source: io::Error },
    #[error("the kernel made {found:?} of {value:?} for {name}")]
    Altered { name: String, value: String, found: String },
    #[error("cannot note what {name} was, so that it could be given back: {source}")]
    Note { name: String, source: io::Error },
}

/// What the settings were before any configuration set them, so that one that is set no more gets its own value back.
/// Kept for as long as the kernel runs, longer than this process may.
struct Former {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

/// Follows the configuration for ever.
pub async fn run(context: &Context) {
    let mut follower = context.follower("sysctls");
    let mut former = Former::read(Path::new(layout::path::RUN).join("former-sysctls.json"));
    loop {
        let config = follower.current();
        let errors = apply(Path::new(ROOT), &mut former, &config.sysctls);
        match errors.as_slice() {
            [] => context.health.set("sysctls", Status::Healthy, "Applied", ""),
            errors => {
                let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                context.health.set("sysctls", Status::Unhealthy, "NotApplied", texts.join("; "));
            }
        }
        follower.settle(&config);
        follower.changed().await;
    }
}

/// Sets them all, and gives back those that are set no more; what fails does not keep the others from being set.
fn apply(root: &Path, former: &mut Former, settings: &BTreeMap<String, String>) -> Vec<SysctlError> {
    let given_back = former.give_back(root, settings);
    let set = settings.iter().map(|(name, value)| {
        former.note(root, name)?;
        set(root, name, value)
    });
    given_back.into_iter().chain(set).filter_map(Result::err).collect()
}

impl Former {
    /// Nothing on the first start since boot. A damaged note is none: then values stay until the next boot.
    fn read(path: PathBuf) -> Self {
        let text = fs::read(&path).unwrap_or_default();
        Self { path, values: serde_json::from_slice(&text).unwrap_or_default() }
    }

    fn give_back(
        &mut self,
        root: &Path,
        settings: &BTreeMap<String, String>,
    ) -> Vec<Result<(), SysctlError>> {
        let unset: Vec<(String, String)> =
            self.values.extract_if(.., |name, _| !settings.contains_key(name)).collect();
        let results = unset.into_iter().map(|(name, value)| {
            let result = set(root, &name, &value);
            if result.is_err() {
                self.values.insert(name, value);
            }
            result
        });
        results.collect()
    }

    /// Notes on disk before the setting is touched.
    fn note(&mut self, root: &Path, name: &str) -> Result<(), SysctlError> {
        // What reads as nothing is a command to the kernel, or is not there at all.
        let value = fs::read_to_string(root.join(relative(name))).unwrap_or_default();
        if self.values.contains_key(name) || value.trim().is_empty() {
            return Ok(());
        }
        self.values.insert(name.to_owned(), value.trim().to_owned());
        let written = serde_json::to_vec(&self.values)
            .map_err(io::Error::from)
            .and_then(|text| files::replace(&self.path, &text, 0o600));
        written.map_err(|source| SysctlError::Note { name: name.to_owned(), source })
    }
}

fn set(root: &Path, name: &str, value: &str) -> Result<(), SysctlError> {
    let path = root.join(relative(name));
    fs::write(&path, value).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => SysctlError::Unknown { name: name.to_owned() },
        _ => SysctlError::Refused { name: name.to_owned(), value: value.to_owned(), source },
    })?;
    let found = fs::read_to_string(&path).unwrap_or_default();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    // Some are for writing only and read as nothing.
    if found.trim().is_empty() || words(&found) == words(value) {
        return Ok(());
    }
    let (name, value, found) = (name.to_owned(), value.to_owned(), found.trim().to_owned());
    Err(SysctlError::Altered { name, value, found })
}

/// Dots separate, and a slash stands for a dot within a name: net.ipv4.conf.eth0/100.forwarding (sysctl.d(5)).
fn relative(name: &str) -> PathBuf {
    name.split('.').map(|part| part.replace('/', ".")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths() {
        assert_eq!(relative("net.ipv4.ip_forward"), Path::new("net/ipv4/ip_forward"));
        assert_eq!(
            relative("net.ipv4.conf.eth0/100.forwarding"),
            Path::new("net/ipv4/conf/eth0.100/forwarding")
        );
    }

    fn settings<const N: usize>(values: [(&str, &str); N]) -> BTreeMap<String, String> {
        values.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn each_failure_is_told_and_keeps_nobody_else_from_being_set() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("vm/folder")).unwrap();
        let mut former = Former::read(root.path().join("former"));
        let settings = settings([("vm.folder", "1"), ("vm.swappiness", "10"), ("no.such", "1")]);
        let errors: Vec<String> =
            apply(root.path(), &mut former, &settings).iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert_eq!(errors[0], "this kernel has no setting no.such");
        assert!(errors[1].starts_with("the kernel refuses \"1\" for vm.folder"), "{errors:?}");
        assert_eq!(fs::read_to_string(root.path().join("vm/swappiness")).unwrap(), "10");
    }

    #[test]
    fn what_is_set_no_more_gets_its_own_value_back_also_by_a_later_process() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("vm")).unwrap();
        let swappiness = root.path().join("vm/swappiness");
        fs::write(&swappiness, "60\n").unwrap();
        let start = || Former::read(root.path().join("former"));
        for value in ["10", "20"] {
            assert!(apply(root.path(), &mut start(), &settings([("vm.swappiness", value)])).is_empty());
            assert_eq!(fs::read_to_string(&swappiness).unwrap(), value);
        }
        assert!(apply(root.path(), &mut start(), &settings([])).is_empty());
        assert_eq!(fs::read_to_string(&swappiness).unwrap(), "60");
    }

    #[test]
    fn a_value_that_cannot_be_given_back_is_named_and_not_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let mut former = Former::read(root.path().join("former"));
        former.values = settings([("vm.swappiness", "60")]);
        for _ in 0..2 {
            let errors = apply(root.path(), &mut former, &settings([]));
            assert_eq!(errors.len(), 1);
            assert_eq!(errors[0].to_string(), "this kernel has no setting vm.swappiness");
        }
    }
}

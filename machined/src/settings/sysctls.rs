//! Kernel settings by name (sysctl.d(5), kernel Documentation/admin-guide/sysctl).

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{context::Context, health::Status};

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
}

/// Follows the configuration for ever.
pub async fn run(context: &Context) {
    let mut follower = context.follower("sysctls");
    loop {
        let config = follower.current();
        let errors = apply(Path::new(ROOT), &config.sysctls);
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

/// Sets them all; what fails does not keep the others from being set.
fn apply(root: &Path, settings: &BTreeMap<String, String>) -> Vec<SysctlError> {
    settings.iter().filter_map(|(name, value)| set(root, name, value).err()).collect()
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

    #[test]
    fn each_failure_is_told_and_keeps_nobody_else_from_being_set() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("vm/folder")).unwrap();
        let settings: BTreeMap<String, String> =
            [("vm.folder", "1"), ("vm.swappiness", "10"), ("no.such", "1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        let errors: Vec<String> = apply(root.path(), &settings).iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert_eq!(errors[0], "this kernel has no setting no.such");
        assert!(errors[1].starts_with("the kernel refuses \"1\" for vm.folder"), "{errors:?}");
        assert_eq!(fs::read_to_string(root.path().join("vm/swappiness")).unwrap(), "10");
    }
}

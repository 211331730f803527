//! What the node is up to, and what of it may be seen and asked from the network.

use serde::Deserialize;

use crate::limits::{self, Bounds};
use crate::roles::{self, Method};

/// The node's state as machined renders it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Configured: clients of its CAs are let in. Without a word of machined's it is this.
    #[default]
    #[serde(alias = "recovery")]
    Running,
    /// Without configuration: anybody may reach the maintenance service, or clients of the medium's CA; nobody else
    /// reaches anything.
    Maintenance,
}

impl Mode {
    /// The row of a method that exists in this mode.
    #[must_use]
    pub fn find(self, path: &str) -> Option<&'static Method> {
        match self {
            Self::Running => roles::find(path),
            Self::Maintenance => roles::MAINTENANCE.iter().find(|method| method.path == path),
        }
    }

    /// How much anybody may take.
    #[must_use]
    pub fn bounds(self) -> &'static Bounds {
        match self {
            Self::Running => &limits::RUNNING,
            Self::Maintenance => &limits::MAINTENANCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_or_not_known_is_never_maintenance() {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            mode: Mode,
        }
        let read = |text| serde_json::from_str::<File>(text).map(|file| file.mode).ok();
        assert_eq!(read("{}"), Some(Mode::Running));
        assert_eq!(read(r#"{"mode":"running"}"#), Some(Mode::Running));
        assert_eq!(read(r#"{"mode":"recovery"}"#), Some(Mode::Running));
        assert_eq!(read(r#"{"mode":"maintenance"}"#), Some(Mode::Maintenance));
        assert_eq!(read(r#"{"mode":"Maintenance"}"#), None);
    }

    #[test]
    fn no_method_exists_in_both_modes() {
        for method in roles::METHODS {
            assert!(Mode::Maintenance.find(method.path).is_none(), "{}", method.path);
        }
        for method in roles::MAINTENANCE {
            assert!(Mode::Running.find(method.path).is_none(), "{}", method.path);
        }
    }
}

//! What the table says about a service.

use std::collections::BTreeSet;

/// One service of the table.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Unique name.
    pub name: &'static str,
    /// Services that must have a process before this one is started; what else it needs of them it waits for itself, so
    /// that both start up side by side. A later end of theirs does not end this one.
    pub dependencies: &'static [&'static str],
    /// A spent restart budget concerns the whole machine ([`crate::Action::EssentialExhausted`]); the service
    /// itself is tried again slowly and never ends as failed.
    pub essential: bool,
    /// When it counts as running.
    pub readiness: Readiness,
    /// How it is started again after an end that nobody asked for.
    pub restart: RestartPolicy,
    /// How it is stopped.
    pub stop: StopPolicy,
}

/// When a started service counts as running.
#[derive(Clone, Copy, Debug)]
pub enum Readiness {
    /// As soon as it has a process.
    Started,
    /// When it says so on the notify socket.
    Notify {
        /// It is stopped and started again when it has not said so by then.
        start_deadline_ms: u64,
        /// Once running, it must give a sign of life at least this often.
        keep_alive_ms: Option<u64>,
    },
}

/// Exponential back-off with jitter, and a budget.
#[derive(Clone, Copy, Debug)]
pub struct RestartPolicy {
    /// Longest wait before the first restart; each further one waits up to twice as long.
    pub initial_ms: u64,
    /// The wait never grows beyond this.
    pub max_ms: u64,
    /// Failures within `window_ms` that are answered by a restart; one more spends the budget.
    pub budget: u32,
    /// Length of the sliding window.
    pub window_ms: u64,
    /// A run of at least this long starts the back-off afresh.
    pub minimum_run_ms: u64,
    /// Wait between the further tries of an essential service whose budget is spent.
    pub slow_ms: u64,
}

/// How a service is stopped: SIGTERM to the main process, then SIGKILL.
#[derive(Clone, Copy, Debug)]
pub struct StopPolicy {
    /// Time between the two.
    pub timeout_ms: u64,
    /// Whom SIGKILL reaches, and what is cleared away when the main process has ended.
    pub scope: KillScope,
}

/// Reach of a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillScope {
    /// The main process only; what it started lives on.
    Main,
    /// Everything in the service's cgroup.
    Group,
}

/// Why a table is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Two services share a name.
    #[error("two services are named {name}")]
    DuplicateName {
        /// The name.
        name: &'static str,
    },
    /// A dependency is not in the table.
    #[error("{service} depends on {dependency}, which is not in the table")]
    UnknownDependency {
        /// Who.
        service: &'static str,
        /// On what.
        dependency: &'static str,
    },
    /// A service depends on itself in the end.
    #[error("{service} depends on itself")]
    Cycle {
        /// A member of the cycle, or one that depends on it.
        service: &'static str,
    },
}

/// Checks names and dependencies.
pub(crate) fn validate(specs: &[Spec]) -> Result<(), TableError> {
    let mut names = BTreeSet::new();
    for spec in specs {
        if !names.insert(spec.name) {
            return Err(TableError::DuplicateName { name: spec.name });
        }
    }
    for spec in specs {
        if let Some(dependency) = spec.dependencies.iter().find(|d| !names.contains(*d)) {
            return Err(TableError::UnknownDependency { service: spec.name, dependency });
        }
    }
    find_cycle(specs)
}

/// Removes services whose dependencies are all removed, until nothing changes; what is left hangs on a cycle.
fn find_cycle(specs: &[Spec]) -> Result<(), TableError> {
    let mut done = BTreeSet::new();
    loop {
        let before = done.len();
        for spec in specs {
            if spec.dependencies.iter().all(|d| done.contains(d)) {
                done.insert(spec.name);
            }
        }
        if done.len() == before {
            break;
        }
    }
    match specs.iter().find(|spec| !done.contains(spec.name)) {
        Some(spec) => Err(TableError::Cycle { service: spec.name }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &'static str, dependencies: &'static [&'static str]) -> Spec {
        Spec {
            name,
            dependencies,
            essential: false,
            readiness: Readiness::Started,
            restart: RestartPolicy {
                initial_ms: 1,
                max_ms: 1,
                budget: 1,
                window_ms: 1,
                minimum_run_ms: 1,
                slow_ms: 1,
            },
            stop: StopPolicy { timeout_ms: 1, scope: KillScope::Group },
        }
    }

    #[test]
    fn tables_are_checked() {
        assert_eq!(validate(&[spec("a", &["b"]), spec("b", &[])]), Ok(()));
        assert_eq!(validate(&[spec("a", &[]), spec("a", &[])]), Err(TableError::DuplicateName { name: "a" }));
        assert_eq!(
            validate(&[spec("a", &["x"])]),
            Err(TableError::UnknownDependency { service: "a", dependency: "x" })
        );
        assert_eq!(
            validate(&[spec("c", &[]), spec("a", &["b"]), spec("b", &["a"])]),
            Err(TableError::Cycle { service: "a" })
        );
    }
}

//! Conditions of the node: what is well, what is not, since when, and what to do.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use tokio::sync::watch;

/// Every condition. Each stands as progressing until its controller has spoken: silence is not health.
pub const CONDITIONS: [&str; 21] = [
    "configuration",
    "containerd",
    "disks",
    "firewall",
    "images",
    "integrity",
    "kubelet",
    "logging",
    "logs",
    "network",
    "pods",
    "resolver",
    "services",
    "space",
    "storage",
    "swap",
    "sysctls",
    "time",
    "update",
    "volumes",
    "watchdog",
];

/// How a condition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Well.
    Healthy,
    /// Not yet or not any more, and expected to recover by itself.
    Progressing,
    /// Needs someone.
    Unhealthy,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// How it stands.
    pub status: Status,
    /// Stable CamelCase reason.
    pub reason: &'static str,
    /// What is wrong and what to do; empty when healthy.
    pub message: String,
    /// Since when it stands so.
    pub since: SystemTime,
}

/// All conditions, by name.
pub type Conditions = BTreeMap<&'static str, Condition>;

/// The conditions as controllers share them. A controller sets them; who waits for one subscribes.
#[derive(Clone)]
pub struct Health(Arc<watch::Sender<Conditions>>);

impl Default for Health {
    fn default() -> Self {
        let health = Self(Arc::new(watch::Sender::default()));
        for name in CONDITIONS {
            health.set(name, Status::Progressing, "Starting", "nothing is known of it yet");
        }
        health
    }
}

impl Health {
    /// Sets a condition. The time changes with status and reason only.
    pub fn set(&self, name: &'static str, status: Status, reason: &'static str, message: impl Into<String>) {
        let message = message.into();
        self.0.send_if_modified(|conditions| match conditions.get_mut(name) {
            Some(known) if known.status == status && known.reason == reason => {
                known.message = message;
                false
            }
            _ => {
                if status == Status::Unhealthy {
                    tracing::warn!(condition = name, reason, message, "unhealthy");
                }
                conditions.insert(name, Condition { status, reason, message, since: SystemTime::now() });
                true
            }
        });
    }

    /// All conditions as they are now.
    pub fn snapshot(&self) -> Vec<(&'static str, Condition)> {
        self.0.borrow().iter().map(|(name, condition)| (*name, condition.clone())).collect()
    }

    /// The conditions; told of every change of a status or a reason.
    pub fn subscribe(&self) -> watch::Receiver<Conditions> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_last_change_of_reason() {
        let health = Health::default();
        let network = || health.snapshot().into_iter().find(|(name, _)| *name == "network").unwrap().1;
        health.set("network", Status::Progressing, "NoLease", "1 s");
        let first = network().since;
        let changes = health.subscribe();
        health.set("network", Status::Progressing, "NoLease", "2 s");
        assert_eq!(network().since, first);
        assert_eq!(network().message, "2 s");
        assert!(!changes.has_changed().unwrap());
        health.set("network", Status::Healthy, "Bound", "");
        assert_eq!(network().status, Status::Healthy);
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn what_nobody_has_spoken_of_is_not_healthy() {
        let conditions = Health::default().snapshot();
        assert_eq!(conditions.len(), CONDITIONS.len());
        assert!(conditions.iter().all(|(_, condition)| condition.status == Status::Progressing));
    }
}

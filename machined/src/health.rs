//! Conditions of the node: what is well, what is not, since when, and what to do.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Every condition. Each stands as progressing until its controller has spoken: silence is not health.
pub const CONDITIONS: [&str; 10] = [
    "configuration",
    "containerd",
    "images",
    "integrity",
    "kubelet",
    "network",
    "pods",
    "services",
    "storage",
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
#[derive(Clone)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Condition>>>);

impl Default for Health {
    fn default() -> Self {
        let health = Self(Arc::default());
        for name in CONDITIONS {
            health.set(name, Status::Progressing, "Starting", "nothing is known of it yet");
        }
        health
    }
}

impl Health {
    /// Sets a condition. The time changes with status and reason only.
    pub fn set(&self, name: &'static str, status: Status, reason: &'static str, message: impl Into<String>) {
        let mut conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let message = message.into();
        match conditions.get_mut(name) {
            Some(known) if known.status == status && known.reason == reason => known.message = message,
            _ => {
                if status == Status::Unhealthy {
                    tracing::warn!(condition = name, reason, message, "unhealthy");
                }
                conditions.insert(name, Condition { status, reason, message, since: SystemTime::now() });
            }
        }
    }

    /// All conditions as they are now.
    pub fn snapshot(&self) -> Vec<(&'static str, Condition)> {
        let conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.iter().map(|(name, condition)| (*name, condition.clone())).collect()
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
        health.set("network", Status::Progressing, "NoLease", "2 s");
        assert_eq!(network().since, first);
        assert_eq!(network().message, "2 s");
        health.set("network", Status::Healthy, "Bound", "");
        assert_eq!(network().status, Status::Healthy);
    }

    #[test]
    fn what_nobody_has_spoken_of_is_not_healthy() {
        let conditions = Health::default().snapshot();
        assert_eq!(conditions.len(), CONDITIONS.len());
        assert!(conditions.iter().all(|(_, condition)| condition.status == Status::Progressing));
    }
}

//! What is watched of a node: its conditions and its pods.

use std::collections::BTreeSet;

use resource::{Spec as _, spec::Pod};
use update::Before;

use crate::{
    health::{Condition, Conditions, Health, Status},
    store::Store,
};

/// Without them no release is of use, whatever was the case before.
const NEEDED: [&str; 2] = ["containerd", "kubelet"];
/// Conditions that say nothing of a release: its own, whether somebody else can be reached, and whether DATA has room for
/// logs.
const ASIDE: [&str; 5] = [
    "logging",
    crate::cluster::API_SERVERS,
    crate::cluster::MANIFESTS,
    crate::logs::CONDITION,
    super::super::CONDITION,
];
/// What the kubelet calls a pod that does its work.
const RUNNING: &str = "Running";

/// What is healthy now, to be compared after a reboot.
pub fn healthy(health: &Health, store: &Store) -> Before {
    let is_healthy = |(name, condition): &(&'static str, Condition)| {
        condition.status == Status::Healthy && !ASIDE.contains(name)
    };
    Before {
        conditions: health
            .snapshot()
            .iter()
            .filter(|one| is_healthy(one))
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        pods: ready_pods(store).into_iter().collect(),
    }
}

/// Pods that run and are ready, as `namespace/name`.
pub fn ready_pods(store: &Store) -> BTreeSet<String> {
    store.read(|resources| {
        let is_ready = |spec: &serde_json::Value| {
            spec.get("ready") == Some(&true.into()) && spec.get("phase") == Some(&RUNNING.into())
        };
        let pods = resources.list(const { &Pod::KIND }).filter(|resource| is_ready(&resource.spec));
        pods.map(|resource| resource.id.clone()).collect()
    })
}

/// What is not well yet, in words.
pub fn unwell(conditions: &Conditions, ready: &BTreeSet<String>, before: &Before) -> Vec<String> {
    let needed = NEEDED.iter().copied();
    let names: BTreeSet<&str> = needed.chain(before.conditions.iter().map(String::as_str)).collect();
    let conditions = names.into_iter().filter_map(|name| complaint(name, conditions.get(name)));
    let pods = before.pods.iter().filter(|pod| !ready.contains(*pod));
    conditions.chain(pods.map(|pod| format!("pod {pod} does not run"))).collect()
}

/// A condition that this release does not know was healthy under the one before, and is no fault of it.
fn complaint(name: &str, condition: Option<&Condition>) -> Option<String> {
    let Condition { status, reason, message, .. } = condition?;
    match (status, message.is_empty()) {
        (Status::Healthy, _) => None,
        (Status::Progressing | Status::Unhealthy, true) => Some(format!("{name}: {reason}")),
        (Status::Progressing | Status::Unhealthy, false) => Some(format!("{name}: {reason}: {message}")),
    }
}

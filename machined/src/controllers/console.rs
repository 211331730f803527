//! What is wrong with the node, on its console: without a network it is the only place where anyone can see it.

use std::{collections::BTreeMap, error::Error};

use control::Request;

use crate::{
    control_client::Control,
    health::{Condition, Health, Status},
};

/// Reasons of the unhealthy conditions that were said last.
type Said = BTreeMap<&'static str, &'static str>;

/// Follows the conditions for ever.
pub async fn run(health: &Health, control: &Control) {
    let mut changes = health.subscribe();
    let mut said = Said::new();
    loop {
        changes.mark_unchanged();
        for line in news(&health.snapshot(), &mut said) {
            if let Err(error) = control.request(Request::Console(line)).await {
                tracing::warn!(error = &error as &dyn Error, "the console line is not shown");
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Each trouble once, with what to do about it, and its end.
fn news(conditions: &[(&'static str, Condition)], said: &mut Said) -> Vec<String> {
    let line = |(name, condition): &(&'static str, Condition)| match condition.status {
        Status::Unhealthy if said.insert(*name, condition.reason) != Some(condition.reason) => {
            Some(format!("{name}: {}", condition.message))
        }
        Status::Healthy if said.remove(name).is_some() => Some(format!("{name}: healthy again")),
        Status::Unhealthy | Status::Healthy | Status::Progressing => None,
    };
    conditions.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn each_trouble_is_said_once_and_so_is_its_end() {
        let mut said = Said::new();
        let mut told = |status, reason| {
            let condition =
                Condition { status, reason, message: "pull".into(), since: SystemTime::UNIX_EPOCH };
            news(&[("network", condition)], &mut said)
        };
        assert!(told(Status::Progressing, "Starting").is_empty());
        assert!(told(Status::Healthy, "Bound").is_empty());
        assert_eq!(told(Status::Unhealthy, "NoCarrier"), ["network: pull"]);
        assert!(told(Status::Unhealthy, "NoCarrier").is_empty());
        assert!(told(Status::Progressing, "WaitingForLease").is_empty());
        assert_eq!(told(Status::Unhealthy, "NoDhcpServer"), ["network: pull"]);
        assert_eq!(told(Status::Healthy, "Bound"), ["network: healthy again"]);
        assert!(told(Status::Healthy, "Bound").is_empty());
    }
}

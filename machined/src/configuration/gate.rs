//! The gate of a change: what it touched must be healthy again in time, and stay so for a moment.

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    health::{Condition, Conditions, Status},
    kubernetes::{POD_FAILING, PODS_STARTING},
};

/// How long conditions must hold. A service that ends right after its start is reported within it.
const HOLD: Duration = Duration::from_secs(3);

/// What the kubelet says of pods that it has taken. Whether their programs work, and whether their images come over a
/// thin link, is not the configuration's matter.
const TAKEN: [&str; 2] = [PODS_STARTING, POD_FAILING];

/// Waits until all named conditions are well and have held so, or says what is wrong at the deadline.
pub async fn pass(
    mut conditions: watch::Receiver<Conditions>,
    names: &BTreeSet<&'static str>,
    within: Duration,
) -> Result<(), String> {
    if names.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + within;
    let mut well_since: Option<Instant> = None;
    loop {
        let unwell = first_unwell(&conditions.borrow_and_update(), names);
        well_since = if unwell.is_some() { None } else { well_since.or_else(|| Some(Instant::now())) };
        tokio::select! {
            biased;
            () = until(well_since.map(|since| (since + HOLD).min(deadline))) => return Ok(()),
            changed = timeout_at(deadline, conditions.changed()) => if !matches!(changed, Ok(Ok(()))) {
                return first_unwell(&conditions.borrow(), names).map_or(Ok(()), Err);
            },
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn first_unwell(conditions: &Conditions, names: &BTreeSet<&'static str>) -> Option<String> {
    names.iter().find_map(|name| match conditions.get(name) {
        Some(Condition { status: Status::Healthy, .. }) => None,
        Some(Condition { reason, .. }) if *name == "pods" && TAKEN.contains(reason) => None,
        Some(Condition { reason, message, .. }) if message.is_empty() => Some(format!("{name}: {reason}")),
        Some(Condition { reason, message, .. }) => Some(format!("{name}: {reason}: {message}")),
        None => Some(format!("{name}: nobody reports it")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;

    const WITHIN: Duration = Duration::from_secs(90);

    fn start(health: &Health, names: &[&'static str]) -> tokio::task::JoinHandle<Result<(), String>> {
        let (conditions, names) = (health.subscribe(), names.iter().copied().collect());
        tokio::spawn(async move { pass(conditions, &names, WITHIN).await })
    }

    #[tokio::test(start_paused = true)]
    async fn what_recovers_in_time_passes() {
        let health = Health::default();
        health.set("kubelet", Status::Unhealthy, "Stopped", "");
        let gate = start(&health, &["kubelet"]);
        tokio::time::advance(Duration::from_secs(40)).await;
        health.set("kubelet", Status::Healthy, "Running", "");
        let before = Instant::now();
        assert_eq!(gate.await.unwrap(), Ok(()));
        assert_eq!(before.elapsed(), HOLD);
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_of_health_is_not_enough() {
        let health = Health::default();
        health.set("kubelet", Status::Healthy, "Running", "");
        let gate = start(&health, &["kubelet"]);
        tokio::time::sleep(HOLD - Duration::from_millis(1)).await;
        health.set("kubelet", Status::Unhealthy, "Restarting", "it ended");
        let reason = gate.await.unwrap().unwrap_err();
        assert_eq!(reason, "kubelet: Restarting: it ended");
    }

    #[tokio::test(start_paused = true)]
    async fn pods_need_only_be_taken() {
        let health = Health::default();
        let (pods, network) = (start(&health, &["pods"]), start(&health, &["network"]));
        tokio::time::sleep(HOLD).await;
        health.set("pods", Status::Unhealthy, POD_FAILING, "web: ImagePullBackOff");
        assert_eq!(pods.await.unwrap(), Ok(()));
        assert!(network.await.unwrap().unwrap_err().starts_with("network: Starting: "));
        health.set("pods", Status::Unhealthy, "PodRejected", "web");
        assert!(start(&health, &["pods"]).await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn others_do_not_count() {
        let health = Health::default();
        health.set("images", Status::Unhealthy, "ImportFailed", "");
        assert_eq!(start(&health, &[]).await.unwrap(), Ok(()));
    }
}

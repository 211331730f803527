use std::{future::pending, io::Write as _};

use resource::spec::Pod;

use super::*;
use crate::health::Status;

const DEADLINE: Duration = Duration::from_secs(300);

fn check(name: &str, result: Option<Result<(), String>>) -> Check {
    let work = async move {
        match result {
            Some(result) => result,
            None => pending().await,
        }
    };
    Check { name: name.to_owned(), work: Box::pin(work) }
}

fn before() -> Before {
    Before {
        conditions: ["network", "unheard-of"].map(str::to_owned).into(),
        pods: vec!["default/web".to_owned()],
    }
}

fn ready(store: &Store, ready: bool) {
    store.put("default/web", &Pod { phase: "Running".to_owned(), ready, ..Pod::default() });
}

fn well(health: &Health) {
    for name in ["containerd", "kubelet", "network"] {
        health.set(name, Status::Healthy, "Well", "");
    }
}

async fn judge(checks: Vec<Check>, health: &Health, store: &Store) -> Result<(), String> {
    pass(checks, health, store, &before(), Instant::now() + DEADLINE, &Missing::default()).await
}

#[tokio::test(start_paused = true)]
async fn what_is_well_again_passes_once_it_has_held() {
    let (health, store) = (Health::default(), Store::default());
    let begun = Instant::now();
    let (gate_health, gate_store) = (health.clone(), store.clone());
    let gate =
        tokio::spawn(
            async move { judge(vec![check("probe", Some(Ok(())))], &gate_health, &gate_store).await },
        );
    tokio::time::sleep(Duration::from_secs(30)).await;
    well(&health);
    ready(&store, true);
    tokio::time::sleep(HOLD - Duration::from_millis(1)).await;
    ready(&store, false);
    tokio::time::sleep(Duration::from_secs(20)).await;
    ready(&store, true);
    gate.await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(50) + HOLD * 2 - Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_named() {
    let (health, store) = (Health::default(), Store::default());
    let reason = judge(vec![check("the API is not served", None)], &health, &store).await.unwrap_err();
    for part in [
        "the API is not served",
        "kubelet: Starting",
        "containerd: ",
        "network: ",
        "pod default/web does not run",
    ] {
        assert!(reason.contains(part), "{part} in {reason}");
    }
    assert!(!reason.contains("unheard-of"), "{reason}");
    well(&health);
    ready(&store, true);
    let reason = judge(vec![check("the API is not served", None)], &health, &store).await.unwrap_err();
    assert_eq!(reason, "not in time: the API is not served");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_cannot_succeed_ends_it() {
    let (health, store) = (Health::default(), Store::default());
    let begun = Instant::now();
    let failed = check("the root", Some(Err("cannot read".to_owned())));
    assert_eq!(judge(vec![failed], &health, &store).await.unwrap_err(), "the root: cannot read");
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_root_is_read_through() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![7; 100 * 4096]).unwrap();
    root(file.path().to_owned(), 100).work.await.unwrap();
    let reason = root(file.path().to_owned(), 101).work.await.unwrap_err();
    assert!(reason.contains("at byte 262144"), "{reason}");
}

#[test]
fn only_what_is_healthy_is_remembered() {
    let (health, store) = (Health::default(), Store::default());
    well(&health);
    health.set("update", Status::Healthy, "NothingToDo", "");
    health.set("logging", Status::Healthy, "Sent", "");
    health.set("volumes", Status::Unhealthy, "Missing", "sda");
    ready(&store, true);
    store.put("default/starting", &Pod { phase: "Pending".to_owned(), ..Pod::default() });
    let seen = healthy(&health, &store);
    assert_eq!(seen.conditions, ["containerd", "kubelet", "network"]);
    assert_eq!(seen.pods, ["default/web"]);
}

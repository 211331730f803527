//! From the kubelet's pods to resources. Pure.

use std::collections::HashMap;

use resource::spec::{Container, Pod};

use super::{
    manifests::REVISION,
    rpc::{
        core,
        pods::{EventType, WatchPodsEvent},
    },
};

/// What the kubelet reported since the watch began.
#[derive(Debug, Default)]
pub struct Pods {
    by_uid: HashMap<String, Known>,
    arrivals: u64,
    complete: bool,
}

#[derive(Debug)]
struct Known {
    arrival: u64,
    /// Of its manifest.
    revision: String,
    pod: Pod,
}

impl Pods {
    /// Takes an event in. Returns whether there is something new to publish; nothing is until the present pods are
    /// complete, so that a new watch does not make pods disappear for a moment.
    pub fn apply(&mut self, event: &WatchPodsEvent) -> Result<bool, prost::DecodeError> {
        match event.r#type() {
            EventType::InitialSyncComplete => self.complete = true,
            EventType::Added | EventType::Modified => {
                let pod = <core::Pod as prost::Message>::decode(event.pod.as_slice())?;
                let annotations = pod.metadata.as_ref().map(|metadata| &metadata.annotations);
                let revision = annotations.and_then(|all| all.get(REVISION)).cloned().unwrap_or_default();
                let pod = describe(pod);
                self.arrivals += 1;
                let arrival = self.by_uid.get(&pod.uid).map_or(self.arrivals, |known| known.arrival);
                self.by_uid.insert(pod.uid.clone(), Known { arrival, revision, pod });
            }
            EventType::Deleted => {
                let pod = <core::Pod as prost::Message>::decode(event.pod.as_slice())?;
                self.by_uid.remove(&pod.metadata.unwrap_or_default().uid);
            }
            EventType::Unspecified => {}
        }
        Ok(self.complete)
    }

    /// The pods in order of their arrival: of two with one name, of which one ends, the later is the last.
    pub fn all(&self) -> Vec<Pod> {
        let mut pods: Vec<&Known> = self.by_uid.values().collect();
        pods.sort_by_key(|known| known.arrival);
        pods.into_iter().map(|known| known.pod.clone()).collect()
    }

    /// Whether the kubelet has this revision of a pod under this full name.
    pub fn has(&self, namespace: &str, name: &str, revision: &str) -> bool {
        self.by_uid.values().any(|known| {
            known.revision == revision && known.pod.namespace == namespace && known.pod.name == name
        })
    }
}

fn describe(pod: core::Pod) -> Pod {
    let metadata = pod.metadata.unwrap_or_default();
    let status = pod.status.unwrap_or_default();
    let ready =
        status.conditions.iter().any(|condition| condition.r#type == "Ready" && condition.status == "True");
    let containers: Vec<Container> =
        status.init_container_statuses.into_iter().chain(status.container_statuses).map(container).collect();
    let restarts = containers.iter().map(|container| container.restarts).fold(0, u32::saturating_add);
    let reason = if status.reason.is_empty() { container_reason(&containers) } else { status.reason };
    Pod {
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
        phase: status.phase,
        ready,
        address: status.pod_ip,
        restarts,
        reason,
        containers,
    }
}

/// Of the first container that neither runs nor has done its work.
fn container_reason(containers: &[Container]) -> String {
    let first =
        containers.iter().find(|container| container.state != "running" && container.reason != "Completed");
    first.map(|container| container.reason.clone()).unwrap_or_default()
}

fn container(status: core::ContainerStatus) -> Container {
    let last = status.last_state.and_then(|last| last.terminated);
    let state = status.state.unwrap_or_default();
    let (name, reason, message) = if let Some(ended) = state.terminated {
        let message = exit(&ended);
        ("terminated", ended.reason, message)
    } else if state.running.is_some() {
        ("running", String::new(), String::new())
    } else {
        let waiting = state.waiting.unwrap_or_default();
        ("waiting", waiting.reason, waiting.message)
    };
    // "back-off 20s" alone does not say why.
    let message = match last {
        Some(last) if name == "waiting" => format!("{message}; it ended with {}", exit(&last)),
        Some(_) | None => message,
    };
    // "containerd://<id>"
    let id = status.container_id.rsplit('/').next().unwrap_or_default();
    Container {
        name: status.name,
        id: id.to_owned(),
        image: status.image,
        state: name.to_owned(),
        ready: status.ready,
        restarts: u32::try_from(status.restart_count).unwrap_or_default(),
        reason,
        message,
    }
}

fn exit(ended: &core::ContainerStateTerminated) -> String {
    let code = if ended.signal == 0 {
        format!("exit status {}", ended.exit_code)
    } else {
        format!("signal {}", ended.signal)
    };
    if ended.message.is_empty() { code } else { format!("{code}: {}", ended.message) }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn status(name: &str, state: core::ContainerState) -> core::ContainerStatus {
        core::ContainerStatus { name: name.into(), state: Some(state), ..Default::default() }
    }

    fn waiting(reason: &str) -> core::ContainerState {
        let waiting = core::ContainerStateWaiting { reason: reason.into(), message: "why".into() };
        core::ContainerState { waiting: Some(waiting), ..Default::default() }
    }

    fn terminated(reason: &str, exit_code: i32) -> core::ContainerState {
        let ended = core::ContainerStateTerminated { exit_code, reason: reason.into(), ..Default::default() };
        core::ContainerState { terminated: Some(ended), ..Default::default() }
    }

    fn running() -> core::ContainerState {
        core::ContainerState { running: Some(core::ContainerStateRunning {}), ..Default::default() }
    }

    fn pod(name: &str, uid: &str, containers: Vec<core::ContainerStatus>) -> core::Pod {
        let metadata = core::ObjectMeta {
            name: name.into(),
            namespace: "default".into(),
            uid: uid.into(),
            annotations: [(REVISION.to_owned(), "r1".to_owned())].into(),
        };
        let status = core::PodStatus { container_statuses: containers, ..Default::default() };
        core::Pod { metadata: Some(metadata), status: Some(status) }
    }

    fn event(kind: EventType, pod: &core::Pod) -> WatchPodsEvent {
        WatchPodsEvent { r#type: kind.into(), pod: pod.encode_to_vec() }
    }

    #[test]
    fn nothing_is_published_before_the_present_pods_are_complete() {
        let mut pods = Pods::default();
        assert!(!pods.apply(&event(EventType::Added, &pod("a", "1", vec![]))).unwrap());
        assert!(pods.apply(&event(EventType::InitialSyncComplete, &core::Pod::default())).unwrap());
        assert!(pods.apply(&event(EventType::Modified, &pod("a", "1", vec![]))).unwrap());
        assert_eq!(pods.all().len(), 1);
        pods.apply(&event(EventType::Deleted, &pod("a", "1", vec![]))).unwrap();
        assert!(pods.all().is_empty());
        assert!(pods.apply(&WatchPodsEvent { r#type: 1, pod: vec![0xff] }).is_err());
    }

    #[test]
    fn a_revision_is_told_from_the_one_before_it() {
        let mut pods = Pods::default();
        pods.apply(&event(EventType::Added, &pod("a", "1", vec![]))).unwrap();
        assert!(pods.has("default", "a", "r1"));
        for (namespace, name, revision) in [("default", "a", "r2"), ("default", "b", "r1"), ("x", "a", "r1")]
        {
            assert!(!pods.has(namespace, name, revision));
        }
    }

    #[test]
    fn the_successor_of_a_pod_comes_after_it() {
        let mut pods = Pods::default();
        for uid in ["9", "1"] {
            pods.apply(&event(EventType::Added, &pod("a", uid, vec![]))).unwrap();
        }
        pods.apply(&event(EventType::Modified, &pod("a", "9", vec![]))).unwrap();
        let uids: Vec<String> = pods.all().into_iter().map(|pod| pod.uid).collect();
        assert_eq!(uids, ["9", "1"]);
    }

    #[test]
    fn the_reason_is_that_of_the_first_container_that_is_not_well() {
        let describe = |containers| describe(pod("a", "1", containers));
        assert_eq!(describe(vec![status("a", running()), status("b", running())]).reason, "");
        assert_eq!(
            describe(vec![status("a", running()), status("b", waiting("ErrImageNeverPull"))]).reason,
            "ErrImageNeverPull"
        );
        assert_eq!(describe(vec![status("a", terminated("Error", 3))]).reason, "Error");
        let mut initialising = pod("a", "1", vec![status("main", waiting("PodInitializing"))]);
        initialising.status.as_mut().unwrap().init_container_statuses =
            vec![status("one", terminated("Completed", 0)), status("two", waiting("CrashLoopBackOff"))];
        let described = super::describe(initialising.clone());
        assert_eq!(described.reason, "CrashLoopBackOff");
        assert_eq!(described.containers.len(), 3);
        initialising.status.as_mut().unwrap().reason = "Evicted".into();
        assert_eq!(super::describe(initialising).reason, "Evicted");
    }

    #[test]
    fn containers_are_known_by_their_ids() {
        let started =
            core::ContainerStatus { container_id: "containerd://9ab".into(), ..status("a", running()) };
        let described = describe(pod("a", "1", vec![started, status("b", waiting("ContainerCreating"))]));
        let ids: Vec<&str> = described.containers.iter().map(|container| container.id.as_str()).collect();
        assert_eq!(ids, ["9ab", ""]);
    }

    #[test]
    fn a_crash_loop_says_how_the_container_ended() {
        let mut crashing = status("a", waiting("CrashLoopBackOff"));
        crashing.last_state = Some(terminated("Error", 3));
        crashing.restart_count = 4;
        let described = describe(pod("a", "1", vec![crashing]));
        assert_eq!(described.containers[0].message, "why; it ended with exit status 3");
        assert_eq!(described.restarts, 4);
    }
}

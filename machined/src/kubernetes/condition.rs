//! What services and pods mean for the node's health. Pure.

use config::StaticPod;
use resource::spec::{Pod, Service};

use crate::health::Status;

/// A condition without its name and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it stands.
    pub status: Status,
    /// Stable reason.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl Verdict {
    /// Makes one.
    pub fn new(status: Status, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }
}

/// All configured pods are taken by the kubelet, and one of them fails.
pub const POD_FAILING: &str = "PodFailing";
/// All configured pods are taken by the kubelet, and one of them is not ready yet.
pub const PODS_STARTING: &str = "PodsStarting";

/// Reasons of a container that waits as it should.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// Pods named in a message.
const NAMED_MAX: usize = 3;

/// Health of a service by PID 1's word alone.
pub fn service(name: &str, service: Option<&Service>) -> Verdict {
    let Some(service) = service else {
        return Verdict::new(
            Status::Progressing,
            "Starting",
            format!("PID 1 does not report {name} as started yet"),
        );
    };
    let ended =
        if service.last_exit.is_empty() { String::new() } else { format!(" ({})", service.last_exit) };
    match service.state.as_str() {
        "running" => Verdict::new(Status::Healthy, "Running", ""),
        "failed" => Verdict::new(
            Status::Unhealthy,
            "Failed",
            format!(
                "{name} ended too often{ended}; see `osctl logs {name}`, then `osctl services start {name}`"
            ),
        ),
        "backoff" => Verdict::new(
            Status::Unhealthy,
            "Restarting",
            format!("{name} ended{ended} and will be started again; see `osctl logs {name}`"),
        ),
        "stopped" | "stopping" => Verdict::new(
            Status::Unhealthy,
            "Stopped",
            format!("{name} does not run; `osctl services start {name}` starts it"),
        ),
        _ => Verdict::new(Status::Progressing, "Starting", ""),
    }
}

/// Health of all pods. `missing` are configured pods that the kubelet should have by now and has not.
pub fn pods(pods: &[Pod], missing: &[String]) -> Verdict {
    let failing: Vec<String> = pods.iter().filter_map(failure).collect();
    let mut problems = Vec::new();
    if !missing.is_empty() {
        problems.push(format!(
            "the kubelet did not accept {}, see `osctl logs kubelet` for what is wrong with the manifest",
            some_of(missing)
        ));
    }
    if !failing.is_empty() {
        problems.push(some_of(&failing));
    }
    if !problems.is_empty() {
        let reason = if missing.is_empty() { POD_FAILING } else { "PodRejected" };
        return Verdict::new(Status::Unhealthy, reason, problems.join("; "));
    }
    let starting: Vec<String> = pods.iter().filter(|pod| !is_done(pod)).map(id).collect();
    if !starting.is_empty() {
        return Verdict::new(
            Status::Progressing,
            PODS_STARTING,
            format!("waiting for {}", some_of(&starting)),
        );
    }
    Verdict::new(Status::Healthy, "PodsReady", "")
}

/// Health while the kubelet may still take configured pods up.
pub fn waiting(missing: &[String]) -> Verdict {
    Verdict::new(
        Status::Progressing,
        "PodsPending",
        format!("the kubelet has not taken up {} yet", some_of(missing)),
    )
}

/// Configured pods that the kubelet does not have as they are configured.
pub fn missing(configured: &[StaticPod], has: impl Fn(&StaticPod) -> bool) -> Vec<String> {
    let absent = configured.iter().filter(|pod| !has(pod));
    absent.map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect()
}

/// A static pod's name as the kubelet reports it: it appends the node's.
pub fn full_name(pod: &StaticPod, hostname: &str) -> String {
    format!("{}-{}", pod.name, hostname.to_lowercase())
}

/// Name under which a pod is published.
pub fn id(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

fn is_done(pod: &Pod) -> bool {
    pod.ready || pod.phase == "Succeeded"
}

/// What is wrong with a pod, if it is more than a matter of seconds.
fn failure(pod: &Pod) -> Option<String> {
    let waits = !pod.reason.is_empty() && !STARTING.contains(&pod.reason.as_str());
    if is_done(pod) || !(pod.phase == "Failed" || waits) {
        return None;
    }
    let reason = if pod.reason.is_empty() { "Failed" } else { &pod.reason };
    let container = pod.containers.iter().find(|container| container.reason == pod.reason);
    let details = container.filter(|container| !container.message.is_empty());
    Some(details.map_or_else(
        || format!("{}: {reason}", id(pod)),
        |container| format!("{}: {reason}: {}: {}", id(pod), container.name, container.message),
    ))
}

fn some_of(names: &[String]) -> String {
    let mut text = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use resource::spec::Container;

    use super::*;

    fn pod(name: &str, phase: &str, ready: bool, reason: &str) -> Pod {
        Pod {
            namespace: "default".into(),
            name: name.into(),
            phase: phase.into(),
            ready,
            reason: reason.into(),
            containers: vec![Container {
                name: "main".into(),
                reason: reason.into(),
                message: "details".into(),
                ..Container::default()
            }],
            ..Pod::default()
        }
    }

    #[test]
    fn a_service_is_healthy_only_while_it_runs() {
        let judge = |state: &str| {
            service(
                "kubelet",
                Some(&Service {
                    state: state.into(),
                    last_exit: "exit status 1".into(),
                    ..Service::default()
                }),
            )
        };
        assert_eq!(judge("running").status, Status::Healthy);
        assert_eq!(judge("starting").status, Status::Progressing);
        assert_eq!(judge("backoff").status, Status::Unhealthy);
        assert_eq!(judge("stopped").reason, "Stopped");
        assert!(judge("failed").message.contains("(exit status 1); see `osctl logs kubelet`"));
        assert_eq!(service("kubelet", None).status, Status::Progressing);
    }

    #[test]
    fn a_pod_that_cannot_start_is_named_with_its_reason() {
        let verdict =
            pods(&[pod("a", "Running", true, ""), pod("b", "Pending", false, "ImagePullBackOff")], &[]);
        assert_eq!(verdict.status, Status::Unhealthy);
        assert_eq!(verdict.message, "default/b: ImagePullBackOff: main: details");
        assert_eq!(pods(&[pod("a", "Failed", false, "Evicted")], &[]).reason, "PodFailing");
    }

    #[test]
    fn pods_that_come_up_or_are_done_are_no_failure() {
        assert_eq!(pods(&[], &[]).status, Status::Healthy);
        assert_eq!(pods(&[pod("a", "Succeeded", false, "Completed")], &[]).status, Status::Healthy);
        assert_eq!(pods(&[pod("a", "Pending", false, "ContainerCreating")], &[]).status, Status::Progressing);
        assert_eq!(pods(&[pod("a", "Running", false, "")], &[]).status, Status::Progressing);
    }

    #[test]
    fn a_rejected_manifest_is_noticed() {
        let present = [pod("web-node-1", "Running", true, "")];
        let configured =
            [("default", "web"), ("default", "db"), ("other", "web")].map(|(namespace, name)| StaticPod {
                namespace: namespace.into(),
                name: name.into(),
                manifest: serde_json::Value::Null,
            });
        let has = |pod: &StaticPod| {
            let name = full_name(pod, "Node-1");
            present.iter().any(|other| other.namespace == pod.namespace && other.name == name)
        };
        assert_eq!(missing(&configured, has), ["default/db", "other/web"]);
        let names: Vec<String> = (0..5).map(|n| format!("default/{n}")).collect();
        let verdict = pods(&present, &names);
        assert_eq!(verdict.reason, "PodRejected");
        let both = pods(&[pod("b", "Pending", false, "ImagePullBackOff")], &names).message;
        assert!(both.ends_with("manifest; default/b: ImagePullBackOff: main: details"), "{both}");
        assert!(verdict.message.contains("default/2 and 2 more,"), "{}", verdict.message);
    }
}

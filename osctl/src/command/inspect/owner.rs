//! To whom a process, a cgroup or a socket belongs.

use proto::inspect::v1 as api;
use proto::inspect::v1::OwnerKind;
use serde::Serialize;

/// The owner, as JSON has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Owner {
    /// Threads of the kernel.
    Kernel,
    /// PID 1 and its helpers.
    Init,
    /// Shims of containers.
    Shim,
    /// A service.
    Service {
        /// Its name.
        service: String,
    },
    /// A pod, or a container of one.
    Pod {
        /// Empty, like its name, when the kubelet does not know it.
        namespace: String,
        /// Name.
        name: String,
        /// Id of the pod.
        uid: String,
        /// Empty for the pod as a whole and its sandbox.
        container: String,
        /// Id of the container.
        container_id: String,
    },
}

impl Owner {
    /// From the API; nothing for what a later release may say.
    pub fn new(owner: Option<api::Owner>) -> Option<Owner> {
        let owner = owner?;
        Some(match owner.kind() {
            OwnerKind::Kernel => Owner::Kernel,
            OwnerKind::Init => Owner::Init,
            OwnerKind::Shim => Owner::Shim,
            OwnerKind::Service => Owner::Service { service: owner.service },
            OwnerKind::Pod => Owner::Pod {
                namespace: owner.pod_namespace,
                name: owner.pod_name,
                uid: owner.pod_uid,
                container: owner.container,
                container_id: owner.container_id,
            },
            OwnerKind::Unspecified => return None,
        })
    }

    /// For a column; empty for nobody.
    pub fn shown(owner: Option<&Owner>) -> String {
        match owner {
            None => String::new(),
            Some(Owner::Kernel) => "kernel".into(),
            Some(Owner::Init) => "init".into(),
            Some(Owner::Shim) => "shims".into(),
            Some(Owner::Service { service }) => service.clone(),
            Some(Owner::Pod { namespace, name, uid, container, container_id }) => {
                let pod = if name.is_empty() { format!("pod {uid}") } else { format!("{namespace}/{name}") };
                match (container.is_empty(), container_id.is_empty()) {
                    (false, _) => format!("{pod}/{container}"),
                    (true, true) => pod,
                    // The sandbox, or a container that the kubelet has not told of yet.
                    (true, false) => format!("{pod}/{}", container_id.chars().take(12).collect::<String>()),
                }
            }
        }
    }

    /// Whether it is this service.
    pub fn is_service(owner: Option<&Owner>, wanted: &str) -> bool {
        match owner {
            Some(Owner::Service { service }) => service == wanted,
            Some(Owner::Init) => wanted == "init",
            Some(Owner::Shim) => wanted == "shims",
            Some(Owner::Kernel | Owner::Pod { .. }) | None => false,
        }
    }

    /// Whether it is of this pod: `NAMESPACE/POD`, or a pod in "default". The kubelet appends the host name to the names of
    /// static pods; both forms are taken.
    pub fn is_pod(owner: Option<&Owner>, wanted: &str) -> bool {
        let Some(Owner::Pod { namespace, name, .. }) = owner else { return false };
        let (in_namespace, pod) = wanted.split_once('/').unwrap_or(("default", wanted));
        let is_named = name == pod || name.strip_prefix(pod).is_some_and(|host| host.starts_with('-'));
        namespace == in_namespace && is_named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, container: &str, container_id: &str) -> Owner {
        Owner::Pod {
            namespace: if name.is_empty() { "" } else { "default" }.into(),
            name: name.into(),
            uid: "0a1b".into(),
            container: container.into(),
            container_id: container_id.into(),
        }
    }

    #[test]
    fn owners_are_named() {
        let shown = |owner: Owner| Owner::shown(Some(&owner));
        assert_eq!(shown(pod("hello-edge-1", "main", "9abc")), "default/hello-edge-1/main");
        assert_eq!(shown(pod("hello-edge-1", "", "")), "default/hello-edge-1");
        assert_eq!(shown(pod("hello", "", "0123456789abcdef")), "default/hello/0123456789ab");
        assert_eq!(shown(pod("", "", "")), "pod 0a1b");
        assert_eq!(shown(Owner::Service { service: "apid".into() }), "apid");
        assert_eq!(Owner::shown(None), "");
    }

    #[test]
    fn pods_are_known_with_and_without_the_host_name() {
        let hello = pod("hello-edge-1", "main", "");
        for (wanted, is) in [
            ("hello", true),
            ("default/hello", true),
            ("default/hello-edge-1", true),
            ("hell", false),
            ("kube-system/hello", false),
            ("hello-edge-12", false),
        ] {
            assert_eq!(Owner::is_pod(Some(&hello), wanted), is, "{wanted}");
        }
        assert!(!Owner::is_pod(None, "hello") && !Owner::is_service(Some(&hello), "hello"));
    }

    #[test]
    fn json_says_which_kind() {
        let json = serde_json::to_value(pod("hello", "main", "9a")).unwrap();
        assert_eq!((&json["kind"], &json["containerId"]), (&"pod".into(), &"9a".into()));
        assert_eq!(serde_json::to_value(Owner::Kernel).unwrap(), serde_json::json!({"kind": "kernel"}));
    }
}

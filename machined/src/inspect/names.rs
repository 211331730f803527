//! Names of pods and containers, which cgroups know by their ids only.

use std::collections::HashMap;

use procview::{Owner, PodCgroup};
use proto::inspect::v1 as api;
use resource::{Spec as _, spec};

use crate::store::Store;

/// Of the pods that the kubelet has told of.
#[derive(Default)]
pub struct Names {
    pods: HashMap<String, (String, String)>,
    /// By their ids.
    containers: HashMap<String, String>,
}

impl Names {
    /// As the pods are published at this moment.
    pub fn of(store: &Store) -> Self {
        let kind = const { &spec::Pod::KIND };
        let pods: Vec<_> = store.read(|store| store.list(kind).cloned().collect());
        let pods = pods.iter().filter_map(|pod| serde_json::from_value(pod.spec.clone()).ok());
        Self::from_pods(pods)
    }

    /// Of these pods.
    pub fn from_pods(pods: impl IntoIterator<Item = spec::Pod>) -> Self {
        let mut names = Self::default();
        for pod in pods {
            let containers = pod.containers.into_iter().map(|container| (container.id, container.name));
            names.containers.extend(containers.filter(|(id, _)| !id.is_empty()));
            names.pods.insert(pod.uid, (pod.namespace, pod.name));
        }
        names
    }

    /// The owner of a cgroup.
    pub fn owner(&self, cgroup: &str) -> Option<api::Owner> {
        let of = |kind: api::OwnerKind| api::Owner { kind: kind.into(), ..api::Owner::default() };
        Some(match Owner::of(cgroup)? {
            Owner::Kernel => of(api::OwnerKind::Kernel),
            Owner::Init => of(api::OwnerKind::Init),
            Owner::Shim => of(api::OwnerKind::Shim),
            Owner::Service(service) => api::Owner { service, ..of(api::OwnerKind::Service) },
            Owner::Pod(PodCgroup { uid, container_id }) => {
                let (pod_namespace, pod_name) = self.pods.get(&uid).cloned().unwrap_or_default();
                let container_id = container_id.unwrap_or_default();
                let container = self.containers.get(&container_id).cloned().unwrap_or_default();
                api::Owner {
                    pod_uid: uid,
                    pod_namespace,
                    pod_name,
                    container,
                    container_id,
                    ..of(api::OwnerKind::Pod)
                }
            }
        })
    }
}

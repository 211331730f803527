//! What a change of the configuration does to a node: planned here, carried out elsewhere, exactly as planned.

mod reason;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{Cluster, Interface, Manifests, NodeConfig, Registry, StaticPod, Volume};

/// What is to be done, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One for each subject that differs.
    pub operations: Vec<Operation>,
}

/// What is to be done about one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What it takes.
    pub effect: Effect,
    /// What is touched.
    pub subject: Subject,
    /// What differs, for people. Never holds a secret.
    pub reason: String,
}

/// What it takes for a change to take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing stops.
    Live,
    /// These services are started again.
    Restart(&'static [&'static str]),
    /// Only a reboot does it.
    Reboot,
}

impl Effect {
    /// One word for it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart(_) => "restart",
            Self::Reboot => "reboot",
        }
    }
}

/// A part of the node that one controller looks after.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The node's name.
    HostName,
    /// Its labels.
    Labels,
    /// Client CAs and revoked certificates.
    Trust,
    /// Where the API is served.
    ApiAddresses,
    /// A link, by name.
    Interface(String),
    /// Who reaches what listens on the node.
    Firewall,
    /// Who resolves names.
    Resolver,
    /// The kubelet's settings.
    Kubelet,
    /// The cluster that the node belongs to.
    Cluster,
    /// What a node needs to serve a cluster.
    ControlPlane,
    /// Objects that are applied to the cluster, by the name of their document.
    Manifests(String),
    /// A static pod.
    StaticPod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// How images of a registry are pulled, by host.
    Registry(String),
    /// CAs for outgoing TLS.
    TrustedCertificates,
    /// A kernel setting, by dotted name.
    Sysctl(String),
    /// A disk besides the system's, by name.
    Volume(String),
    /// Compressed swap.
    Swap,
    /// Where lines of logs are sent.
    Logging,
    /// Who is asked for the time.
    Time,
    /// Which releases are followed, and when they are installed.
    Updates,
    /// The disk that an installer may write.
    InstallDisk,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostName => f.write_str("host name"),
            Self::Labels => f.write_str("labels"),
            Self::Trust => f.write_str("trust"),
            Self::ApiAddresses => f.write_str("API addresses"),
            Self::Interface(name) => write!(f, "link {name}"),
            Self::Firewall => f.write_str("firewall"),
            Self::Resolver => f.write_str("resolver"),
            Self::Kubelet => f.write_str("kubelet"),
            Self::Cluster => f.write_str("cluster"),
            Self::ControlPlane => f.write_str("control plane"),
            Self::Manifests(name) => write!(f, "manifests {name}"),
            Self::StaticPod { namespace, name } => write!(f, "pod {namespace}/{name}"),
            Self::Registry(host) => write!(f, "registry {host}"),
            Self::TrustedCertificates => f.write_str("trusted certificates"),
            Self::Sysctl(name) => write!(f, "sysctl {name}"),
            Self::Volume(name) => write!(f, "volume {name}"),
            Self::Swap => f.write_str("swap"),
            Self::Logging => f.write_str("logging"),
            Self::Time => f.write_str("time"),
            Self::Updates => f.write_str("updates"),
            Self::InstallDisk => f.write_str("install disk"),
        }
    }
}

/// Something that must be healthy after a change, before the change is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// The API is served and lets clients of the configured CAs in.
    Api,
    /// A link has its address.
    Link(String),
    /// The kernel has the rules that are configured, or none.
    Firewall,
    /// A configured DNS server answers.
    Resolver,
    /// containerd answers.
    Containerd,
    /// The kubelet answers.
    Kubelet,
    /// The kubelet has taken a pod. Whether the pod's own program works is not the configuration's matter.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A registry, or one of its mirrors, answers.
    Registry(String),
    /// A kernel setting has its value.
    Sysctl(String),
    /// A volume is mounted.
    Volume(String),
    /// The swap is in use.
    Swap,
    /// A log server answers, as far as it says so.
    Logging,
}

impl Plan {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Whether a part of it takes a reboot.
    #[must_use]
    pub fn needs_reboot(&self) -> bool {
        self.operations.iter().any(|operation| operation.effect == Effect::Reboot)
    }

    /// Whether it could cut the admin off, so that he must confirm it over a new connection.
    #[must_use]
    pub fn needs_confirmation(&self) -> bool {
        self.operations.iter().any(|operation| match operation.subject {
            Subject::HostName
            | Subject::Trust
            | Subject::ApiAddresses
            | Subject::Interface(_)
            | Subject::Firewall
            | Subject::Resolver => true,
            Subject::Labels
            | Subject::Kubelet
            | Subject::Cluster
            | Subject::ControlPlane
            | Subject::Manifests(_)
            | Subject::StaticPod { .. }
            | Subject::Registry(_)
            | Subject::TrustedCertificates
            | Subject::Sysctl(_)
            | Subject::Volume(_)
            | Subject::Swap
            | Subject::Logging
            | Subject::Time
            | Subject::Updates
            | Subject::InstallDisk => false,
        })
    }

    /// What must be healthy once `new`, which it was planned for, runs.
    #[must_use]
    pub fn gate(&self, new: &NodeConfig) -> BTreeSet<Condition> {
        let mut conditions = BTreeSet::new();
        for operation in &self.operations {
            conditions.extend(condition(&operation.subject, new));
            if let Effect::Restart(services) = operation.effect {
                conditions.extend(services.iter().filter_map(|service| match *service {
                    KUBELET => Some(Condition::Kubelet),
                    CONTAINERD => Some(Condition::Containerd),
                    _ => None,
                }));
            }
        }
        conditions
    }
}

const KUBELET: &str = "kubelet";
const CONTAINERD: &str = "containerd";
const APID: &str = "apid";

/// The condition of a subject, unless the new configuration has it no more.
fn condition(subject: &Subject, new: &NodeConfig) -> Option<Condition> {
    match subject {
        Subject::HostName | Subject::Trust | Subject::ApiAddresses => Some(Condition::Api),
        Subject::Interface(name) => {
            new.interfaces.iter().any(|link| link.name == *name).then(|| Condition::Link(name.clone()))
        }
        Subject::Firewall => Some(Condition::Firewall),
        Subject::Resolver => new.resolver.is_some().then_some(Condition::Resolver),
        Subject::Kubelet | Subject::Cluster | Subject::ControlPlane => Some(Condition::Kubelet),
        Subject::StaticPod { namespace, name } => pods(new)
            .contains_key(&(namespace.as_str(), name.as_str()))
            .then(|| Condition::Pod { namespace: namespace.clone(), name: name.clone() }),
        Subject::Registry(host) if host == "_default" => Some(Condition::Containerd),
        Subject::Registry(host) => {
            let kept = new.registries.iter().any(|registry| registry.host == *host);
            kept.then(|| Condition::Registry(host.clone()))
        }
        Subject::TrustedCertificates => Some(Condition::Containerd),
        Subject::Sysctl(name) => new.sysctls.contains_key(name).then(|| Condition::Sysctl(name.clone())),
        Subject::Volume(name) => {
            new.volumes.iter().any(|volume| volume.name == *name).then(|| Condition::Volume(name.clone()))
        }
        Subject::Swap => new.swap.is_some().then_some(Condition::Swap),
        Subject::Logging => new.logging.is_some().then_some(Condition::Logging),
        Subject::Labels | Subject::Manifests(_) | Subject::Time | Subject::Updates | Subject::InstallDisk => {
            None
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Operation { effect, subject, reason } in &self.operations {
            match effect {
                Effect::Restart(services) => writeln!(f, "restart {}: {reason}", services.join(", "))?,
                Effect::Live | Effect::Reboot => writeln!(f, "{} {subject}: {reason}", effect.name())?,
            }
        }
        Ok(())
    }
}

/// Settings that say how the kubelet assigns processors and memory. It starts with others only where no container has
/// any yet (kubernetes.io, Control CPU Management Policies on the Node).
const ASSIGNMENT: [&str; 6] = [
    "cpuManagerPolicy",
    "cpuManagerPolicyOptions",
    "memoryManagerPolicy",
    "reservedMemory",
    "reservedSystemCPUs",
    "topologyManagerPolicy",
];

/// What brings a node from one configuration to another.
///
/// The order is one that can be carried out: what uses a thing goes before the thing, and comes after it.
#[must_use]
pub fn plan(old: &NodeConfig, new: &NodeConfig) -> Plan {
    let mut draft = Draft::default();
    let (old_pods, new_pods) = (pods(old), pods(new));
    let (old_volumes, new_volumes) = (volumes(old), volumes(new));
    draft.pods(&old_pods, &new_pods, true);
    draft.whole(Effect::Restart(&[KUBELET]), Subject::HostName, reason::hostname(old, new));
    draft.sysctls(old, new);
    draft.whole(Effect::Live, Subject::Firewall, reason::firewall(old, new));
    draft.each(&links(old), &links(new), Subject::Interface, reason::interface);
    draft.whole(Effect::Live, Subject::Resolver, reason::resolver(old, new));
    let certificates = reason::trusted_certificates(old, new);
    draft.whole(Effect::Restart(&[CONTAINERD]), Subject::TrustedCertificates, certificates);
    draft.each(&registries(old), &registries(new), Subject::Registry, reason::registry);
    let kept = old_volumes.iter().filter(|(name, _)| new_volumes.contains_key(*name));
    let kept = kept.map(|(name, volume)| (*name, *volume)).collect();
    draft.each(&kept, &new_volumes, Subject::Volume, reason::volume);
    draft.whole(Effect::Live, Subject::Swap, reason::swap(old, new));
    let assigns_anew = ASSIGNMENT.iter().any(|name| old.kubelet.get(*name) != new.kubelet.get(*name));
    let effect = if assigns_anew { Effect::Reboot } else { Effect::Restart(&[KUBELET]) };
    draft.whole(effect, Subject::Kubelet, reason::kubelet(old, new));
    draft.whole(cluster_effect(old, new), Subject::Cluster, reason::cluster(old, new));
    draft.whole(Effect::Reboot, Subject::ControlPlane, reason::control_plane(old, new));
    draft.pods(&old_pods, &new_pods, false);
    draft.each(&manifests(old), &manifests(new), Subject::Manifests, reason::manifests);
    let gone = old_volumes.into_iter().filter(|(name, _)| !new_volumes.contains_key(name)).collect();
    draft.each(&gone, &BTreeMap::new(), Subject::Volume, reason::volume);
    draft.whole(Effect::Live, Subject::Trust, reason::trust(old, new));
    draft.whole(Effect::Restart(&[APID]), Subject::ApiAddresses, reason::api_addresses(old, new));
    draft.whole(Effect::Live, Subject::Logging, reason::logging(old, new));
    draft.whole(Effect::Live, Subject::Time, reason::time(old, new));
    draft.whole(Effect::Live, Subject::Updates, reason::updates(old, new));
    draft.whole(Effect::Live, Subject::Labels, reason::labels(old, new));
    draft.whole(Effect::Live, Subject::InstallDisk, reason::install_disk(old, new));
    draft.0
}

/// Which API servers there are, and which address is its own, the node learns while it runs; taints matter when it registers. With anything else of a
/// cluster the pods that run are another's.
fn cluster_effect(old: &NodeConfig, new: &NodeConfig) -> Effect {
    let lasting = |config: &NodeConfig| {
        config.cluster.clone().map(|cluster| Cluster {
            endpoints: Vec::new(),
            node_subnets: Vec::new(),
            taints: Vec::new(),
            ..cluster
        })
    };
    if lasting(old) == lasting(new) { Effect::Live } else { Effect::Reboot }
}

#[derive(Default)]
struct Draft(Plan);

impl Draft {
    fn whole(&mut self, effect: Effect, subject: Subject, reason: Option<String>) {
        self.0.operations.extend(reason.map(|reason| Operation { effect, subject, reason }));
    }

    fn each<T>(
        &mut self,
        old: &BTreeMap<&str, &T>,
        new: &BTreeMap<&str, &T>,
        subject: fn(String) -> Subject,
        reason: fn(Option<&T>, Option<&T>) -> Option<String>,
    ) {
        let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
        for name in names {
            let differs = reason(old.get(name).copied(), new.get(name).copied());
            self.whole(Effect::Live, subject(name.to_owned()), differs);
        }
    }

    fn sysctls(&mut self, old: &NodeConfig, new: &NodeConfig) {
        let names: BTreeSet<&String> = old.sysctls.keys().chain(new.sysctls.keys()).collect();
        for name in names {
            let reason = reason::sysctl(name, old.sysctls.get(name), new.sysctls.get(name));
            self.whole(Effect::Live, Subject::Sysctl(name.clone()), reason);
        }
    }

    fn pods(&mut self, old: &Pods<'_>, new: &Pods<'_>, gone: bool) {
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
        for key in keys.into_iter().filter(|key| gone != new.contains_key(key)) {
            let subject = Subject::StaticPod { namespace: key.0.to_owned(), name: key.1.to_owned() };
            self.whole(Effect::Live, subject, reason::pod(old.get(&key).copied(), new.get(&key).copied()));
        }
    }
}

type Pods<'a> = BTreeMap<(&'a str, &'a str), &'a StaticPod>;

fn pods(config: &NodeConfig) -> Pods<'_> {
    config.static_pods.iter().map(|pod| ((pod.namespace.as_str(), pod.name.as_str()), pod)).collect()
}

fn manifests(config: &NodeConfig) -> BTreeMap<&str, &Manifests> {
    config.manifests.iter().map(|document| (document.name.as_str(), document)).collect()
}

fn links(config: &NodeConfig) -> BTreeMap<&str, &Interface> {
    config.interfaces.iter().map(|link| (link.name.as_str(), link)).collect()
}

fn registries(config: &NodeConfig) -> BTreeMap<&str, &Registry> {
    config.registries.iter().map(|registry| (registry.host.as_str(), registry)).collect()
}

fn volumes(config: &NodeConfig) -> BTreeMap<&str, &Volume> {
    config.volumes.iter().map(|volume| (volume.name.as_str(), volume)).collect()
}

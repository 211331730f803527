//! Every service that can ever run on a node.

use rustix::thread::CapabilitySet;
use supervise::{KillScope, Readiness, RestartPolicy, Spec, StopPolicy};

use crate::cgroup::Limits;

/// One row of the table.
#[derive(Debug)]
pub struct Service {
    /// What the supervisor needs to know.
    pub spec: Spec,
    /// Absolute path.
    pub program: &'static str,
    /// Arguments until machined configures others.
    pub arguments: &'static [&'static str],
    /// Started by PID 1 itself; the others are started by machined.
    pub autostart: bool,
    /// Path below the cgroup root.
    pub cgroup: &'static str,
    /// Limits of that cgroup.
    pub limits: Limits,
    /// See proc_pid_oom_score_adj(5).
    pub oom_score_adj: i16,
    /// RLIMIT_NOFILE, soft and hard.
    pub open_files_max: u64,
    /// User and group id.
    pub user: u32,
    /// Capabilities that it, and what it executes, can ever have.
    pub capabilities: CapabilitySet,
    /// Whether set-user-id programs and file capabilities have an effect.
    pub no_new_privileges: bool,
    /// A mount namespace of its own in which everything is read-only, without STATE and DATA.
    pub read_only_view: bool,
}

/// Environment of every service.
///
/// One heap for all threads of a process, and what is free at its end goes back (mallopt(3)): the daemons' threads are few
/// and seldom busy. The Go programs have an allocator of their own.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/bin:/usr/sbin:/usr/libexec/cairn"),
    ("HOME", "/"),
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_TRIM_THRESHOLD_", "65536"),
];
/// Cgroup of the containers' shims, outside of containerd's so that its restart leaves them alone.
pub const SHIMS_CGROUP: &str = "/podruntime/shims";
/// Cgroup of all pods; made by the kubelet.
pub const PODS_CGROUP: &str = "/kubepods";
/// Cgroup of PID 1 and its helpers.
pub const INIT_CGROUP: &str = "/init";
/// Cgroups with children only.
pub const INNER_CGROUPS: &[&str] = &["/system", "/podruntime", "/cluster"];

const MIB: u64 = 1 << 20;

/// A minute of crashes at most before an essential service is given up for this boot.
const ESSENTIAL_RESTART: RestartPolicy = RestartPolicy {
    initial_ms: 200,
    max_ms: 10_000,
    budget: 6,
    window_ms: 10 * 60_000,
    minimum_run_ms: 60_000,
    slow_ms: 60_000,
};

/// Slower: a kubelet that starts costs seconds of processor time.
const RUNTIME_RESTART: RestartPolicy = RestartPolicy {
    initial_ms: 500,
    max_ms: 30_000,
    budget: 6,
    window_ms: 10 * 60_000,
    minimum_run_ms: 60_000,
    slow_ms: 60_000,
};

/// The programs of a cluster wait for each other by ending and trying again; on a slow machine for minutes.
const CLUSTER_RESTART: RestartPolicy = RestartPolicy {
    initial_ms: 1_000,
    max_ms: 30_000,
    budget: 30,
    window_ms: 10 * 60_000,
    minimum_run_ms: 60_000,
    slow_ms: 60_000,
};

/// What machined's controllers need: mounts and disks, network, clock, files and processes of others.
const MACHINED_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_RESOURCE)
    .union(CapabilitySet::SYS_TIME)
    .union(CapabilitySet::SYSLOG);

/// What Cairn's own daemons have in common: the node cannot do without them, and they hold nothing that their row
/// does not give them.
const OURS: Service = Service {
    spec: Spec {
        name: "",
        dependencies: &[],
        essential: true,
        readiness: Readiness::Notify { start_deadline_ms: 180_000, keep_alive_ms: Some(60_000) },
        restart: ESSENTIAL_RESTART,
        stop: StopPolicy { timeout_ms: 5_000, scope: KillScope::Group },
    },
    program: "",
    arguments: &[],
    autostart: true,
    cgroup: "",
    limits: Limits {
        memory_high_bytes: Some(64 * MIB),
        memory_max_bytes: Some(96 * MIB),
        pids_max: Some(64),
        cpu_weight: Some(400),
    },
    oom_score_adj: -998,
    open_files_max: 8_192,
    user: 0,
    capabilities: CapabilitySet::empty(),
    no_new_privileges: true,
    read_only_view: false,
};

/// What the programs that run pods have in common: they may do anything, and pods outlive them.
const RUNTIME: Service = Service {
    spec: Spec {
        essential: false,
        readiness: Readiness::Notify { start_deadline_ms: 180_000, keep_alive_ms: None },
        restart: RUNTIME_RESTART,
        stop: StopPolicy { timeout_ms: 10_000, scope: KillScope::Main },
        ..OURS.spec
    },
    autostart: false,
    limits: Limits { memory_high_bytes: None, memory_max_bytes: None, pids_max: None, cpu_weight: Some(200) },
    oom_score_adj: -999,
    open_files_max: 1_048_576,
    capabilities: CapabilitySet::all(),
    no_new_privileges: false,
    ..OURS
};

/// What the programs have in common by which a node serves a cluster: they hold no privilege, and a limit of memory
/// that only a leak reaches.
const CLUSTER: Service = Service {
    spec: Spec {
        essential: false,
        readiness: Readiness::Started,
        restart: CLUSTER_RESTART,
        stop: StopPolicy { timeout_ms: 10_000, scope: KillScope::Group },
        ..OURS.spec
    },
    autostart: false,
    limits: Limits {
        memory_high_bytes: None,
        memory_max_bytes: Some(512 * MIB),
        pids_max: Some(1_024),
        cpu_weight: Some(200),
    },
    oom_score_adj: -997,
    open_files_max: 65_536,
    ..OURS
};

/// The table.
pub const SERVICES: &[Service] = &[
    Service {
        // Making or checking file systems on slow flash comes before readiness.
        spec: Spec { name: "machined", ..OURS.spec },
        program: "/usr/bin/machined",
        cgroup: "/system/machined",
        limits: Limits {
            memory_high_bytes: Some(256 * MIB),
            memory_max_bytes: Some(384 * MIB),
            pids_max: Some(256),
            ..OURS.limits
        },
        oom_score_adj: -999,
        open_files_max: 65_536,
        capabilities: MACHINED_CAPABILITIES,
        ..OURS
    },
    Service {
        spec: Spec {
            name: "apid",
            // It waits for what machined renders, so it has machined's time and more.
            readiness: Readiness::Notify { start_deadline_ms: 300_000, keep_alive_ms: Some(60_000) },
            stop: StopPolicy { timeout_ms: 3_000, ..OURS.spec.stop },
            ..OURS.spec
        },
        program: "/usr/bin/apid",
        cgroup: "/system/apid",
        user: layout::APID_UID,
        read_only_view: true,
        ..OURS
    },
    Service {
        // Nothing depends on it: a node without time serves all the same.
        spec: Spec {
            name: "ntp",
            essential: false,
            readiness: Readiness::Notify { start_deadline_ms: 60_000, keep_alive_ms: None },
            restart: RUNTIME_RESTART,
            ..OURS.spec
        },
        program: "/usr/bin/ntp",
        arguments: &["--config", layout::path::NTP_CONFIG],
        autostart: false,
        cgroup: "/system/ntp",
        limits: Limits { memory_high_bytes: Some(24 * MIB), memory_max_bytes: Some(32 * MIB), ..OURS.limits },
        oom_score_adj: -500,
        open_files_max: 1_024,
        user: layout::NTP_UID,
        capabilities: CapabilitySet::SYS_TIME,
        ..OURS
    },
    Service {
        spec: Spec { name: "containerd", ..RUNTIME.spec },
        program: "/usr/bin/containerd",
        arguments: &["--config", layout::path::CONTAINERD_CONFIG],
        cgroup: "/podruntime/containerd",
        ..RUNTIME
    },
    Service {
        spec: Spec {
            name: "kubelet",
            dependencies: &["containerd"],
            readiness: Readiness::Notify { start_deadline_ms: 180_000, keep_alive_ms: Some(120_000) },
            ..RUNTIME.spec
        },
        program: "/usr/bin/kubelet",
        arguments: &["--config", layout::path::KUBELET_CONFIG],
        cgroup: "/podruntime/kubelet",
        ..RUNTIME
    },
    Service {
        spec: Spec {
            name: "kine",
            readiness: Readiness::Notify { start_deadline_ms: 180_000, keep_alive_ms: None },
            ..CLUSTER.spec
        },
        program: "/usr/bin/kine",
        cgroup: "/cluster/kine",
        ..CLUSTER
    },
    Service {
        spec: Spec {
            name: "kube-apiserver",
            dependencies: &["kine"],
            readiness: Readiness::Notify { start_deadline_ms: 300_000, keep_alive_ms: None },
            ..CLUSTER.spec
        },
        program: "/usr/bin/kube-apiserver",
        cgroup: "/cluster/kube-apiserver",
        limits: Limits { memory_max_bytes: Some(2_048 * MIB), ..CLUSTER.limits },
        ..CLUSTER
    },
    Service {
        spec: Spec { name: "kube-controller-manager", dependencies: &["kube-apiserver"], ..CLUSTER.spec },
        program: "/usr/bin/kube-controller-manager",
        cgroup: "/cluster/kube-controller-manager",
        ..CLUSTER
    },
    Service {
        spec: Spec { name: "kube-scheduler", dependencies: &["kube-apiserver"], ..CLUSTER.spec },
        program: "/usr/bin/kube-scheduler",
        cgroup: "/cluster/kube-scheduler",
        ..CLUSTER
    },
    Service {
        // Rules of nftables and settings of the network.
        spec: Spec { name: "kube-proxy", ..CLUSTER.spec },
        program: "/usr/bin/kube-proxy",
        cgroup: "/cluster/kube-proxy",
        capabilities: CapabilitySet::NET_ADMIN,
        ..CLUSTER
    },
];

/// The row of that name.
pub fn find(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.spec.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use supervise::Supervisor;

    #[test]
    fn the_table_is_valid() {
        let specs = SERVICES.iter().map(|service| service.spec.clone()).collect();
        assert!(Supervisor::new(specs, 0).is_ok());
        let cgroups: BTreeSet<_> = SERVICES.iter().map(|service| service.cgroup).collect();
        assert_eq!(cgroups.len(), SERVICES.len());
    }

    #[test]
    fn every_cgroup_is_a_leaf_in_an_inner_one() {
        for service in SERVICES {
            let (parent, _) = service.cgroup.rsplit_once('/').unwrap();
            assert!(INNER_CGROUPS.contains(&parent), "{}", service.cgroup);
        }
    }

    #[test]
    fn essential_services_have_deadlines_and_start_by_themselves() {
        for service in SERVICES.iter().filter(|service| service.spec.essential) {
            let deadlines =
                matches!(service.spec.readiness, Readiness::Notify { keep_alive_ms: Some(_), .. });
            assert!(deadlines && service.autostart, "{}", service.spec.name);
        }
    }

    #[test]
    fn who_faces_the_network_has_no_privilege() {
        let apid = find("apid").unwrap();
        assert!(apid.capabilities.is_empty());
        assert!(apid.no_new_privileges && apid.read_only_view && apid.user != 0);
    }

    #[test]
    fn who_sets_the_clock_may_do_nothing_else() {
        let ntp = find("ntp").unwrap();
        assert_eq!(ntp.capabilities, CapabilitySet::SYS_TIME);
        assert!(ntp.no_new_privileges && ntp.user != 0 && !ntp.spec.essential);
    }

    #[test]
    fn who_serves_a_cluster_holds_no_privilege_of_the_node() {
        for service in SERVICES.iter().filter(|service| service.cgroup.starts_with("/cluster/")) {
            let allowed = match service.spec.name {
                "kube-proxy" => CapabilitySet::NET_ADMIN,
                _ => CapabilitySet::empty(),
            };
            assert_eq!(service.capabilities, allowed, "{}", service.spec.name);
            assert!(service.no_new_privileges && !service.autostart && !service.spec.essential);
            assert!(service.limits.memory_max_bytes.is_some(), "{}", service.spec.name);
        }
    }

    #[test]
    fn pods_outlive_a_restart_of_their_runtime() {
        for name in ["containerd", "kubelet"] {
            assert_eq!(find(name).unwrap().spec.stop.scope, KillScope::Main, "{name}");
        }
    }
}

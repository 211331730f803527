//! Settings that Cairn keeps to itself, each with its reason.

/// Kernel settings that the OS sets for its own safety, or that would run a program of the setter's choice.
/// A trailing `*` stands for anything.
const SYSCTLS: &[(&str, &str)] = &[
    ("kernel.modules_disabled", "the kernel's modules are locked"),
    ("kernel.kexec_load_disabled", "no other kernel may be loaded"),
    ("kernel.modprobe", "it would run a program as root"),
    ("kernel.hotplug", "it would run a program as root"),
    ("kernel.poweroff_cmd", "it would run a program as root"),
    ("kernel.core_pattern", "it would run a program as root"),
    ("kernel.usermodehelper.*", "it would run a program as root"),
    ("kernel.panic*", "a node whose kernel fails must restart"),
    ("vm.panic_on_oom", "the kubelet needs it as it is"),
    ("vm.overcommit_memory", "the kubelet needs it as it is"),
    ("kernel.keys.root_*", "the kubelet needs it as it is"),
    ("kernel.sysrq", "it would let a keyboard take over the node"),
    ("kernel.printk*", "the console shows the node's state"),
    ("kernel.unprivileged_bpf_disabled", "it hardens the node"),
    ("net.core.bpf_jit_harden", "it hardens the node"),
    ("kernel.kptr_restrict", "it hardens the node"),
    ("kernel.dmesg_restrict", "it hardens the node"),
    ("kernel.yama.*", "it hardens the node"),
    ("kernel.oops_limit", "it hardens the node"),
    ("kernel.warn_limit", "it hardens the node"),
    ("vm.mmap_rnd_bits", "it hardens the node"),
    ("fs.protected_*", "it hardens the node"),
    ("fs.suid_dumpable", "it hardens the node"),
    ("kernel.randomize_va_space", "it hardens the node"),
    ("net.ipv4.conf.all.promote_secondaries", "addresses must not go along with another one"),
    ("kernel.hostname", "the Machine document sets it"),
    ("kernel.domainname", "the Machine document sets it"),
];

/// Kernel settings that must stay what they are for pods to be reached. A document may repeat them.
pub(crate) const FORWARDING: [&str; 3] =
    ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding", "net.ipv6.conf.all.forwarding"];

/// What Cairn sets in KubeletConfiguration, or what would open or break the node.
const KUBELET_FIELDS: &[(&[&str], &str)] = &[
    (&["apiVersion", "kind"], "it is always KubeletConfiguration; leave it out"),
    (
        &[
            "authentication",
            "authorization",
            "address",
            "port",
            "readOnlyPort",
            "enableServer",
            "healthzPort",
            "healthzBindAddress",
        ],
        "the kubelet's own API stays on the loopback interface",
    ),
    (
        &[
            "tlsCertFile",
            "tlsPrivateKeyFile",
            "tlsMinVersion",
            "tlsCipherSuites",
            "tlsCurvePreferences",
            "serverTLSBootstrap",
            "rotateCertificates",
        ],
        "the kubelet's own API keeps its certificate",
    ),
    (
        &[
            "enableDebuggingHandlers",
            "enableProfilingHandler",
            "enableDebugFlagsHandler",
            "enableSystemLogHandler",
            "enableSystemLogQuery",
            "enableContentionProfiling",
        ],
        "it would open the kubelet's own API",
    ),
    (
        &["staticPodPath", "staticPodURL", "staticPodURLHeader", "runOnce"],
        "static pods come from StaticPod documents",
    ),
    (
        &["registerNode", "registerWithTaints", "providerID", "kubeletCgroups", "systemCgroups"],
        "the node decides it",
    ),
    (&["containerRuntimeEndpoint", "imageServiceEndpoint"], "the container runtime is part of the OS"),
    (
        &[
            "cgroupDriver",
            "cgroupRoot",
            "cgroupsPerQOS",
            "kubeReservedCgroup",
            "systemReservedCgroup",
            "enforceNodeAllocatable",
            "failCgroupV1",
        ],
        "control groups are laid out by the OS",
    ),
    (
        &["podCIDR", "hairpinMode", "makeIPTablesUtilChains", "iptablesMasqueradeBit", "iptablesDropBit"],
        "pods' network is laid out by the OS",
    ),
    (&["resolvConf"], "the Resolver document sets it"),
    (&["volumePluginDir", "podLogsDir"], "the OS decides where files are"),
    (&["protectKernelDefaults"], "the Sysctl document sets the kernel"),
    (&["failSwapOn"], "the Swap document decides it"),
    (&["seccompDefault"], "it hardens the node"),
];

/// Why a kernel setting may not be set to this, unless it may.
pub(crate) fn sysctl(name: &str, value: &str) -> Option<String> {
    // The kernel takes both separators.
    let name = name.replace('/', ".");
    if FORWARDING.contains(&name.as_str()) && value != "1" {
        return Some("must stay 1: pods are reached through it".into());
    }
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    let redirects = ["accept_redirects", "secure_redirects", "send_redirects", "accept_source_route"];
    let hardened = name.starts_with("net.ipv") && redirects.iter().any(|last| name.ends_with(last));
    let reason = SYSCTLS.iter().find(|(pattern, _)| matches(pattern)).map(|(_, reason)| *reason);
    let reason = reason.or(hardened.then_some("it hardens the node"))?;
    Some(format!("is set by Cairn: {reason}"))
}

/// Why a field of KubeletConfiguration may not be set, unless it may.
pub(crate) fn kubelet_field(name: &str) -> Option<String> {
    let (_, reason) = KUBELET_FIELDS.iter().find(|(names, _)| names.contains(&name))?;
    Some(format!("{name} is set by Cairn: {reason}"))
}

/// For the reference: names of the kubelet's fields that are refused, and why.
pub(crate) fn kubelet_fields() -> &'static [(&'static [&'static str], &'static str)] {
    KUBELET_FIELDS
}

/// For the reference: kernel settings that are refused, and why.
pub(crate) fn sysctls() -> &'static [(&'static str, &'static str)] {
    SYSCTLS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cairn_sets_is_refused_however_it_is_written() {
        for name in [
            "kernel.sysrq",
            "kernel.panic_on_oops",
            "kernel.core_pattern",
            "kernel.printk_devkmsg",
            "net.ipv4.conf.all/accept_redirects",
        ] {
            assert!(sysctl(name, "1").is_some(), "{name}");
        }
        assert_eq!(sysctl("net.core.somaxconn", "4096"), None);
        assert_eq!(sysctl("fs.inotify.max_user_instances", "9000"), None);
        assert_eq!(sysctl("net.ipv4.ip_forward", "1"), None);
        assert!(sysctl("net.ipv4.ip_forward", "0").is_some());
        assert!(kubelet_field("port").is_some());
        assert_eq!(kubelet_field("maxPods"), None);
    }
}

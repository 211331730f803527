//! From the plan of a change to what the executor does and the gate watches. Pure.

use config::{
    NodeConfig,
    plan::{Condition, Effect, Plan},
};

use super::executor::{RESTARTED, Steps};
use crate::health::CONDITIONS;

/// What this plan asks for. `new` is the configuration that it leads to.
pub fn steps(plan: &Plan, new: &NodeConfig) -> Steps {
    let is_restarted = |name: &&str| {
        plan.operations.iter().any(|operation| match &operation.effect {
            Effect::Restart(names) => names.contains(name),
            Effect::Live | Effect::Reboot => false,
        })
    };
    Steps {
        restarts: RESTARTED.into_iter().filter(is_restarted).collect(),
        conditions: plan.gate(new).iter().flat_map(names).copied().collect(),
    }
}

/// The conditions of the node that stand for it. That the API lets its clients in, their confirmation shows; that a
/// registry or a log server answers, a probe.
fn names(condition: &Condition) -> &'static [&'static str] {
    let names: &[&str] = match condition {
        Condition::Api | Condition::Registry(_) | Condition::Logging => &[],
        Condition::Link(_) => &["network"],
        Condition::Firewall => &["firewall"],
        Condition::Resolver => &["resolver"],
        Condition::Containerd => &["containerd"],
        Condition::Kubelet => &["kubelet"],
        Condition::Pod { .. } => &["kubelet", "pods"],
        Condition::Sysctl(_) => &["sysctls"],
        Condition::Volume(_) => &["volumes"],
        Condition::Swap => &["swap"],
    };
    // A condition is there once its controller is.
    if names.iter().all(|name| CONDITIONS.contains(name)) { names } else { &[] }
}

#[cfg(test)]
mod tests {
    use config::plan::plan;

    use super::*;

    fn parse(text: &str) -> NodeConfig {
        let ca = pki::Ca::create(&pki::SubjectName::parse("ca").unwrap(), pki::Validity::UNLIMITED).unwrap();
        let ca = ca.bundle().to_pem().replace('\n', "\n    ");
        let api = format!("apiVersion: cairn.dev/v1alpha1\nkind: Api\nclientCAs:\n  - |\n    {ca}\n");
        config::parse(&format!("{api}---\napiVersion: cairn.dev/v1alpha1\n{text}")).unwrap()
    }

    #[test]
    fn a_host_name_restarts_the_kubelet_which_must_recover() {
        let [old, mut new] = ["one", "two"]
            .map(|name| NodeConfig { hostname: Some(name.to_owned()), ..NodeConfig::default() });
        let expected = Steps { restarts: vec!["kubelet"], conditions: ["kubelet"].into() };
        assert_eq!(steps(&plan(&old, &new), &new), expected);
        new.trusted_certificates = vec!["x".to_owned()];
        let expected =
            Steps { restarts: vec!["containerd", "kubelet"], conditions: ["containerd", "kubelet"].into() };
        assert_eq!(steps(&plan(&old, &new), &new), expected, "each once, containerd first");
    }

    #[test]
    fn other_addresses_of_the_api_restart_apid_last() {
        let old = NodeConfig::default();
        let new = NodeConfig { api_addresses: [[192, 0, 2, 17].into()].into(), ..old.clone() };
        let expected = Steps { restarts: vec!["apid"], conditions: [].into() };
        assert_eq!(steps(&plan(&old, &new), &new), expected, "who confirms it shows that it is reached");
        let new = NodeConfig { hostname: Some("two".to_owned()), ..new };
        assert_eq!(steps(&plan(&old, &new), &new).restarts, ["kubelet", "apid"]);
    }

    #[test]
    fn a_pod_restarts_nothing() {
        let pod = "kind: StaticPod\npod:\n  apiVersion: v1\n  kind: Pod\n  metadata: {name: web}\n  spec: {containers: [{name: a, image: b}]}\n";
        let new = parse(pod);
        let old = NodeConfig { static_pods: Vec::new(), ..new.clone() };
        let expected = Steps { restarts: vec![], conditions: ["kubelet", "pods"].into() };
        assert_eq!(steps(&plan(&old, &new), &new), expected);
        assert_eq!(steps(&plan(&new, &old), &old), Steps::default(), "nothing is left to be healthy");
    }
}

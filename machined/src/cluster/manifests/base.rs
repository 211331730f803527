//! What every cluster that a Cairn node serves has: how nodes become members, and who may do what. Pure.

use config::BootstrapToken;
use serde_json::{Value, json};

use crate::cluster::control_plane::KUBELET_ADMINS;

/// Group of those to whom the node issues certificates by `osctl kubeconfig`.
pub const ADMINS: &str = "cairn:admins";

/// Bindings of groups to cluster roles that Kubernetes brings along: name, group, role.
const GRANTS: [(&str, &str, &str); 6] = [
    ("nodes-ask-for-certificates", "system:bootstrappers", "system:node-bootstrapper"),
    (
        "nodes-get-certificates",
        "system:bootstrappers",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
    ),
    (
        "nodes-renew-certificates",
        "system:nodes",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
    ),
    // kube-proxy calls itself as the kubelet beside it.
    ("nodes-run-kube-proxy", "system:nodes", "system:node-proxier"),
    ("api-server-calls-kubelets", KUBELET_ADMINS, "system:kubelet-api-admin"),
    ("admins", ADMINS, "cluster-admin"),
];

/// The objects.
pub fn objects(token: &BootstrapToken) -> Vec<Value> {
    let mut objects = vec![json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": format!("bootstrap-token-{}", token.id), "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": token.id,
            "token-secret": token.secret,
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
        },
    })];
    objects.extend(GRANTS.map(|(name, group, role)| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("cairn:{name}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
        })
    }));
    objects
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cluster::manifests::object::Id;

    #[test]
    fn each_is_named_once_and_the_token_is_in_one_secret() {
        let token = BootstrapToken { id: "abcdef".into(), secret: "0123456789abcdef".into() };
        let objects = objects(&token);
        let ids: BTreeSet<Id> = objects.iter().filter_map(Id::of).collect();
        assert_eq!(ids.len(), objects.len());
        let holders = objects.iter().filter(|object| object.to_string().contains(&token.secret));
        assert_eq!(holders.map(|object| object["kind"].as_str().unwrap()).collect::<Vec<_>>(), ["Secret"]);
    }
}

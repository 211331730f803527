//! What the cluster's nodes mean for this one's routes and masquerading. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use netplan::Prefix;
use serde_json::{Value, json};

/// The table of ours; kube-proxy and CNI have their own.
const TABLE: &str = "ip cairn-pods";

/// Where pods are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// On this node.
    pub own: BTreeSet<Prefix>,
    /// On others: how to get there.
    pub routes: BTreeMap<Prefix, Ipv4Addr>,
}

impl Wanted {
    /// From a NodeList. A node without addresses for pods, or without an address of its own, has no route.
    pub fn of(nodes: &Value, own_name: &str) -> Self {
        let mut wanted = Self::default();
        for node in nodes["items"].as_array().into_iter().flatten() {
            let networks = node["spec"]["podCIDRs"].as_array().into_iter().flatten();
            let networks = networks.filter_map(|text| network(text.as_str()?));
            if node["metadata"]["name"] == own_name {
                wanted.own.extend(networks);
            } else if let Some(address) = internal_address(node) {
                wanted.routes.extend(networks.map(|network| (network, address)));
            }
        }
        wanted
    }

    /// As it is kept for a boot without the cluster, which is `membership`.
    pub fn to_json(&self, membership: &str) -> Value {
        let own: Vec<String> = self.own.iter().map(ToString::to_string).collect();
        let routes: BTreeMap<String, Ipv4Addr> =
            self.routes.iter().map(|(network, gateway)| (network.to_string(), *gateway)).collect();
        json!({"membership": membership, "own": own, "routes": routes})
    }

    /// What was kept, unless it is of another cluster or damaged.
    pub fn from_json(kept: &Value, membership: &str) -> Option<Self> {
        if kept["membership"] != membership {
            return None;
        }
        let own =
            kept["own"].as_array()?.iter().map(|text| network(text.as_str()?)).collect::<Option<_>>()?;
        let route =
            |(text, gateway): (&String, &Value)| Some((network(text)?, gateway.as_str()?.parse().ok()?));
        let routes = kept["routes"].as_object()?.iter().map(route).collect::<Option<_>>()?;
        Some(Self { own, routes })
    }

    /// The script for nft(8) that replaces our table: what pods send out of the cluster comes from the node, and what
    /// they send each other from themselves.
    pub fn masquerading(&self, bridge: &str) -> String {
        let mut script = format!("add table {TABLE}\ndelete table {TABLE}\n");
        if self.own.is_empty() {
            return script;
        }
        let join = |networks: &mut dyn Iterator<Item = &Prefix>| {
            networks.map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let own = join(&mut self.own.iter());
        let all = join(&mut self.own.iter().chain(self.routes.keys()));
        script.push_str(&format!(
            "add table {TABLE}\n\
             add chain {TABLE} postrouting {{ type nat hook postrouting priority srcnat; }}\n\
             add rule {TABLE} postrouting ip saddr {{ {own} }} ip daddr != {{ {all} }} oifname != \"{bridge}\" masquerade\n"
        ));
        script
    }
}

/// Routes to be made and to be removed.
pub fn changes(
    known: &BTreeMap<Prefix, Ipv4Addr>,
    wanted: &BTreeMap<Prefix, Ipv4Addr>,
) -> (BTreeMap<Prefix, Ipv4Addr>, BTreeMap<Prefix, Ipv4Addr>) {
    let only = |these: &BTreeMap<Prefix, Ipv4Addr>, those: &BTreeMap<Prefix, Ipv4Addr>| {
        these
            .iter()
            .filter(|(network, address)| those.get(network) != Some(address))
            .map(|(network, address)| (*network, *address))
            .collect()
    };
    (only(wanted, known), only(known, wanted))
}

fn internal_address(node: &Value) -> Option<Ipv4Addr> {
    let addresses = node["status"]["addresses"].as_array()?;
    let internal = addresses.iter().filter(|address| address["type"] == "InternalIP");
    internal.filter_map(|address| address["address"].as_str()?.parse().ok()).next()
}

fn network(text: &str) -> Option<Prefix> {
    let (address, length) = text.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let length = length.parse().ok().filter(|length| *length <= 32)?;
    Some(Prefix::new(IpAddr::V4(address), length))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, network: &str, address: &str) -> Value {
        json!({
            "metadata": {"name": name},
            "spec": {"podCIDR": network, "podCIDRs": [network]},
            "status": {"addresses": [
                {"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": "fd00::1"},
                {"type": "InternalIP", "address": address},
            ]},
        })
    }

    fn three() -> Wanted {
        let nodes = json!({"items": [
            node("one", "10.244.0.0/24", "192.0.2.1"),
            node("two", "10.244.1.0/24", "192.0.2.2"),
            {"metadata": {"name": "new"}, "spec": {}, "status": {}},
        ]});
        Wanted::of(&nodes, "one")
    }

    #[test]
    fn other_nodes_have_a_route_and_the_own_one_none() {
        let wanted = three();
        let routes: Vec<String> =
            wanted.routes.iter().map(|(network, address)| format!("{network} via {address}")).collect();
        assert_eq!(routes, ["10.244.1.0/24 via 192.0.2.2"]);
        assert_eq!(wanted.own.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.244.0.0/24"]);
    }

    #[test]
    fn what_is_kept_is_of_one_cluster_and_whole() {
        let kept = three().to_json("shop one");
        assert_eq!(Wanted::from_json(&kept, "shop one"), Some(three()));
        assert_eq!(Wanted::from_json(&kept, "mill one"), None);
        for damaged in [
            Value::Null,
            json!({"membership": "shop one"}),
            json!({"membership": "shop one", "own": ["10.244.0.0/33"], "routes": {}}),
            json!({"membership": "shop one", "own": [], "routes": {"10.244.1.0/24": "192.0.2"}}),
        ] {
            assert_eq!(Wanted::from_json(&damaged, "shop one"), None, "{damaged}");
        }
    }

    #[test]
    fn pods_keep_their_addresses_among_each_other() {
        let script = three().masquerading("cairn0");
        assert!(script.starts_with("add table ip cairn-pods\ndelete table ip cairn-pods\n"));
        assert!(script.contains(
            "ip saddr { 10.244.0.0/24 } ip daddr != { 10.244.0.0/24, 10.244.1.0/24 } oifname != \"cairn0\" masquerade"
        ));
        assert!(!Wanted::default().masquerading("cairn0").contains("chain"));
    }

    #[test]
    fn routes_that_changed_are_exchanged() {
        let [one, two, three] =
            ["10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"].map(|text| network(text).unwrap());
        let address = |last| Ipv4Addr::new(192, 0, 2, last);
        let known = [(one, address(1)), (two, address(2))].into();
        let wanted = [(two, address(9)), (three, address(3))].into();
        let (made, removed) = changes(&known, &wanted);
        assert_eq!(made, wanted);
        assert_eq!(removed, known);
        assert_eq!(changes(&known, &known), (BTreeMap::new(), BTreeMap::new()));
    }
}

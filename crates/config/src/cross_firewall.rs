//! What fields of a firewall must agree on, among themselves and with documents of links.

use std::collections::BTreeMap;

use firewall::{API_PORT, BUILT_IN};

use crate::{
    cross_link::link_document,
    kind_tables::ITEMS_MAX,
    parse::Read,
    port,
    report::Report,
    tree::{Content, Node},
};

/// Checks a firewall.
pub(crate) fn firewall(report: &mut Report<'_>, document: &Read, read: &[Read]) {
    let path = document.path();
    let ports = ports(read);
    if let Some(api) = document.root.get("api") {
        let path = format!("{path}.api");
        if matches!(&api.content, Content::Map(fields) if fields.is_empty()) {
            let message = "names nothing; leave the field out, and the API is reached from anywhere";
            report.fault(document.number, &path, api.bytes.start, message);
        }
        interfaces(report, document, (&path, api), &ports);
    }
    let items = document.root.get("allow").map(Node::items).unwrap_or_default();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, item) in items.iter().take(ITEMS_MAX).enumerate() {
        let path = format!("{path}.allow[{index}]");
        if let Some((node, name)) = item.get("name").and_then(|node| Some((node, node.text()?))) {
            // One that is the same in all is found with the list.
            let first =
                names.get(name).filter(|first| items.get(**first).is_some_and(|one| differs(one, item)));
            let message = match first {
                Some(first) => {
                    Some(format!("is the name of [{first}] already; counters are told apart by it"))
                }
                None if BUILT_IN.contains(&name) => {
                    Some("is what Cairn calls a counter of its own; choose another name".to_owned())
                }
                None => None,
            };
            if let Some(message) = message {
                report.fault(document.number, &format!("{path}.name"), node.bytes.start, message);
            }
            names.entry(name).or_insert(index);
        }
        rule(report, document, &path, item);
        interfaces(report, document, (&path, item), &ports);
    }
}

fn differs(one: &Node, other: &Node) -> bool {
    one.to_json() != other.to_json()
}

/// Ports belong to TCP and UDP, and the API's is not a rule's to open.
fn rule(report: &mut Report<'_>, document: &Read, path: &str, item: &Node) {
    let protocol = item.get("protocol").and_then(Node::text);
    match (protocol, item.get("ports")) {
        (Some("icmp"), Some(ports)) => {
            let message = "cannot be set of icmp, which has no ports";
            report.fault(document.number, &format!("{path}.ports"), ports.bytes.start, message);
        }
        (Some("tcp" | "udp"), None) => {
            let message = "the field ports is missing: tcp and udp need it; 1-65535 are all";
            report.fault(document.number, path, item.bytes.start, message);
        }
        (Some("tcp"), Some(ports)) => {
            let api = firewall::Ports::one(API_PORT);
            let named = ports.items().iter().take(ITEMS_MAX).enumerate();
            for (index, node) in named.filter(|(_, node)| port::parse(&node.to_json()) == Ok(api)) {
                let message =
                    format!("{API_PORT} is the API's; from where that is reached, the field api says");
                report.fault(document.number, &format!("{path}.ports[{index}]"), node.bytes.start, message);
            }
        }
        _ => {}
    }
}

/// The kernel tells the bond or bridge, not the port, that a packet came in by.
fn interfaces(
    report: &mut Report<'_>,
    document: &Read,
    (path, parent): (&str, &Node),
    ports: &BTreeMap<String, String>,
) {
    let items = parent.get("interfaces").map(Node::items).unwrap_or_default();
    for (index, item) in items.iter().take(ITEMS_MAX).enumerate() {
        let Some(master) = item.text().and_then(|name| ports.get(name)) else { continue };
        let path = format!("{path}.interfaces[{index}]");
        let message = format!("is a port of {master}, by which its packets come in; name that");
        report.fault(document.number, &path, item.bytes.start, message);
    }
}

/// Masters of ports, by the ports' names.
fn ports(read: &[Read]) -> BTreeMap<String, String> {
    let links = read.iter().filter_map(link_document);
    let ports = links.flat_map(|document| {
        let master = document.link.name.clone();
        let ports = document.link.device.ports().to_vec();
        ports.into_iter().map(move |port| (port, master.clone()))
    });
    ports.collect()
}

//! What documents of links must agree on: how they stand on each other.

use std::collections::BTreeMap;

use netplan::{Device, Selector};

use crate::{
    cross_link::LinkDocument,
    report::Report,
    tree::{Content, Node},
};

/// Largest packet of a bond, a bridge without ports and a dummy, unless their documents say otherwise (`ETH_DATA_LEN`).
const MTU_DEFAULT_BYTES: u32 = 1500;
/// With less there is no IPv6 on a link (RFC 8200, 5).
const MTU_IPV6_MIN_BYTES: u32 = 1280;

/// Checks names, selectors, parents, ports and what depends on them.
pub(crate) fn layers(report: &mut Report<'_>, links: &[LinkDocument<'_>]) {
    names(report, links);
    selectors(report, links);
    parents(report, links);
    let ports = ports(report, links);
    for document in links {
        settings(report, document);
        if let Some(master) = ports.get(document.link.name.as_str()) {
            port(report, document, master);
        }
        mtu(report, links, document);
    }
    loops(report, links);
}

fn find<'a, 'b>(links: &'b [LinkDocument<'a>], name: &str) -> Option<&'b LinkDocument<'a>> {
    links.iter().find(|document| document.link.name == name)
}

/// Links of all kinds share their names; those of one kind are compared with all documents.
fn names(report: &mut Report<'_>, links: &[LinkDocument<'_>]) {
    for (index, document) in links.iter().enumerate() {
        let first = links
            .iter()
            .take(index)
            .find(|other| other.link.name == document.link.name && other.link.kind() != document.link.kind());
        if let Some(first) = first {
            let place = first.place(report, "name");
            let message =
                format!("is the name of {} already ({place}); no two links have one name", first.read.path());
            document.fault(report, "name", message);
        }
    }
}

fn selectors(report: &mut Report<'_>, links: &[LinkDocument<'_>]) {
    let mut seen: Vec<(&Selector, &LinkDocument<'_>)> = Vec::new();
    for document in links {
        let Some(selector) = &document.link.selector else { continue };
        let node = document.read.root.get("select");
        if node.is_some_and(|node| matches!(&node.content, Content::Map(fields) if fields.is_empty())) {
            let message = "names nothing, so every interface would match; give at least one field";
            document.fault(report, "select", message);
        } else if let Some((_, first)) = seen.iter().find(|(other, _)| *other == selector) {
            let message = format!(
                "selects the same interface as {} ({})",
                first.read.path(),
                first.place(report, "select")
            );
            document.fault(report, "select", message);
        } else if *selector != Selector::default() {
            seen.push((selector, document));
        }
    }
}

fn parents(report: &mut Report<'_>, links: &[LinkDocument<'_>]) {
    let mut seen: BTreeMap<(&str, u16), &LinkDocument<'_>> = BTreeMap::new();
    for document in links {
        let Device::Vlan { parent, id } = &document.link.device else { continue };
        if find(links, parent).is_none() {
            let message = format!(
                "no document of a link is called {parent}; a VLAN stands on one: an Interface, Bond, Bridge, Dummy or Vlan"
            );
            document.fault(report, "parent", message);
        }
        if let Some(first) = seen.insert((parent, *id), document) {
            let place = first.place(report, "id");
            let message =
                format!("is the VLAN {id} of {parent} that {} is already ({place})", first.read.path());
            document.fault(report, "id", message);
        }
    }
}

/// The masters of all ports, by the ports' names.
fn ports<'a, 'b>(
    report: &mut Report<'_>,
    links: &'b [LinkDocument<'a>],
) -> BTreeMap<&'b str, &'b LinkDocument<'a>> {
    let mut masters: BTreeMap<&str, &LinkDocument<'_>> = BTreeMap::new();
    for document in links {
        let items = document.read.root.get("ports").map(Node::items).unwrap_or_default();
        for (index, (name, item)) in document.link.device.ports().iter().zip(items).enumerate() {
            let field = format!("ports[{index}]");
            if let Some(message) = refused_port(report, links, document, name) {
                document.fault_at(report, &field, item.bytes.start, message);
            }
            // The same name twice in one list is found with the list.
            let first = masters.get(name.as_str()).filter(|first| first.read.number != document.read.number);
            if let Some(first) = first {
                let place = first.place(report, "ports");
                let message = format!("{name} is a port of {} already ({place})", first.read.path());
                document.fault_at(report, &field, item.bytes.start, message);
            }
            masters.entry(name).or_insert(document);
        }
    }
    masters
}

fn refused_port(
    report: &Report<'_>,
    links: &[LinkDocument<'_>],
    master: &LinkDocument<'_>,
    name: &str,
) -> Option<String> {
    let above = links.iter().find(|other| other.link.device.parent() == Some(name));
    if let Some(above) = above {
        let place = above.place(report, "parent");
        return Some(format!("{name} carries {} ({place}); a port carries nothing else", above.read.path()));
    }
    let kind = find(links, name)?.link.kind();
    let is_bond = matches!(master.link.device, Device::Bond { .. });
    let reason = match kind {
        "Interface" => return None,
        "Bridge" => "a bridge is never a port",
        "Vlan" | "Bond" | "Dummy" if is_bond => "the ports of a bond are interfaces",
        _ => return None,
    };
    Some(format!("{name} is a {kind}; {reason}"))
}

/// What a link may not have that is a port.
fn port(report: &mut Report<'_>, document: &LinkDocument<'_>, master: &LinkDocument<'_>) {
    let whose = format!("a port of {}", master.read.path());
    if document.link.dhcp {
        let message = format!("is {whose}, which asks in its place; set dhcp: false");
        document.fault(report, "dhcp", message);
    }
    for field in ["addresses", "gateway", "routes"] {
        let node = document.read.root.get(field);
        if node.is_some_and(|node| !matches!(&node.content, Content::List(items) if items.is_empty())) {
            document.fault(report, field, format!("cannot be set of {whose}; set it there"));
        }
    }
    if document.has("mtu") && matches!(master.link.device, Device::Bond { .. }) {
        document.fault(report, "mtu", format!("cannot be set of {whose}; ports of a bond have the bond's"));
    }
}

/// Fields that mean nothing without another.
fn settings(report: &mut Report<'_>, document: &LinkDocument<'_>) {
    let (needs, fields): (&str, &[&str]) = match &document.link.device {
        Device::Bond { settings, .. } if settings.mode == netplan::BondMode::ActiveBackup => {
            ("mode: 802.3ad", &["lacpRate", "hashPolicy"])
        }
        Device::Bridge { settings, .. } if settings.spanning_tree.is_none() => {
            ("stp: true", &["forwardDelay"])
        }
        Device::Bond { .. }
        | Device::Bridge { .. }
        | Device::Hardware
        | Device::Vlan { .. }
        | Device::Dummy => return,
    };
    for field in fields.iter().filter(|field| document.has(field)) {
        document.fault(report, field, format!("means nothing without {needs}"));
    }
}

fn mtu(report: &mut Report<'_>, links: &[LinkDocument<'_>], document: &LinkDocument<'_>) {
    let Some(bytes) = document.link.mtu_bytes else { return };
    let ipv6 = document.link.addresses.iter().any(|subnet| subnet.address.is_ipv6());
    if ipv6 && bytes < MTU_IPV6_MIN_BYTES {
        let message = format!("must be at least {MTU_IPV6_MIN_BYTES} for IPv6 addresses");
        document.fault(report, "mtu", message);
    }
    let parent = document.link.device.parent().and_then(|name| find(links, name));
    let Some(parent) = parent else { return };
    let most = match (parent.link.mtu_bytes, &parent.link.device) {
        (Some(most), _) => Some(most),
        (None, Device::Bond { .. } | Device::Dummy) => Some(MTU_DEFAULT_BYTES),
        (None, Device::Hardware | Device::Bridge { .. } | Device::Vlan { .. }) => None,
    };
    if let Some(most) = most.filter(|most| bytes > *most) {
        let message = format!("must be at most {most}, that of {} below it", parent.read.path());
        document.fault(report, "mtu", message);
    }
}

/// A bridge whose port is a VLAN that stands on the bridge, and longer ways round.
fn loops(report: &mut Report<'_>, links: &[LinkDocument<'_>]) {
    for document in links {
        let mut open = below(document);
        let mut seen: Vec<&str> = Vec::new();
        while let Some(name) = open.pop() {
            if name == document.link.name {
                let field = if document.link.device.parent().is_some() { "parent" } else { "ports" };
                document.fault(report, field, format!("{name} would stand on itself"));
                break;
            }
            if !seen.contains(&name) {
                seen.push(name);
                open.extend(find(links, name).map(below).unwrap_or_default());
            }
        }
    }
}

fn below<'a>(document: &'a LinkDocument<'_>) -> Vec<&'a str> {
    let device = &document.link.device;
    device.parent().into_iter().chain(device.ports().iter().map(String::as_str)).collect()
}

//! What documents, and fields of one document, must agree on.

use std::{collections::BTreeMap, net::Ipv4Addr};

use crate::{
    address, convert,
    kind_tables::ITEMS_MAX,
    kinds::{DiskSelector, Subnet},
    log_url::{self, LogDestination},
    parse::Read,
    report::Report,
    table::Multiplicity,
    tree::{Content, Node},
};

/// Pods of a node without an API server have their addresses here.
pub const POD_SUBNET: Subnet = Subnet { address: Ipv4Addr::new(10, 244, 0, 0), prefix_length: 24 };

/// Checks documents against each other. `unread` says whether there are others that could not be read.
pub(crate) fn documents(report: &mut Report<'_>, read: &[Read], unread: bool) {
    keys(report, read);
    if !unread && !read.iter().any(|document| document.key.kind == "Api") {
        report.fault(0, "", 0, "a document of kind Api is missing: without one nobody could get in");
    }
    interfaces(report, read);
    disks(report, read);
    for document in of_kind(read, "Registry") {
        registry(report, document);
    }
    for document in of_kind(read, "Logging") {
        log_destinations(report, document);
    }
}

fn of_kind<'a>(read: &'a [Read], kind: &'static str) -> impl Iterator<Item = &'a Read> {
    read.iter().filter(move |document| document.kind.is_some_and(|known| known.name == kind))
}

/// No two documents have one key.
fn keys(report: &mut Report<'_>, read: &[Read]) {
    let mut seen = BTreeMap::new();
    for document in read {
        let Some(kind) = document.kind else { continue };
        if document.key.name.is_some() && document.path() == document.key.kind {
            // Its name is missing, which is said already.
            continue;
        }
        let at = key_place(document);
        let Some((number, first)) = seen.insert(&document.key, (document.number, at)) else { continue };
        let rule = match kind.multiplicity {
            Multiplicity::AtMostOne | Multiplicity::One => {
                format!("there may be only one document of kind {}", kind.name)
            }
            Multiplicity::Named { .. } | Multiplicity::Pod => format!("{} stands twice", document.path()),
        };
        let message = format!("{rule}; the other is document {number}, line {}", report.line(first));
        report.fault(document.number, &document.path(), at, message);
    }
}

/// What names a document, or says its kind.
fn key_place(document: &Read) -> usize {
    let root = &document.root;
    let name = match document.kind.map(|kind| kind.multiplicity) {
        Some(Multiplicity::Named { field }) => root.get(field),
        Some(Multiplicity::Pod) => root.get("pod").and_then(|pod| pod.get("metadata")?.get("name")),
        Some(Multiplicity::AtMostOne | Multiplicity::One) | None => root.get("kind"),
    };
    name.unwrap_or(root).bytes.start
}

/// A static address and where it stands.
struct Placed<'a> {
    document: &'a Read,
    path: String,
    at: usize,
    subnet: Subnet,
}

fn interfaces(report: &mut Report<'_>, read: &[Read]) {
    let mut addresses: Vec<Placed<'_>> = Vec::new();
    let mut gateway: Option<(usize, usize)> = None;
    for document in of_kind(read, "Interface") {
        let own = static_addresses(document);
        interface(report, document, &own);
        if let Some(node) = document.root.get("gateway") {
            if let Some((number, at)) = gateway {
                let message = format!(
                    "there may be only one gateway: two default routes contradict each other; the other is in document {number}, line {}",
                    report.line(at)
                );
                report.fault(
                    document.number,
                    &format!("{}.gateway", document.path()),
                    node.bytes.start,
                    message,
                );
            }
            gateway = gateway.or(Some((document.number, node.bytes.start)));
        }
        for placed in own {
            let first = addresses.iter().find(|other| contradicts(other, &placed));
            if let Some(message) = first.map(|first| contradiction(report, first, &placed)) {
                report.fault(document.number, &placed.path, placed.at, message);
            }
            addresses.push(placed);
        }
    }
}

fn static_addresses(document: &Read) -> Vec<Placed<'_>> {
    let items = document.root.get("addresses").map(Node::items).unwrap_or_default();
    let placed = items.iter().take(ITEMS_MAX).enumerate().filter_map(|(index, item)| {
        let subnet = address::subnet(item.text()?).ok()?;
        let path = format!("{}.addresses[{index}]", document.path());
        Some(Placed { document, path, at: item.bytes.start, subnet })
    });
    placed.collect()
}

/// One address twice, or overlapping subnets on two interfaces: the kernel could not tell which way to go.
fn contradicts(first: &Placed<'_>, second: &Placed<'_>) -> bool {
    let apart = first.document.number != second.document.number;
    // The same text twice in one list is found with the list.
    let same = first.subnet.address == second.subnet.address && (apart || first.subnet != second.subnet);
    same || apart && first.subnet.overlaps(&second.subnet)
}

fn contradiction(report: &Report<'_>, first: &Placed<'_>, second: &Placed<'_>) -> String {
    let place = format!("{}, document {}, line {}", first.path, first.document.number, report.line(first.at));
    if first.subnet.address == second.subnet.address {
        format!("{} is already the address of {place}", second.subnet.address)
    } else {
        format!("the subnet of {} overlaps that of {} ({place})", second.subnet, first.subnet)
    }
}

fn interface(report: &mut Report<'_>, document: &Read, own: &[Placed<'_>]) {
    let root = &document.root;
    let has_addresses = root.get("addresses").is_some_and(|list| !list.items().is_empty());
    let dhcp = root.get("dhcp").filter(|dhcp| matches!(dhcp.content, Content::Bool(true)));
    if let Some(dhcp) = dhcp.filter(|_| has_addresses) {
        let path = format!("{}.dhcp", document.path());
        report.fault(
            document.number,
            &path,
            dhcp.bytes.start,
            "cannot be true together with addresses; leave one of them out",
        );
    }
    for placed in own.iter().filter(|placed| placed.subnet.overlaps(&POD_SUBNET)) {
        let message =
            format!("the subnet of {} overlaps {POD_SUBNET}, where the node's pods are", placed.subnet);
        report.fault(document.number, &placed.path, placed.at, message);
    }
    let Some(gateway) = root.get("gateway") else { return };
    let path = format!("{}.gateway", document.path());
    if !has_addresses {
        let message = "needs addresses: with DHCP the server names the gateway";
        report.fault(document.number, &path, gateway.bytes.start, message);
        return;
    }
    let Some(address) = gateway.text().and_then(|text| address::usable(text).ok()) else { return };
    if own.iter().any(|placed| placed.subnet.address == address) {
        report.fault(
            document.number,
            &path,
            gateway.bytes.start,
            format!("{address} is the interface's own address"),
        );
    } else if !own.is_empty() && !own.iter().any(|placed| placed.subnet.contains(address)) {
        let subnets: Vec<String> = own.iter().map(|placed| placed.subnet.to_string()).collect();
        let message = format!("{address} lies in no subnet of the interface ({})", subnets.join(", "));
        report.fault(document.number, &path, gateway.bytes.start, message);
    }
}

fn disks(report: &mut Report<'_>, read: &[Read]) {
    let mut seen: Vec<(DiskSelector, usize, usize, String)> = Vec::new();
    for document in read.iter().filter(|document| document.kind.is_some()) {
        let field = match document.key.kind.as_str() {
            "Machine" => "installDisk",
            "Volume" => "disk",
            _ => continue,
        };
        let Some(node) = document.root.get(field) else { continue };
        let path = format!("{}.{field}", document.path());
        let at = node.bytes.start;
        let selector = convert::disk_selector(&node.to_json());
        let sizes = selector.min_bytes.zip(selector.max_bytes);
        if matches!(&node.content, Content::Map(fields) if fields.is_empty()) {
            report.fault(
                document.number,
                &path,
                at,
                "names nothing, so every disk would match; give at least one field",
            );
        } else if sizes.is_some_and(|(min, max)| min > max) {
            report.fault(document.number, &path, at, "no disk can match: minSize is larger than maxSize");
        } else if let Some((_, number, first, other)) = seen.iter().find(|(other, ..)| *other == selector) {
            let message = format!(
                "selects the same disk as {other} in document {number}, line {}",
                report.line(*first)
            );
            report.fault(document.number, &path, at, message);
        } else if selector != DiskSelector::default() {
            seen.push((selector, document.number, at, path));
        }
    }
}

fn registry(report: &mut Report<'_>, document: &Read) {
    let credentials = document.root.get("credentials");
    let default = document.root.get("host").and_then(Node::text) == Some("_default");
    if let Some(node) = credentials.filter(|_| default) {
        let path = format!("{}.credentials", document.path());
        let message = "cannot stand with _default: they would be handed to every registry; name the registry";
        report.fault(document.number, &path, node.bytes.start, message);
    }
}

/// A log server that stands twice would get every line twice.
fn log_destinations(report: &mut Report<'_>, document: &Read) {
    let items = document.root.get("destinations").map(Node::items).unwrap_or_default();
    let mut seen: BTreeMap<LogDestination, usize> = BTreeMap::new();
    for (index, item) in items.iter().take(ITEMS_MAX).enumerate() {
        let Some(url) = item.get("url") else { continue };
        let Some(destination) = url.text().and_then(|text| log_url::parse(text).ok()) else { continue };
        if let Some(first) = seen.insert(destination, index) {
            let path = format!("{}.destinations[{index}].url", document.path());
            let message = format!("is the log server of [{first}]; leave one out");
            report.fault(document.number, &path, url.bytes.start, message);
        }
    }
}

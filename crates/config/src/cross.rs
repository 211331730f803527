//! What documents, and fields of one document, must agree on.

use std::collections::BTreeMap;

use crate::{
    convert, cross_cluster, cross_firewall, cross_link,
    kind_tables::ITEMS_MAX,
    kinds::DiskSelector,
    log_url::{self, LogDestination},
    parse::Read,
    report::Report,
    table::Multiplicity,
    time_url,
    tree::{Content, Node},
};

/// Checks documents against each other. `unread` says whether there are others that could not be read.
pub(crate) fn documents(report: &mut Report<'_>, read: &[Read], unread: bool) {
    keys(report, read);
    if !unread && !read.iter().any(|document| document.key.kind == "Api") {
        report.fault(0, "", 0, "a document of kind Api is missing: without one nobody could get in");
    }
    cross_link::links(report, read);
    disks(report, read);
    for document in of_kind(read, "Firewall") {
        cross_firewall::firewall(report, document, read);
    }
    cross_cluster::clusters(report, read, unread);
    for document in of_kind(read, "Registry") {
        registry(report, document);
    }
    for document in of_kind(read, "Logging") {
        log_destinations(report, document);
    }
    for document in of_kind(read, "Time") {
        time_servers(report, document);
    }
    for document in of_kind(read, "Update") {
        automation(report, document);
    }
}

pub(crate) fn of_kind<'a>(read: &'a [Read], kind: &'static str) -> impl Iterator<Item = &'a Read> {
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

/// One server, asked twice, would count as two that agree.
fn time_servers(report: &mut Report<'_>, document: &Read) {
    let items = document.root.get("servers").map(Node::items).unwrap_or_default();
    let mut seen: BTreeMap<(String, u16), usize> = BTreeMap::new();
    for (index, item) in items.iter().take(ITEMS_MAX).enumerate() {
        let Some(server) = item.text().and_then(|text| time_url::parse(text).ok()) else { continue };
        if let Some(first) = seen.insert((server.host, server.port), index) {
            let path = format!("{}.servers[{index}]", document.path());
            let message = format!("is the time server of [{first}]; leave one out");
            report.fault(document.number, &path, item.bytes.start, message);
        }
    }
}

/// What a node does by itself it must know where to find.
fn automation(report: &mut Report<'_>, document: &Read) {
    let Some(automatic) = document.root.get("automatic") else { return };
    if !matches!(automatic.content, Content::Bool(true)) {
        return;
    }
    let sources = document.root.get("sources").map(Node::items).unwrap_or_default();
    let missing = [("channel", document.root.get("channel").is_none()), ("sources", sources.is_empty())];
    for (name, _) in missing.into_iter().filter(|(_, missing)| *missing) {
        let path = format!("{}.automatic", document.path());
        let message = format!("cannot be true without {name}: the node would not know what to install");
        report.fault(document.number, &path, automatic.bytes.start, message);
    }
}

//! What documents of links must agree on: addresses and routes. How links stand on each other is in `cross_layers.rs`.

use std::net::{IpAddr, Ipv4Addr};

use netplan::Prefix;
use serde_json::Value;

use crate::{
    address, convert_link, cross_layers,
    kind_tables::ITEMS_MAX,
    link::{Interface, StaticRoute, Subnet},
    parse::Read,
    report::Report,
    tree::{Content, Node},
};

/// Pods of a node without an API server have their addresses here.
pub const POD_SUBNET: Subnet =
    Subnet { address: IpAddr::V4(Ipv4Addr::new(10, 244, 0, 0)), prefix_length: 24 };

/// A document of a link, as it is written and as it is meant.
pub(crate) struct LinkDocument<'a> {
    pub(crate) read: &'a Read,
    /// What is right in it.
    pub(crate) link: Interface,
}

impl LinkDocument<'_> {
    pub(crate) fn fault(&self, report: &mut Report<'_>, field: &str, message: impl Into<String>) {
        let root = &self.read.root;
        let at = root.get(field).or_else(|| root.get("name")).unwrap_or(root).bytes.start;
        self.fault_at(report, field, at, message);
    }

    pub(crate) fn fault_at(
        &self,
        report: &mut Report<'_>,
        field: &str,
        at: usize,
        message: impl Into<String>,
    ) {
        report.fault(self.read.number, &format!("{}.{field}", self.read.path()), at, message);
    }

    /// Where a field is, for a message about another document.
    pub(crate) fn place(&self, report: &Report<'_>, field: &str) -> String {
        let root = &self.read.root;
        let at = root.get(field).unwrap_or(root).bytes.start;
        format!("document {}, line {}", self.read.number, report.line(at))
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.read.root.get(field).is_some()
    }
}

/// Checks links against each other.
pub(crate) fn links(report: &mut Report<'_>, read: &[Read]) {
    let links: Vec<LinkDocument<'_>> = read.iter().filter_map(link_document).collect();
    cross_layers::layers(report, &links);
    let mut addresses: Vec<Placed<'_>> = Vec::new();
    let mut routes: Vec<PlacedRoute<'_>> = Vec::new();
    let mut gateway: Option<&LinkDocument<'_>> = None;
    for document in &links {
        let own = static_addresses(document);
        interface(report, document, &own);
        if document.has("gateway") {
            if let Some(first) = gateway {
                let message = format!(
                    "there may be only one gateway: two default routes contradict each other; the other is in {}",
                    first.place(report, "gateway")
                );
                document.fault(report, "gateway", message);
            }
            gateway = gateway.or(Some(document));
        }
        for placed in static_routes(document) {
            route(report, &placed, &own, gateway);
            let first = routes.iter().find(|other| other.same_place(&placed));
            if let Some(first) = first {
                let place =
                    format!("document {}, line {}", first.document.read.number, report.line(first.at));
                let message =
                    format!("leads to the same place, with the same metric, as {} ({place})", first.path());
                document.fault_at(report, &placed.field, placed.at, message);
            }
            routes.push(placed);
        }
        for placed in own {
            let first = addresses.iter().find(|other| contradicts(other, &placed));
            if let Some(message) = first.map(|first| contradiction(report, first, &placed)) {
                document.fault_at(report, &placed.field, placed.at, message);
            }
            addresses.push(placed);
        }
    }
}

pub(crate) fn link_document(read: &Read) -> Option<LinkDocument<'_>> {
    let kind = read.kind?.name;
    let fields = read.root.to_json();
    Some(LinkDocument { read, link: convert_link::interface(kind, fields.as_object()?)? })
}

/// A static address and where it stands.
struct Placed<'a> {
    document: &'a LinkDocument<'a>,
    field: String,
    at: usize,
    subnet: Subnet,
}

fn items<'a>(
    document: &'a LinkDocument<'_>,
    field: &'static str,
) -> impl Iterator<Item = (String, &'a Node)> {
    let items = document.read.root.get(field).map(Node::items).unwrap_or_default();
    items.iter().take(ITEMS_MAX).enumerate().map(move |(index, item)| (format!("{field}[{index}]"), item))
}

fn static_addresses<'a>(document: &'a LinkDocument<'a>) -> Vec<Placed<'a>> {
    let placed = items(document, "addresses").filter_map(|(field, item)| {
        let subnet = address::subnet(item.text()?).ok()?;
        Some(Placed { document, field, at: item.bytes.start, subnet })
    });
    placed.collect()
}

/// One address twice, or overlapping subnets on two interfaces: the kernel could not tell which way to go.
fn contradicts(first: &Placed<'_>, second: &Placed<'_>) -> bool {
    let apart = first.document.read.number != second.document.read.number;
    // The same text twice in one list is found with the list.
    let same = first.subnet.address == second.subnet.address && (apart || first.subnet != second.subnet);
    same || apart && first.subnet.overlaps(&second.subnet)
}

fn contradiction(report: &Report<'_>, first: &Placed<'_>, second: &Placed<'_>) -> String {
    let read = first.document.read;
    let place =
        format!("{}.{}, document {}, line {}", read.path(), first.field, read.number, report.line(first.at));
    if first.subnet.address == second.subnet.address {
        format!("{} is already the address of {place}", second.subnet.address)
    } else {
        format!("the subnet of {} overlaps that of {} ({place})", second.subnet, first.subnet)
    }
}

fn interface(report: &mut Report<'_>, document: &LinkDocument<'_>, own: &[Placed<'_>]) {
    let root = &document.read.root;
    let has_addresses = root.get("addresses").is_some_and(|list| !list.items().is_empty());
    let asks = root.get("dhcp").is_some_and(|dhcp| matches!(dhcp.content, Content::Bool(true)));
    if asks && has_addresses {
        document.fault(report, "dhcp", "cannot be true together with addresses; leave one of them out");
    }
    for placed in own.iter().filter(|placed| placed.subnet.overlaps(&POD_SUBNET)) {
        let message =
            format!("the subnet of {} overlaps {POD_SUBNET}, where the node's pods are", placed.subnet);
        document.fault_at(report, &placed.field, placed.at, message);
    }
    let Some(gateway) = root.get("gateway") else { return };
    if !has_addresses {
        document.fault(report, "gateway", "needs addresses: with DHCP the server names the gateway");
        return;
    }
    let Some(address) = gateway.text().and_then(|text| address::usable(text).ok()).map(IpAddr::V4) else {
        return;
    };
    if let Some(message) = unreachable(address, own) {
        document.fault(report, "gateway", message);
    }
}

/// Why no packet gets to a next hop on a link with these addresses.
fn unreachable(address: IpAddr, own: &[Placed<'_>]) -> Option<String> {
    if own.iter().any(|placed| placed.subnet.address == address) {
        return Some(format!("{address} is the interface's own address"));
    }
    if own.is_empty() || own.iter().any(|placed| placed.subnet.contains(address)) {
        return None;
    }
    let subnets: Vec<String> = own.iter().map(|placed| placed.subnet.to_string()).collect();
    Some(format!("{address} lies in no subnet of the interface ({})", subnets.join(", ")))
}

/// A route and where it stands.
struct PlacedRoute<'a> {
    document: &'a LinkDocument<'a>,
    field: String,
    at: usize,
    route: StaticRoute,
}

impl PlacedRoute<'_> {
    fn path(&self) -> String {
        format!("{}.{}", self.document.read.path(), self.field)
    }

    /// Whether the kernel holds only one of the two.
    fn same_place(&self, other: &Self) -> bool {
        let place = |route: &StaticRoute| (route.destination, route.metric, route.table);
        // The same text twice in one list is found with the list.
        let whole = self.document.read.number == other.document.read.number && self.route == other.route;
        place(&self.route) == place(&other.route) && !whole
    }
}

fn static_routes<'a>(document: &'a LinkDocument<'a>) -> Vec<PlacedRoute<'a>> {
    let placed = items(document, "routes").filter_map(|(field, item)| {
        let Value::Object(fields) = item.to_json() else { return None };
        Some(PlacedRoute { document, field, at: item.bytes.start, route: convert_link::route(&fields)? })
    });
    placed.collect()
}

fn route(
    report: &mut Report<'_>,
    placed: &PlacedRoute<'_>,
    own: &[Placed<'_>],
    gateway: Option<&LinkDocument<'_>>,
) {
    let (document, route) = (placed.document, &placed.route);
    let mut fault = |message: String| document.fault_at(report, &placed.field, placed.at, message);
    let (to, via) = (route.destination, route.gateway);
    if let Some(via) = via.filter(|via| via.is_ipv4() != to.address.is_ipv4()) {
        fault(format!("leads to {to} via {via}, which is of the other IP version"));
        return;
    }
    let link_local = matches!(via, Some(IpAddr::V6(via)) if via.is_unicast_link_local());
    if let Some(message) = via.filter(|_| !link_local).and_then(|via| unreachable(via, own)) {
        fault(message);
    }
    let default = Prefix::everything(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let same_as_gateway = to == default
        && route.metric == netplan::default_metric(default.address)
        && route.table == netplan::TABLE_MAIN;
    if let Some(gateway) = gateway.filter(|_| same_as_gateway) {
        let place = gateway.place(report, "gateway");
        let message = format!("is the default route, which gateway says already ({place}); give it a metric");
        document.fault_at(report, &placed.field, placed.at, message);
    }
}

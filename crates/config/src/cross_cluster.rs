//! What documents of clusters must agree on.

use netplan::Prefix;

use crate::{
    cluster_text,
    cross::of_kind,
    parse::Read,
    report::Report,
    tree::{Content, Node},
};

pub(crate) fn clusters(report: &mut Report<'_>, read: &[Read], unread: bool) {
    let has = |kind: &'static str| unread || of_kind(read, kind).next().is_some();
    for document in of_kind(read, "Cluster").filter(|_| !has("ControlPlane")) {
        let endpoints = document.root.get("endpoints");
        let none =
            endpoints.is_none_or(|node| matches!(&node.content, Content::List(items) if items.is_empty()));
        if none {
            let at = endpoints.unwrap_or(&document.root).bytes.start;
            let path = format!("{}.endpoints", document.path());
            let message = "must name an API server, such as 192.0.2.10:6443: this node serves none itself";
            report.fault(document.number, &path, at, message);
        }
    }
    for document in of_kind(read, "ControlPlane") {
        if !has("Cluster") {
            let message = "needs a document of kind Cluster: it says which cluster this node serves";
            report.fault(document.number, &document.path(), document.root.bytes.start, message);
        }
        subnets(report, document);
    }
    for document in of_kind(read, "Manifests").filter(|_| !has("ControlPlane")) {
        let message =
            "needs a document of kind ControlPlane: only a node that serves a cluster applies manifests";
        report.fault(document.number, &document.path(), document.root.bytes.start, message);
    }
}

fn subnets(report: &mut Report<'_>, document: &Read) {
    let subnet = |name: &str, default: &str, parse: fn(&str) -> Result<Prefix, String>| {
        let text = document.root.get(name).map_or(Some(default), Node::text);
        text.and_then(|text| parse(text).ok())
    };
    let pods = subnet("podSubnet", "10.244.0.0/16", cluster_text::pod_subnet);
    let services = subnet("serviceSubnet", "10.96.0.0/12", cluster_text::service_subnet);
    let (Some(pods), Some(services)) = (pods, services) else { return };
    if pods.contains(services.address) || services.contains(pods.address) {
        let node = document.root.get("serviceSubnet").or_else(|| document.root.get("podSubnet"));
        let path = format!("{}.serviceSubnet", document.path());
        let message = format!("{services} overlaps podSubnet, {pods}");
        report.fault(document.number, &path, node.unwrap_or(&document.root).bytes.start, message);
    }
}

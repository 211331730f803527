//! From checked documents of clusters to what the controllers read.

use serde_json::{Map, Value};

use crate::{
    address,
    cluster::{Cluster, ControlPlane, Manifests, PodNetwork},
    cluster_text as parse,
    convert::{text, texts},
    kinds::NodeConfig,
};

/// The default of `ControlPlane.serviceSubnet`.
const SERVICE_SUBNET: &str = "10.96.0.0/12";

pub(crate) fn cluster(fields: &Map<String, Value>) -> Option<Cluster> {
    Some(Cluster {
        endpoints: texts(fields, "endpoints").iter().filter_map(|text| parse::endpoint(text).ok()).collect(),
        certificate_authorities: texts(fields, "certificateAuthorities"),
        bootstrap_token: parse::bootstrap_token(&text(fields, "bootstrapToken")?).ok()?,
        node_subnets: texts(fields, "nodeSubnets")
            .iter()
            .filter_map(|text| address::source(text).ok())
            .collect(),
        dns: texts(fields, "dns").iter().filter_map(|text| address::server(text).ok()).collect(),
        domain: text(fields, "domain")?,
        taints: texts(fields, "taints"),
        pod_network: match text(fields, "podNetwork").as_deref() {
            Some("external") => PodNetwork::External,
            Some(_) | None => PodNetwork::Cairn,
        },
    })
}

pub(crate) fn control_plane(fields: &Map<String, Value>) -> Option<ControlPlane> {
    Some(ControlPlane {
        certificate_authority_key: text(fields, "certificateAuthorityKey")?,
        service_account_key: text(fields, "serviceAccountKey")?,
        encryption_key: text(fields, "encryptionKey")?,
        alternative_names: texts(fields, "alternativeNames"),
        pod_subnet: parse::pod_subnet(&text(fields, "podSubnet")?).ok()?,
        service_subnet: parse::service_subnet(&text(fields, "serviceSubnet")?).ok()?,
    })
}

pub(crate) fn manifests(fields: &Map<String, Value>) -> Option<Manifests> {
    let objects = fields.get("objects").and_then(Value::as_array).cloned();
    Some(Manifests { name: text(fields, "name")?, objects: objects? })
}

/// Where the cluster's DNS is, unless the document says it: by custom.
pub(crate) fn fill_dns(config: &mut NodeConfig) {
    let own = config.control_plane.as_ref().map(|plane| plane.service_subnet);
    let subnet = own.or_else(|| parse::service_subnet(SERVICE_SUBNET).ok());
    if let (Some(cluster), Some(subnet)) = (&mut config.cluster, subnet)
        && cluster.dns.is_empty()
    {
        cluster.dns.push(parse::tenth(subnet));
    }
}

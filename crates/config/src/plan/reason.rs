//! Why an operation is planned, in words; `None` where nothing differs.
//!
//! Secrets never get in here: of credentials and of pods only the place of a difference is told, not the values.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use firewall::Firewall;
use netplan::{Bond, BondMode, Bridge, Device, Selector};
use serde_json::Value;

use crate::{
    Cluster, ControlPlane, DiskSelector, Expiry, Interface, Manifests, NodeConfig, PodNetwork, Registry,
    StaticPod, Update, Volume,
};

/// Longest value that is shown.
const VALUE_MAX_CHARS: usize = 64;
/// Most places of a pod that are named.
const PLACES_MAX: usize = 4;

pub(super) fn hostname(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    changed("Machine.hostname", old.hostname.as_ref(), new.hostname.as_ref())
}

pub(super) fn labels(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    maps("Machine.labels", &old.labels, &new.labels)
}

pub(super) fn install_disk(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    let shown = |config: &NodeConfig| config.install_disk.as_ref().map(selector);
    changed("Machine.installDisk", shown(old).as_ref(), shown(new).as_ref())
}

pub(super) fn trust(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    joined([
        sets("Api.clientCAs", &old.client_cas, &new.client_cas),
        sets("Api.revokedCertificates", &old.revoked, &new.revoked),
    ])
}

pub(super) fn api_addresses(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    let shown = |config: &NodeConfig| list(&config.api_addresses);
    changed("Api.addresses", shown(old).as_ref(), shown(new).as_ref())
}

pub(super) fn trusted_certificates(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    sets("TrustedCertificates.certificates", &old.trusted_certificates, &new.trusted_certificates)
}

pub(super) fn interface(old: Option<&Interface>, new: Option<&Interface>) -> Option<String> {
    let path = |link: &Interface| format!("{}/{}", link.kind(), link.name);
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) if old.kind() == new.kind() => (old, new),
        (Some(old), Some(new)) => return Some(format!("{} takes the place of {}", path(new), path(old))),
        (None, Some(new)) => return Some(format!("{} is added", path(new))),
        (Some(old), None) => return Some(format!("{} is removed", path(old))),
        (None, None) => return None,
    };
    let name = |field: &str| format!("{}.{field}", path(new));
    let (was, is) = (device(old), device(new));
    let settings = is.keys().chain(was.keys()).copied().collect::<BTreeSet<_>>();
    let settings = settings.into_iter().map(|field| changed(&name(field), was.get(field), is.get(field)));
    let rest = [
        changed(&name("dhcp"), Some(&old.dhcp), Some(&new.dhcp)),
        changed(&name("addresses"), list(&old.addresses).as_ref(), list(&new.addresses).as_ref()),
        changed(&name("gateway"), old.gateway.as_ref(), new.gateway.as_ref()),
        changed(&name("routes"), list(&old.routes).as_ref(), list(&new.routes).as_ref()),
        changed(&name("mtu"), old.mtu_bytes.as_ref(), new.mtu_bytes.as_ref()),
    ];
    joined(settings.chain(rest))
}

/// What is set of a link itself, by field.
fn device(link: &Interface) -> BTreeMap<&'static str, String> {
    let mut fields = BTreeMap::new();
    if let Some(Selector { mac, path, driver }) = &link.selector {
        let octets = mac.map(|mac| mac.map(|octet| format!("{octet:02x}")).join(":"));
        fields.extend(octets.map(|mac| ("select.mac", mac)));
        fields.extend(path.clone().map(|path| ("select.path", path)));
        fields.extend(driver.clone().map(|driver| ("select.driver", driver)));
    }
    fields.extend(list(link.device.ports()).map(|ports| ("ports", ports)));
    match &link.device {
        Device::Hardware | Device::Dummy => {}
        Device::Vlan { parent, id } => {
            fields.extend([("parent", parent.clone()), ("id", id.to_string())]);
        }
        Device::Bond { settings: Bond { mode, monitor_interval_ms }, .. } => {
            fields
                .extend([("mode", mode.to_string()), ("monitorIntervalMs", monitor_interval_ms.to_string())]);
            if let BondMode::Lacp { rate, hash } = mode {
                fields.extend([("lacpRate", rate.to_string()), ("hashPolicy", hash.to_string())]);
            }
        }
        Device::Bridge { settings: Bridge { spanning_tree }, .. } => {
            fields.extend([("stp", spanning_tree.is_some().to_string())]);
            let delay = spanning_tree.map(|delay| format!("{} s", delay / 100));
            fields.extend(delay.map(|delay| ("forwardDelay", delay)));
        }
    }
    fields
}

pub(super) fn firewall(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    let (old, new) = match (&old.firewall, &new.firewall) {
        (None, None) => return None,
        (None, Some(_)) => return Some("Firewall is added".into()),
        (Some(_), None) => return Some("Firewall is removed".into()),
        (Some(old), Some(new)) if old == new => return None,
        (Some(old), Some(new)) => (old, new),
    };
    let rules = |firewall: &Firewall| -> BTreeMap<String, String> {
        firewall.allow.iter().map(|rule| (rule.name.clone(), rule.to_string())).collect()
    };
    joined([
        changed("Firewall.default", Some(&old.default), Some(&new.default)),
        changed("Firewall.api", old.api.as_ref(), new.api.as_ref()),
        changed("Firewall.pods", Some(&old.pods), Some(&new.pods)),
        maps("Firewall.allow", &rules(old), &rules(new)),
    ])
    .or_else(|| Some("Firewall.allow changes its order".into()))
}

pub(super) fn resolver(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    let shown = |config: &NodeConfig| {
        let resolver = config.resolver.clone();
        resolver.map(|resolver| (list(&resolver.servers), list(&resolver.search)))
    };
    let (was, is) = (shown(old), shown(new));
    if was == is {
        return None;
    }
    let (old_servers, old_search) = was.clone().unwrap_or_default();
    let (new_servers, new_search) = is.clone().unwrap_or_default();
    joined([
        changed("Resolver.servers", old_servers.as_ref(), new_servers.as_ref()),
        changed("Resolver.search", old_search.as_ref(), new_search.as_ref()),
    ])
    .or_else(|| Some(format!("Resolver is {}", if is.is_some() { "added" } else { "removed" })))
}

pub(super) fn kubelet(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    let shown = |config: &NodeConfig| -> BTreeMap<String, String> {
        config.kubelet.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
    };
    maps("Kubelet", &shown(old), &shown(new))
}

pub(super) fn cluster(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    let (old, new) = match (&old.cluster, &new.cluster) {
        (None, None) => return None,
        (None, Some(_)) => return Some("Cluster is added".into()),
        (Some(_), None) => return Some("Cluster is removed".into()),
        (Some(old), Some(new)) => (old, new),
    };
    let network = |cluster: &Cluster| match cluster.pod_network {
        PodNetwork::Cairn => "cairn",
        PodNetwork::External => "external",
    };
    let token = (old.bootstrap_token != new.bootstrap_token).then(|| "Cluster.bootstrapToken changes".into());
    joined([
        changed("Cluster.endpoints", list(&old.endpoints).as_ref(), list(&new.endpoints).as_ref()),
        sets("Cluster.certificateAuthorities", &old.certificate_authorities, &new.certificate_authorities),
        token,
        changed("Cluster.nodeSubnets", list(&old.node_subnets).as_ref(), list(&new.node_subnets).as_ref()),
        changed("Cluster.dns", list(&old.dns).as_ref(), list(&new.dns).as_ref()),
        changed("Cluster.domain", Some(&old.domain), Some(&new.domain)),
        changed("Cluster.podNetwork", Some(&network(old)), Some(&network(new))),
        changed("Cluster.taints", list(&old.taints).as_ref(), list(&new.taints).as_ref()),
    ])
    .or_else(|| (old != new).then(|| "Cluster.certificateAuthorities change their order".into()))
}

pub(super) fn control_plane(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    let (old, new) = match (&old.control_plane, &new.control_plane) {
        (None, None) => return None,
        (None, Some(_)) => return Some("ControlPlane is added".into()),
        (Some(_), None) => return Some("ControlPlane is removed".into()),
        (Some(old), Some(new)) => (old, new),
    };
    let hidden = |name: &str, differs: bool| differs.then(|| format!("ControlPlane.{name} changes"));
    let names = |plane: &ControlPlane| list(&plane.alternative_names);
    joined([
        hidden("certificateAuthorityKey", old.certificate_authority_key != new.certificate_authority_key),
        hidden("serviceAccountKey", old.service_account_key != new.service_account_key),
        hidden("encryptionKey", old.encryption_key != new.encryption_key),
        changed("ControlPlane.alternativeNames", names(old).as_ref(), names(new).as_ref()),
        changed("ControlPlane.podSubnet", Some(&old.pod_subnet), Some(&new.pod_subnet)),
        changed("ControlPlane.serviceSubnet", Some(&old.service_subnet), Some(&new.service_subnet)),
    ])
}

/// Counts only: an object may be a Secret.
pub(super) fn manifests(old: Option<&Manifests>, new: Option<&Manifests>) -> Option<String> {
    let (old, new) = match both("Manifests", old, new, |document| &document.name) {
        Ok(pair) => pair,
        Err(whole) => return whole,
    };
    let gone = old.objects.iter().filter(|object| !new.objects.contains(object)).count();
    let fresh = new.objects.iter().filter(|object| !old.objects.contains(object)).count();
    let path = format!("Manifests/{}.objects", new.name);
    match (fresh, gone) {
        (0, 0) if old.objects == new.objects => None,
        (0, 0) => Some(format!("{path} change their order")),
        (fresh, gone) => Some(format!("{path}: {fresh} new or changed, {gone} removed or changed")),
    }
}

pub(super) fn pod(old: Option<&StaticPod>, new: Option<&StaticPod>) -> Option<String> {
    let name = |pod: &StaticPod| format!("{}/{}", pod.namespace, pod.name);
    let (old, new) = match both("StaticPod", old, new, name) {
        Ok(pair) => pair,
        Err(whole) => return whole,
    };
    let mut places = Vec::new();
    differences("", &old.manifest, &new.manifest, &mut places);
    let more = places.len().saturating_sub(PLACES_MAX);
    places.truncate(PLACES_MAX);
    if places.is_empty() {
        return None;
    }
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("StaticPod/{} changes at {}{more}", name(new), places.join(", ")))
}

pub(super) fn registry(old: Option<&Registry>, new: Option<&Registry>) -> Option<String> {
    let (old, new) = match both("Registry", old, new, |registry| &registry.host) {
        Ok(pair) => pair,
        Err(whole) => return whole,
    };
    let name = |field: &str| format!("Registry/{}.{field}", new.host);
    // A mirror's URL may carry a token.
    let mirrors = (old.mirrors != new.mirrors).then(|| format!("{} changes", name("mirrors")));
    let credentials = match (&old.credentials, &new.credentials) {
        (None, None) => None,
        (None, Some(_)) => Some("are added"),
        (Some(_), None) => Some("are removed"),
        (Some(old), Some(new)) => (old != new).then_some("change"),
    };
    joined([mirrors, credentials.map(|what| format!("{} {what}", name("credentials")))])
}

pub(super) fn sysctl(name: &str, old: Option<&String>, new: Option<&String>) -> Option<String> {
    changed(&format!("Sysctl.{name}"), old, new)
}

pub(super) fn volume(old: Option<&Volume>, new: Option<&Volume>) -> Option<String> {
    let (old, new) = match both("Volume", old, new, |volume| &volume.name) {
        Ok(pair) => pair,
        Err(whole) => return whole,
    };
    changed(&format!("Volume/{}.disk", new.name), Some(&selector(&old.disk)), Some(&selector(&new.disk)))
}

pub(super) fn swap(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    let percent = |config: &NodeConfig| config.swap.map(|swap| swap.zram_percent);
    changed("Swap.zramPercent", percent(old).as_ref(), percent(new).as_ref())
}

pub(super) fn logging(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    let (old, new) = match (&old.logging, &new.logging) {
        (None, None) => return None,
        (None, Some(_)) => return Some("Logging is added".into()),
        (Some(_), None) => return Some("Logging is removed".into()),
        (Some(old), Some(new)) => (old, new),
    };
    let (was, is) = (list(&old.destinations), list(&new.destinations));
    joined([
        changed("Logging.destinations", was.as_ref(), is.as_ref()),
        maps("Logging.fields", &old.fields, &new.fields),
    ])
}

pub(super) fn time(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    let (old, new) = match (&old.time, &new.time) {
        (None, None) => return None,
        (None, Some(_)) => return Some("Time is added".into()),
        (Some(_), None) => return Some("Time is removed".into()),
        (Some(old), Some(new)) => (list(old), list(new)),
    };
    joined([changed("Time.servers", old.as_ref(), new.as_ref())])
}

pub(super) fn updates(old: &NodeConfig, new: &NodeConfig) -> Option<String> {
    let (old, new) = (&old.update, &new.update);
    // A source's or a probe's URL may carry a token.
    let hidden = |name: &str, differs: bool| differs.then(|| format!("Update.{name} changes"));
    let limit =
        |update: &Update| update.bandwidth_limit_bytes.map(|bytes| format!("{bytes} bytes per second"));
    let expiry = |update: &Update| match update.metadata_expiry {
        Expiry::Enforce => "enforce",
        Expiry::Ignore => "ignore",
    };
    joined([
        changed("Update.channel", old.channel.as_ref(), new.channel.as_ref()),
        hidden("sources", old.sources != new.sources),
        changed("Update.automatic", Some(&old.automatic), Some(&new.automatic)),
        changed("Update.windows", list(&old.windows).as_ref(), list(&new.windows).as_ref()),
        changed("Update.randomDelay", Some(&old.random_delay), Some(&new.random_delay)),
        changed("Update.bandwidthLimit", limit(old).as_ref(), limit(new).as_ref()),
        hidden("notWhile", old.not_while != new.not_while),
        changed("Update.gate.deadline", Some(&old.gate.deadline), Some(&new.gate.deadline)),
        hidden("gate.probes", old.gate.probes != new.gate.probes),
        changed("Update.metadataExpiry", Some(&expiry(old)), Some(&expiry(new))),
    ])
}

/// Both of a pair, or what is to be said of one alone.
fn both<'a, T, N: Display>(
    kind: &str,
    old: Option<&'a T>,
    new: Option<&'a T>,
    name: impl Fn(&'a T) -> N,
) -> Result<(&'a T, &'a T), Option<String>> {
    match (old, new) {
        (Some(old), Some(new)) => Ok((old, new)),
        (None, Some(new)) => Err(Some(format!("{kind}/{} is added", name(new)))),
        (Some(old), None) => Err(Some(format!("{kind}/{} is removed", name(old)))),
        (None, None) => Err(None),
    }
}

fn changed<T: PartialEq + Display>(path: &str, old: Option<&T>, new: Option<&T>) -> Option<String> {
    match (old, new) {
        (None, None) => None,
        (None, Some(new)) => Some(format!("{path} is set to {}", shown(new))),
        (Some(old), None) => Some(format!("{path} is no longer set to {}", shown(old))),
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => Some(format!("{path} changes from {} to {}", shown(old), shown(new))),
    }
}

fn shown(value: impl Display) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn maps(path: &str, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Option<String> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    joined(names.into_iter().map(|name| changed(&format!("{path}.{name}"), old.get(name), new.get(name))))
}

/// Members by number alone; certificates and digests mean nothing to the eye.
fn sets(path: &str, old: &[String], new: &[String]) -> Option<String> {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
    let count = |number: usize, what: &str| (number > 0).then(|| format!("{number} {what}"));
    let counts =
        [count(new.difference(&old).count(), "added"), count(old.difference(&new).count(), "removed")];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    (!counts.is_empty()).then(|| format!("{path}: {}", counts.join(", ")))
}

fn joined(reasons: impl IntoIterator<Item = Option<String>>) -> Option<String> {
    let reasons: Vec<String> = reasons.into_iter().flatten().collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// A list as one value; an empty one is none.
fn list<T: Display>(items: impl IntoIterator<Item = T>) -> Option<String> {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    (!items.is_empty()).then(|| format!("[{}]", items.join(", ")))
}

fn selector(disk: &DiskSelector) -> String {
    let fields = [
        disk.bus.map(|bus| format!("bus {}", format!("{bus:?}").to_lowercase())),
        disk.model.as_ref().map(|model| format!("model {model:?}")),
        disk.serial.as_ref().map(|serial| format!("serial {serial:?}")),
        disk.min_bytes.map(|bytes| format!("at least {bytes} bytes")),
        disk.max_bytes.map(|bytes| format!("at most {bytes} bytes")),
    ];
    fields.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The places where two values differ.
fn differences(path: &str, old: &Value, new: &Value, places: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match (old.get(name), new.get(name)) {
                    (Some(old), Some(new)) => differences(&path, old, new, places),
                    (Some(_), None) | (None, Some(_)) => places.push(path),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                differences(&format!("{path}[{index}]"), old, new, places);
            }
        }
        _ if old == new => {}
        _ => places.push(path.to_owned()),
    }
}

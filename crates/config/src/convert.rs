//! From checked documents to what the controllers read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::{
    address, convert_cluster, convert_firewall, convert_link,
    documents::{Document, Documents},
    duration::{self, Seconds},
    effective, format,
    kinds::{Bus, Credentials, DiskSelector, Logging, NodeConfig, Registry, Resolver, Swap, Volume},
    log_url,
    pod::StaticPod,
    time_url,
    update::{self, Expiry, Gate, Update, Weekday, Window},
};

/// The typed configuration of documents that were checked; of what was not, nothing is taken.
pub(crate) fn node_config(documents: &Documents) -> NodeConfig {
    let mut config = NodeConfig::default();
    for document in &effective::effective(documents) {
        take(&mut config, document);
    }
    convert_cluster::fill_dns(&mut config);
    config
}

fn take(config: &mut NodeConfig, document: &Document) {
    let fields = document.fields();
    match document.key().kind.as_str() {
        "Machine" => {
            config.hostname = text(fields, "hostname");
            config.labels = settings(fields.get("labels"));
            config.install_disk = fields.get("installDisk").map(disk_selector);
        }
        "Api" => {
            config.client_cas = texts(fields, "clientCAs");
            config.revoked = texts(fields, "revokedCertificates");
            config.api_addresses =
                texts(fields, "addresses").iter().filter_map(|text| address::own(text).ok()).collect();
        }
        kind @ ("Interface" | "Vlan" | "Bond" | "Bridge" | "Dummy") => {
            config.interfaces.extend(convert_link::interface(kind, fields));
        }
        "Firewall" => config.firewall = Some(convert_firewall::firewall(fields)),
        "Resolver" => {
            let servers =
                texts(fields, "servers").iter().filter_map(|text| address::server(text).ok()).collect();
            config.resolver = Some(Resolver { servers, search: texts(fields, "search") });
        }
        "Kubelet" => {
            let object = fields.get("configuration").and_then(Value::as_object);
            config.kubelet = object.cloned().unwrap_or_default();
        }
        "StaticPod" => {
            // As it was written: the kubelet fills in its own defaults.
            let pod = fields.get("pod").cloned().unwrap_or_default();
            config.static_pods.extend(StaticPod::from_manifest(pod).ok());
        }
        "Registry" => config.registries.extend(registry(fields)),
        "TrustedCertificates" => config.trusted_certificates = texts(fields, "certificates"),
        "Sysctl" => config.sysctls = settings(fields.get("values")),
        "Volume" => {
            let volume = text(fields, "name").zip(fields.get("disk").map(disk_selector));
            config.volumes.extend(volume.map(|(name, disk)| Volume { name, disk }));
        }
        "Swap" => config.swap = number(fields, "zramPercent").map(|zram_percent| Swap { zram_percent }),
        "Logging" => config.logging = Some(logging(fields)),
        "Time" => {
            let urls = texts(fields, "servers");
            config.time = Some(urls.iter().filter_map(|url| time_url::parse(url).ok()).collect());
        }
        "Update" => config.update = update(fields),
        "Cluster" => config.cluster = convert_cluster::cluster(fields),
        "ControlPlane" => config.control_plane = convert_cluster::control_plane(fields),
        "Manifests" => config.manifests.extend(convert_cluster::manifests(fields)),
        _ => {}
    }
}

fn logging(fields: &Map<String, Value>) -> Logging {
    let items = fields.get("destinations").and_then(Value::as_array).into_iter().flatten();
    let urls = items.filter_map(|item| item.get("url")?.as_str());
    Logging {
        destinations: urls.filter_map(|url| log_url::parse(url).ok()).collect(),
        fields: settings(fields.get("fields")),
    }
}

fn update(fields: &Map<String, Value>) -> Update {
    let none = Map::new();
    let gate = fields.get("gate").and_then(Value::as_object).unwrap_or(&none);
    let default = Gate::default();
    let windows = fields.get("windows").and_then(Value::as_array).into_iter().flatten();
    Update {
        channel: text(fields, "channel"),
        sources: texts(fields, "sources"),
        automatic: fields.get("automatic").and_then(Value::as_bool).unwrap_or_default(),
        windows: windows.filter_map(|item| window(item.as_object()?)).collect(),
        random_delay: duration(fields, "randomDelay").unwrap_or_default(),
        bandwidth_limit_bytes: text(fields, "bandwidthLimit").and_then(|text| format::size(&text).ok()),
        not_while: texts(fields, "notWhile"),
        gate: Gate {
            deadline: duration(gate, "deadline").unwrap_or(default.deadline),
            probes: texts(gate, "probes").iter().filter_map(|url| update::probe(url).ok()).collect(),
        },
        metadata_expiry: match text(fields, "metadataExpiry").as_deref() {
            Some("ignore") => Expiry::Ignore,
            Some(_) | None => Expiry::Enforce,
        },
    }
}

fn window(fields: &Map<String, Value>) -> Option<Window> {
    let days: BTreeSet<_> =
        texts(fields, "days").iter().filter_map(|name| Weekday::from_name(name)).collect();
    Some(Window {
        days: if days.is_empty() { Weekday::all() } else { days },
        start_minute: update::time_of_day(&text(fields, "start")?)?,
        duration: duration(fields, "duration")?,
    })
}

pub(crate) fn duration(fields: &Map<String, Value>, name: &str) -> Option<Seconds> {
    duration::parse(&text(fields, name)?)
}

fn registry(fields: &Map<String, Value>) -> Option<Registry> {
    let credentials = fields.get("credentials").and_then(Value::as_object).and_then(|credentials| {
        Some(Credentials {
            username: text(credentials, "username")?,
            password: text(credentials, "password")?,
        })
    });
    Some(Registry { host: text(fields, "host")?, mirrors: texts(fields, "mirrors"), credentials })
}

/// A selector; of one that is wrong, what is right in it.
pub(crate) fn disk_selector(value: &Value) -> DiskSelector {
    let none = Map::new();
    let fields = value.as_object().unwrap_or(&none);
    let bytes = |name: &str| format::size(&text(fields, name)?).ok();
    let bus = match text(fields, "bus").as_deref() {
        Some("ata") => Some(Bus::Ata),
        Some("mmc") => Some(Bus::Mmc),
        Some("nvme") => Some(Bus::Nvme),
        Some("usb") => Some(Bus::Usb),
        Some("virtio") => Some(Bus::Virtio),
        Some(_) | None => None,
    };
    DiskSelector {
        bus,
        model: text(fields, "model"),
        serial: text(fields, "serial"),
        min_bytes: bytes("minSize"),
        max_bytes: bytes("maxSize"),
    }
}

/// Texts by name; numbers are written out.
fn settings(value: Option<&Value>) -> BTreeMap<String, String> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.map(|(name, value)| (name.clone(), text(value))).collect()
}

pub(crate) fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields.get(name).and_then(Value::as_str).map(str::to_owned)
}

pub(crate) fn texts(fields: &Map<String, Value>, name: &str) -> Vec<String> {
    let items = fields.get(name).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

pub(crate) fn number(fields: &Map<String, Value>, name: &str) -> Option<u32> {
    fields.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())
}

//! From checked documents of links to what the network controller reads.

use netplan::{Bond, BondMode, Bridge, Device, HashPolicy, LacpRate, Selector, TABLE_MAIN, default_metric};
use serde_json::{Map, Value};

use crate::{
    address,
    convert::{duration, number, text, texts},
    link::{Interface, StaticRoute},
};

/// How long a port of a bridge that speaks the spanning tree protocol listens (IEEE 802.1D, table 8-3), in seconds.
const FORWARD_DELAY_S: u64 = 15;
/// The kernel counts it in hundredths of a second.
const FORWARD_DELAY_UNITS: u64 = 100;
/// The kernel's doc names it as a start.
const MONITOR_INTERVAL_MS: u32 = 100;

/// The link of a document; of one that is wrong, nothing.
pub(crate) fn interface(kind: &str, fields: &Map<String, Value>) -> Option<Interface> {
    let addresses = texts(fields, "addresses");
    let routes = fields.get("routes").and_then(Value::as_array).into_iter().flatten();
    let asks = kind == "Interface" && addresses.is_empty();
    Some(Interface {
        name: text(fields, "name")?,
        device: device(kind, fields)?,
        selector: fields.get("select").map(selector),
        dhcp: fields.get("dhcp").and_then(Value::as_bool).unwrap_or(asks),
        addresses: addresses.iter().filter_map(|text| address::subnet(text).ok()).collect(),
        gateway: text(fields, "gateway").and_then(|text| address::usable(&text).ok()),
        routes: routes.filter_map(|item| route(item.as_object()?)).collect(),
        mtu_bytes: number(fields, "mtu"),
    })
}

/// A selector; of one that is wrong, what is right in it.
pub(crate) fn selector(value: &Value) -> Selector {
    let none = Map::new();
    let fields = value.as_object().unwrap_or(&none);
    Selector {
        mac: text(fields, "mac").and_then(|text| address::mac(&text)),
        path: text(fields, "path"),
        driver: text(fields, "driver"),
    }
}

/// A route; of one that is wrong, nothing.
pub(crate) fn route(fields: &Map<String, Value>) -> Option<StaticRoute> {
    let destination = address::destination(&text(fields, "to")?).ok()?;
    Some(StaticRoute {
        destination,
        gateway: match text(fields, "via") {
            Some(via) => Some(address::next_hop(&via).ok()?),
            None => None,
        },
        metric: number(fields, "metric").unwrap_or_else(|| default_metric(destination.address)),
        table: number(fields, "table").unwrap_or(TABLE_MAIN),
    })
}

fn device(kind: &str, fields: &Map<String, Value>) -> Option<Device> {
    Some(match kind {
        "Interface" => Device::Hardware,
        "Vlan" => {
            Device::Vlan { parent: text(fields, "parent")?, id: u16::try_from(number(fields, "id")?).ok()? }
        }
        "Bond" => Device::Bond { settings: bond(fields), ports: texts(fields, "ports") },
        "Bridge" => Device::Bridge { settings: bridge(fields), ports: texts(fields, "ports") },
        "Dummy" => Device::Dummy,
        _ => return None,
    })
}

fn bond(fields: &Map<String, Value>) -> Bond {
    let mode = match text(fields, "mode").as_deref() {
        Some("802.3ad") => BondMode::Lacp {
            rate: match text(fields, "lacpRate").as_deref() {
                Some("fast") => LacpRate::Fast,
                Some(_) | None => LacpRate::Slow,
            },
            hash: match text(fields, "hashPolicy").as_deref() {
                Some("layer2") => HashPolicy::Layer2,
                Some("layer3+4") => HashPolicy::Layer34,
                Some(_) | None => HashPolicy::Layer23,
            },
        },
        Some(_) | None => BondMode::ActiveBackup,
    };
    Bond { mode, monitor_interval_ms: number(fields, "monitorIntervalMs").unwrap_or(MONITOR_INTERVAL_MS) }
}

fn bridge(fields: &Map<String, Value>) -> Bridge {
    let speaks = fields.get("stp").and_then(Value::as_bool).unwrap_or_default();
    let delay_s = duration(fields, "forwardDelay").map_or(FORWARD_DELAY_S, |delay| delay.0);
    let delay = u32::try_from(delay_s.saturating_mul(FORWARD_DELAY_UNITS)).unwrap_or(u32::MAX);
    Bridge { spanning_tree: speaks.then_some(delay) }
}

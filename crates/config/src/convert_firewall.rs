//! From a checked document to the rules that the firewall is made of.

use firewall::{Firewall, Policy, Protocol, Rule, Source};
use serde_json::{Map, Value};

use crate::{
    address,
    convert::{text, texts},
    port,
};

/// The firewall of a document; of one that is wrong, what is right in it.
pub(crate) fn firewall(fields: &Map<String, Value>) -> Firewall {
    let rules = fields.get("allow").and_then(Value::as_array).into_iter().flatten();
    let default = Firewall::default();
    Firewall {
        default: policy(fields, "default").unwrap_or(default.default),
        api: fields.get("api").and_then(Value::as_object).map(source),
        pods: policy(fields, "pods").unwrap_or(default.pods),
        allow: rules.filter_map(|item| rule(item.as_object()?)).collect(),
    }
}

fn policy(fields: &Map<String, Value>, name: &str) -> Option<Policy> {
    match text(fields, name).as_deref() {
        Some("deny") => Some(Policy::Deny),
        Some("accept") => Some(Policy::Accept),
        Some(_) | None => None,
    }
}

fn rule(fields: &Map<String, Value>) -> Option<Rule> {
    let protocol = match text(fields, "protocol").as_deref() {
        Some("tcp") => Protocol::Tcp,
        Some("udp") => Protocol::Udp,
        Some("icmp") => Protocol::Icmp,
        Some(_) | None => return None,
    };
    let ports = fields.get("ports").and_then(Value::as_array).into_iter().flatten();
    Some(Rule {
        name: text(fields, "name")?,
        protocol,
        ports: ports.filter_map(|item| port::parse(item).ok()).collect(),
        source: source(fields),
    })
}

fn source(fields: &Map<String, Value>) -> Source {
    Source {
        subnets: texts(fields, "from").iter().filter_map(|text| address::source(text).ok()).collect(),
        interfaces: texts(fields, "interfaces"),
    }
}

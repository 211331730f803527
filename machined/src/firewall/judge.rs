//! What is to be said of the firewall. Pure.

use std::collections::BTreeMap;

use ::firewall::{API_PORT, Count, Firewall, Policy, Source, counter_of_built_in, counter_of_rule};
use resource::spec;

use crate::health::Status;

/// The condition "firewall".
pub fn condition(is_configured: bool, failure: Option<&str>) -> (Status, &'static str, String) {
    match (failure, is_configured) {
        (None, true) => (Status::Healthy, "Applied", String::new()),
        (None, false) => (Status::Healthy, "NotConfigured", String::new()),
        (Some(failure), true) => {
            let message = format!(
                "the kernel has not the rules that are configured, and may filter by former ones or by none: {failure}"
            );
            (Status::Unhealthy, "NotApplied", message)
        }
        (Some(failure), false) => {
            (Status::Unhealthy, "NotRemoved", format!("former rules may still be in force: {failure}"))
        }
    }
}

/// The rules and what they have counted, as resources by name.
pub fn resources(firewall: &Firewall, counters: &BTreeMap<String, Count>) -> Vec<(String, spec::Firewall)> {
    let own = built_in(firewall)
        .into_iter()
        .map(|(name, action, traffic)| (name, counter_of_built_in(name), "cairn", action, traffic));
    let rules = firewall.allow.iter().map(|rule| {
        (rule.name.as_str(), counter_of_rule(&rule.name), "configuration", Policy::Accept, rule.to_string())
    });
    let resource = |(name, counter, origin, action, traffic): (&str, String, &str, Policy, String)| {
        let Count { packets, bytes } = counters.get(&counter).copied().unwrap_or_default();
        let spec =
            spec::Firewall { origin: origin.to_owned(), action: action.to_string(), traffic, packets, bytes };
        (name.to_owned(), spec)
    };
    own.chain(rules).map(resource).collect()
}

fn built_in(firewall: &Firewall) -> Vec<(&'static str, Policy, String)> {
    let everywhere = Source::default();
    let api = firewall.api.as_ref().unwrap_or(&everywhere);
    let essential = "ICMP errors, IPv6 neighbours and routers, multicast groups, DHCPv4, multicast DNS";
    let mut shown = vec![
        ("essential", Policy::Accept, essential.to_owned()),
        ("api", Policy::Accept, format!("tcp {API_PORT} {api}")),
        ("default", firewall.default, "all else".to_owned()),
    ];
    if firewall.api.is_some() {
        shown.push(("api-denied", Policy::Deny, format!("tcp {API_PORT} from anywhere else")));
    }
    if firewall.pods == Policy::Accept {
        shown.push(("pods", Policy::Accept, format!("all but tcp {API_PORT} from the node's pods")));
    }
    shown
}

#[cfg(test)]
mod tests {
    use ::firewall::{Ports, Protocol, Rule};

    use super::*;

    #[test]
    fn what_is_in_force_is_shown_with_what_it_counted() {
        let web = Rule {
            name: "web".into(),
            protocol: Protocol::Tcp,
            ports: vec![Ports::one(80)],
            source: Source::default(),
        };
        let firewall = Firewall { allow: vec![web], ..Firewall::default() };
        let counters = [
            ("rule-web".to_owned(), Count { packets: 3, bytes: 180 }),
            ("cairn-default".to_owned(), Count { packets: 9, bytes: 540 }),
        ];
        let shown: BTreeMap<_, _> = resources(&firewall, &counters.into()).into_iter().collect();
        assert_eq!(shown.keys().collect::<Vec<_>>(), ["api", "default", "essential", "pods", "web"]);
        let web = &shown["web"];
        assert_eq!((web.origin.as_str(), web.action.as_str()), ("configuration", "accept"));
        assert_eq!((web.traffic.as_str(), web.packets, web.bytes), ("tcp 80 from anywhere", 3, 180));
        assert_eq!((shown["default"].action.as_str(), shown["default"].packets), ("deny", 9));
        assert_eq!(shown["api"].traffic, "tcp 50000 from anywhere");
        let api = Some(Source { interfaces: vec!["office".into()], ..Source::default() });
        let narrow = Firewall { api, pods: Policy::Deny, default: Policy::Accept, ..firewall };
        let shown: BTreeMap<_, _> = resources(&narrow, &BTreeMap::new()).into_iter().collect();
        assert_eq!(shown.keys().collect::<Vec<_>>(), ["api", "api-denied", "default", "essential", "web"]);
        assert_eq!(shown["api"].traffic, "tcp 50000 in by office");
        assert_eq!(shown["default"].action, "accept");
    }

    #[test]
    fn what_fails_is_named_either_way() {
        assert_eq!(condition(true, None), (Status::Healthy, "Applied", String::new()));
        assert_eq!(condition(false, None), (Status::Healthy, "NotConfigured", String::new()));
        for (configured, expected) in [(true, "NotApplied"), (false, "NotRemoved")] {
            let (status, reason, message) = condition(configured, Some("why"));
            assert_eq!((status, reason), (Status::Unhealthy, expected));
            assert!(message.ends_with(": why"), "{message}");
        }
    }
}

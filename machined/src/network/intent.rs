//! Which links are to have which source of addresses, by the configuration and the links that there are. Pure.

use config::Interface;

use super::observation::Link;

/// What the links are for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Intent<'a> {
    /// Links that are to have addresses, in the order of their documents.
    pub wanted: Vec<Wanted<'a>>,
    /// Links that the configuration names and that do not exist.
    pub missing: Vec<&'a str>,
}

/// A link that is to have addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The link.
    pub link: &'a Link,
    /// Where they come from.
    pub source: Source<'a>,
    /// The largest packet that is configured, in bytes.
    pub mtu_bytes: Option<u32>,
}

/// Where addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// A server on the link.
    Dhcp,
    /// The configuration.
    Static(&'a Interface),
}

/// What the documents say; without any, one link asks DHCP.
pub fn intent<'a>(
    interfaces: &'a [Interface],
    links: &'a [Link],
    current: Option<Current>,
    had_lease: impl Fn(&Link) -> bool,
) -> Intent<'a> {
    if interfaces.is_empty() {
        let uplink = choose_uplink(links, current, had_lease);
        let wanted = uplink.map(|link| Wanted { link, source: Source::Dhcp, mtu_bytes: None });
        return Intent { wanted: wanted.into_iter().collect(), missing: Vec::new() };
    }
    let mut intent = Intent::default();
    for interface in interfaces {
        let source = if interface.dhcp { Source::Dhcp } else { Source::Static(interface) };
        match candidates(links).find(|link| link.name == interface.name) {
            Some(link) => intent.wanted.push(Wanted { link, source, mtu_bytes: interface.mtu_bytes }),
            None => intent.missing.push(&interface.name),
        }
    }
    intent
}

/// Links that can be configured.
pub fn candidates(links: &[Link]) -> impl Iterator<Item = &Link> + Clone {
    links.iter().filter(|link| link.physical && link.mac().is_some())
}

/// The link to ask for a lease: the one at hand while it has carrier or a lease in use, else the first with carrier,
/// else one that had a lease before, else the first.
fn choose_uplink(
    links: &[Link],
    current: Option<Current>,
    had_lease: impl Fn(&Link) -> bool,
) -> Option<&Link> {
    let mut candidates = candidates(links);
    let at_hand = current.and_then(|current| {
        let link = candidates.clone().find(|link| link.index == current.link)?;
        Some((link, link.carrier || current.holds_lease))
    });
    if let Some((link, true)) = at_hand {
        return Some(link);
    }
    candidates
        .clone()
        .find(|link| link.carrier)
        .or(at_hand.map(|(link, _)| link))
        .or_else(|| candidates.clone().find(|link| had_lease(link)))
        .or_else(|| candidates.next())
}

/// The uplink so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// Index of the link.
    pub link: u32,
    /// Whether its lease is in use.
    pub holds_lease: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.into(),
            hardware_address: vec![2, 0, 0, 0, 0, 1],
            carrier: true,
            physical: true,
            ..Link::default()
        }
    }

    #[test]
    fn the_uplink_is_the_first_with_carrier_and_sticks_to_its_lease() {
        let dead = |index, name| Link { carrier: false, ..link(index, name) };
        let name = |links: &[Link], current, had: &str| {
            choose_uplink(links, current, |link| link.name == had).map(|link| link.name.clone())
        };
        let on = |link, holds_lease| Some(Current { link, holds_lease });
        let both = [link(2, "eth0"), link(3, "eth1")];
        let second = [dead(2, "eth0"), link(3, "eth1")];
        let none = [dead(2, "eth0"), dead(3, "eth1")];
        for (links, current, had, expected) in [
            (&both, None, "", "eth0"),
            (&both, on(3, false), "", "eth1"),
            (&second, None, "eth0", "eth1"),
            (&second, on(2, false), "", "eth1"),
            (&second, on(2, true), "", "eth0"),
            (&second, on(9, true), "", "eth1"),
            (&none, None, "", "eth0"),
            (&none, None, "eth1", "eth1"),
            (&none, on(3, false), "", "eth1"),
        ] {
            assert_eq!(name(links, current, had).as_deref(), Some(expected), "{current:?} {had}");
        }
        let software = [Link { physical: false, ..link(2, "veth0") }];
        assert_eq!(name(&software, None, ""), None);
    }

    #[test]
    fn documents_leave_nothing_to_chance() {
        let document = |name: &str, dhcp| Interface {
            name: name.into(),
            dhcp,
            addresses: vec![],
            gateway: None,
            mtu_bytes: Some(1400),
        };
        let links = [link(2, "eth0"), Link { carrier: false, ..link(3, "eth1") }, link(4, "eth2")];
        let documents = [document("eth2", false), document("eth7", true), document("eth1", true)];
        let found = intent(&documents, &links, Some(Current { link: 2, holds_lease: true }), |_| true);
        let wanted: Vec<_> = found.wanted.iter().map(|w| (w.link.name.as_str(), w.source)).collect();
        let [fixed, ..] = &documents;
        assert_eq!(wanted, [("eth2", Source::Static(fixed)), ("eth1", Source::Dhcp)]);
        assert!(found.wanted.iter().all(|wanted| wanted.mtu_bytes == Some(1400)));
        assert_eq!(found.missing, ["eth7"]);
        let default = intent(&[], &links, None, |_| false);
        assert_eq!((default.wanted.len(), default.wanted[0].source), (1, Source::Dhcp));
        assert_eq!(default.wanted[0].link.name, "eth0");
    }
}

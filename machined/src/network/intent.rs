//! Which links are to have which source of addresses, by the configuration and the links that there are. Pure.

use std::collections::BTreeMap;

use config::Interface;
use netplan::{Device, Link, Observed, Problem, Selection};

/// What the links are for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Intent<'a> {
    /// Links that are to be set up, in the order of their documents.
    pub wanted: Vec<Wanted<'a>>,
    /// What the documents name and the hardware does not have.
    pub faults: Vec<Fault>,
}

/// A link that is to be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The kernel's name of it.
    pub name: String,
    /// What it is, with the kernel's names of ports and of the link below.
    pub device: Device,
    /// The link, if it is there.
    pub link: Option<&'a Link>,
    /// Its document, if there is one.
    pub interface: Option<&'a Interface>,
    /// Where its addresses come from.
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

/// Why a document is not obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Hardware that it names is not there.
    Missing(String),
    /// More than one link is meant, or someone else has the name.
    Conflict(String),
}

/// What the documents say; without any, one link asks DHCP.
pub fn intent<'a>(
    interfaces: &'a [Interface],
    observed: &'a Observed,
    current: Option<Current>,
    had_lease: impl Fn(&Link) -> bool,
) -> Intent<'a> {
    let links = &observed.links;
    if interfaces.is_empty() {
        let wanted = choose_uplink(links, current, had_lease).map(|link| Wanted {
            name: link.name.clone(),
            device: Device::Hardware,
            link: Some(link),
            interface: None,
            source: Source::Dhcp,
            mtu_bytes: None,
        });
        return Intent { wanted: wanted.into_iter().collect(), faults: Vec::new() };
    }
    let mut intent = Intent::default();
    let names: BTreeMap<&str, Option<String>> = interfaces
        .iter()
        .map(|interface| (interface.name.as_str(), name(interface, links, &mut intent.faults)))
        .collect();
    // What no document names goes by the kernel's name.
    let resolve = |name: &str| names.get(name).map_or_else(|| Some(name.to_owned()), Clone::clone);
    for interface in interfaces {
        let Some(name) = resolve(&interface.name) else { continue };
        let Some(device) = device(&interface.device, resolve) else {
            let parent = interface.device.parent().unwrap_or_default();
            let fault = format!("{name} cannot be made: the link {parent} below it is not there");
            intent.faults.push(Fault::Missing(fault));
            continue;
        };
        let link = observed.link(&name).filter(|link| link.is_usable());
        let source = if interface.dhcp { Source::Dhcp } else { Source::Static(interface) };
        intent.wanted.push(Wanted {
            name,
            device,
            link,
            interface: Some(interface),
            source,
            mtu_bytes: interface.mtu_bytes,
        });
    }
    intent
}

/// The kernel's name for the link of a document.
fn name(interface: &Interface, links: &[Link], faults: &mut Vec<Fault>) -> Option<String> {
    let Some(selector) = &interface.selector else { return Some(interface.name.clone()) };
    let document = format!("{}/{}", interface.kind(), interface.name);
    match selector.select(links) {
        Selection::One(link) => Some(link.name.clone()),
        Selection::None => {
            faults.push(Fault::Missing(format!("no link is what {document} selects")));
            None
        }
        Selection::Several(one, other) => {
            let message =
                format!("{} and {} are both what {document} selects: say more of it", one.name, other.name);
            faults.push(Fault::Conflict(message));
            None
        }
    }
}

/// A device with the kernel's names; ports that are not there are left out, since that is said already.
fn device(device: &Device, resolve: impl Fn(&str) -> Option<String>) -> Option<Device> {
    let kernel_names = |ports: &[String]| ports.iter().filter_map(|port| resolve(port)).collect();
    Some(match device {
        Device::Hardware => Device::Hardware,
        Device::Vlan { parent, id } => Device::Vlan { parent: resolve(parent)?, id: *id },
        Device::Bond { settings, ports } => Device::Bond { settings: *settings, ports: kernel_names(ports) },
        Device::Bridge { settings, ports } => {
            Device::Bridge { settings: *settings, ports: kernel_names(ports) }
        }
        Device::Dummy => Device::Dummy,
    })
}

impl Fault {
    /// In words.
    pub fn message(&self) -> &str {
        match self {
            Self::Missing(message) | Self::Conflict(message) => message,
        }
    }
}

impl From<&Problem> for Fault {
    fn from(problem: &Problem) -> Self {
        match problem {
            Problem::Missing { .. } | Problem::ParentMissing { .. } | Problem::PortMissing { .. } => {
                Self::Missing(problem.to_string())
            }
            Problem::NameTaken { .. } | Problem::Loop { .. } => Self::Conflict(problem.to_string()),
        }
    }
}

impl Intent<'_> {
    /// Whether a link is a port of another that is wanted.
    pub fn is_port(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted.device.ports().iter().any(|port| port == name))
    }
}

/// Hardware that can be configured.
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
    use netplan::{Bridge, Selector};

    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.into(),
            hardware_address: vec![2, 0, 0, 0, 0, index.try_into().unwrap()],
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
            mtu_bytes: Some(1400),
            ..Interface::default()
        };
        let links = vec![link(2, "eth0"), Link { carrier: false, ..link(3, "eth1") }, link(4, "eth2")];
        let observed = Observed { links, ..Observed::default() };
        let documents = [document("eth2", false), document("eth7", true), document("eth1", true)];
        let found = intent(&documents, &observed, Some(Current { link: 2, holds_lease: true }), |_| true);
        let wanted: Vec<_> =
            found.wanted.iter().map(|w| (w.name.as_str(), w.source, w.link.is_some())).collect();
        let [fixed, ..] = &documents;
        assert_eq!(
            wanted,
            [
                ("eth2", Source::Static(fixed), true),
                ("eth7", Source::Dhcp, false),
                ("eth1", Source::Dhcp, true)
            ]
        );
        assert!(found.wanted.iter().all(|wanted| wanted.mtu_bytes == Some(1400)));
        let default = intent(&[], &observed, None, |_| false);
        assert_eq!((default.wanted.len(), default.wanted[0].source), (1, Source::Dhcp));
        assert_eq!(default.wanted[0].name, "eth0");
    }

    #[test]
    fn documents_name_links_by_what_they_are() {
        let selected = |name: &str, selector| Interface {
            name: name.into(),
            selector: Some(selector),
            ..Interface::default()
        };
        let mac = |last| Selector { mac: Some([2, 0, 0, 0, 0, last]), ..Selector::default() };
        let vlan = |name: &str, parent: &str| Interface {
            name: name.into(),
            device: Device::Vlan { parent: parent.into(), id: 7 },
            ..Interface::default()
        };
        let ports = ["inside", "eth9", "gone"].map(str::to_owned).to_vec();
        let settings = Bridge { spanning_tree: None };
        let bridge = Interface {
            name: "lan".into(),
            device: Device::Bridge { settings, ports },
            ..Interface::default()
        };
        let documents = [
            selected("outside", mac(3)),
            selected("inside", mac(2)),
            // The name of another link's: it must not be taken for that.
            selected("gone", mac(8)),
            selected("both", Selector { driver: Some(String::new()), ..Selector::default() }),
            vlan("upper", "outside"),
            vlan("lost", "gone"),
            bridge,
        ];
        let links = vec![link(2, "eth0"), link(3, "eth1"), link(4, "gone")];
        let observed = Observed { links, ..Observed::default() };
        let found = intent(&documents, &observed, None, |_| false);
        let names: Vec<&str> = found.wanted.iter().map(|wanted| wanted.name.as_str()).collect();
        assert_eq!(names, ["eth1", "eth0", "upper", "lan"]);
        assert_eq!(found.wanted[2].device.parent(), Some("eth1"));
        assert_eq!(found.wanted[3].device.ports(), ["eth0", "eth9"]);
        assert!(found.is_port("eth0") && !found.is_port("eth1"));
        assert_eq!(
            found.faults,
            [
                Fault::Missing("no link is what Interface/gone selects".into()),
                Fault::Conflict("eth0 and eth1 are both what Interface/both selects: say more of it".into()),
                Fault::Missing("lost cannot be made: the link gone below it is not there".into()),
            ]
        );
    }
}

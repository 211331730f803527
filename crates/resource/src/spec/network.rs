//! What the kernel says about the network.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Kind, Spec};

/// A network link; the id is its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// "ether", "loopback", "vlan", "bond", "bridge", "veth" and so on.
    pub kind: String,
    /// Where it comes from: "kernel" (hardware and loopback), "configuration" or "other".
    pub origin: String,
    /// Document that it is set up by, such as "Bond/uplink"; empty when none is.
    pub document: String,
    /// Bond, bridge or other link that it is a port of; empty when it is none.
    pub master: String,
    /// Link below it, of a VLAN; else empty.
    pub parent: String,
    /// Number on the wire, of a VLAN.
    pub vlan_id: Option<u16>,
    /// Hardware address, lower-case hex with colons; empty when it has none.
    pub hardware_address: String,
    /// Hardware address that the device was made with; empty when the driver does not say.
    pub permanent_address: String,
    /// Driver; empty for links that are software.
    pub driver: String,
    /// Maximum transmission unit.
    pub mtu_bytes: u32,
    /// Whether the link is administratively up.
    pub up: bool,
    /// Whether there is a carrier.
    pub carrier: bool,
}

impl Spec for Link {
    const KIND: Kind = Kind {
        name: "link",
        plural: "links",
        aliases: &[],
        description: "Network interfaces",
        columns: &["kind", "origin", "master", "up", "carrier", "mtuBytes", "hardwareAddress"],
    };
}

/// An address of a link; the id is `<link>/<address>/<prefix length>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Address with prefix length.
    pub address: String,
    /// Name of the link.
    pub link: String,
    /// "inet" or "inet6".
    pub family: String,
    /// "global", "link" or "host".
    pub scope: String,
    /// Who set it: "dhcp", "static", "kernel" or "other".
    pub source: String,
    /// Whether this is the node's own address.
    pub primary: bool,
}

impl Spec for Address {
    const KIND: Kind = Kind {
        name: "address",
        plural: "addresses",
        aliases: &["addr"],
        description: "Addresses of network interfaces",
        columns: &["address", "link", "source", "scope", "primary"],
    };
}

/// A route; the id is `<table>/<destination>/<prefix length>/<metric>/<link>`, with the next hop behind it where several differ by it alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Where it leads, with prefix length.
    pub destination: String,
    /// Next hop; empty when the destination is on the link itself.
    pub gateway: String,
    /// Name of the link; empty when it has none or several.
    pub link: String,
    /// The node's address as the other side sees it; empty when the kernel chooses.
    pub source: String,
    /// Of several to one place the least counts.
    pub metric: u32,
    /// Routing table; 254 is the main one.
    pub table: u32,
    /// "inet" or "inet6".
    pub family: String,
    /// Who set it: "dhcp", "static", "kernel", "ra" (a router's advertisement) or "other".
    pub origin: String,
}

impl Spec for Route {
    const KIND: Kind = Kind {
        name: "route",
        plural: "routes",
        aliases: &[],
        description: "Routes of all tables but the kernel's own of local addresses",
        columns: &["destination", "gateway", "link", "metric", "table", "origin"],
    };
}

/// Who is on a link; the id is `<link>/<address>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Neighbour {
    /// IP address.
    pub address: String,
    /// Name of the link.
    pub link: String,
    /// Hardware address, lower-case hex with colons; empty while it is not known.
    pub hardware_address: String,
    /// "resolved", "incomplete" (asked, not answered yet), "failed" or "permanent".
    pub state: String,
    /// Whether it is a router (IPv6).
    pub router: bool,
}

impl Spec for Neighbour {
    const KIND: Kind = Kind {
        name: "neighbour",
        plural: "neighbours",
        aliases: &["neighbor", "neighbors", "neigh"],
        description: "Who was seen on the node's links",
        columns: &["address", "link", "hardwareAddress", "state", "router"],
    };
}

/// A rule of the node's firewall; the id is its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Firewall {
    /// Who said so: "configuration" or "cairn".
    pub origin: String,
    /// "accept" or "deny".
    pub action: String,
    /// What it is about, such as "tcp 80 from 192.0.2.0/24".
    pub traffic: String,
    /// Packets that it decided on since the rules last changed. Of a connection only those count that came before it stood.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Spec for Firewall {
    const KIND: Kind = Kind {
        name: "firewall",
        plural: "firewalls",
        aliases: &["fw"],
        description: "Rules of the firewall and what they counted",
        columns: &["action", "traffic", "packets", "bytes", "origin"],
    };
}

//! Changes, one request to the kernel each.

use std::fmt;
use std::net::IpAddr;

use crate::{Kind, Prefix};

/// One change. Links go by name: one that is made on the way has no index yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Let IPv4 addresses of one subnet outlive the first of them, on all links.
    PromoteSecondaries,
    /// Take router advertisements on a link.
    AcceptRouterAdvertisements {
        /// Its name.
        link: String,
    },
    /// Make a link, with our mark, down.
    CreateLink {
        /// Its name.
        link: String,
        /// What it is.
        kind: Kind,
        /// Name of the link below, for a VLAN.
        parent: Option<String>,
    },
    /// Remove a link of ours.
    DeleteLink {
        /// Its name.
        link: String,
        /// Its index: another one that took the name meanwhile is not meant.
        index: u32,
    },
    /// Change settings of a link of ours, without making it anew.
    ChangeLink {
        /// Its name.
        link: String,
        /// What it is to be.
        kind: Kind,
    },
    /// Make a link a port, or free it.
    SetMaster {
        /// Its name.
        link: String,
        /// Name of the bond or bridge.
        master: Option<String>,
    },
    /// Set a link up.
    SetUp {
        /// Its name.
        link: String,
    },
    /// Set a link down.
    SetDown {
        /// Its name.
        link: String,
    },
    /// Set the largest packet.
    SetMtu {
        /// Its name.
        link: String,
        /// Size.
        bytes: u32,
    },
    /// Add an address, or make one that is there ours.
    AddAddress {
        /// Name of the link.
        link: String,
        /// Address.
        prefix: Prefix,
    },
    /// Remove an address of ours.
    DeleteAddress {
        /// Name of the link.
        link: String,
        /// Address.
        prefix: Prefix,
    },
    /// Add a route.
    AddRoute {
        /// Name of the link.
        link: String,
        /// The route.
        route: PlannedRoute,
        /// The next hop is outside of the link's own subnets.
        on_link: bool,
    },
    /// Remove a route of ours.
    DeleteRoute {
        /// Name of the link.
        link: String,
        /// The route.
        route: PlannedRoute,
    },
}

/// A route without its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRoute {
    /// Where it leads.
    pub destination: Prefix,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Our address as the other side sees it.
    pub source: Option<IpAddr>,
    /// The least is preferred.
    pub metric: u32,
    /// Routing table.
    pub table: u32,
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PromoteSecondaries => out.write_str("keep addresses when the first of their subnet goes"),
            Self::AcceptRouterAdvertisements { link } => {
                write!(out, "accept router advertisements on {link}")
            }
            Self::CreateLink { link, kind, parent: None } => write!(out, "make the {kind} {link}"),
            Self::CreateLink { link, kind, parent: Some(parent) } => {
                write!(out, "make the {kind} {link} above {parent}")
            }
            Self::DeleteLink { link, .. } => write!(out, "remove {link}"),
            Self::ChangeLink { link, kind } => write!(out, "change the {kind} {link}"),
            Self::SetMaster { link, master: Some(master) } => write!(out, "make {link} a port of {master}"),
            Self::SetMaster { link, master: None } => write!(out, "free {link}"),
            Self::SetUp { link } => write!(out, "set {link} up"),
            Self::SetDown { link } => write!(out, "set {link} down"),
            Self::SetMtu { link, bytes } => write!(out, "set the MTU of {link} to {bytes}"),
            Self::AddAddress { link, prefix } => write!(out, "add {prefix} to {link}"),
            Self::DeleteAddress { link, prefix } => write!(out, "remove {prefix} from {link}"),
            Self::AddRoute { link, route, .. } => {
                write!(out, "add the route to {} on {link}", route.destination)
            }
            Self::DeleteRoute { link, route } => {
                write!(out, "remove the route to {} from {link}", route.destination)
            }
        }
    }
}

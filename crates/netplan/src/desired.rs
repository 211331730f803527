//! What a node should have.

use std::net::IpAddr;

use crate::{Bond, Bridge, Kind, Prefix};

/// What a link should be. A link that nobody speaks of should have nothing of ours, and if we made it, not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The kernel's name of it.
    pub name: String,
    /// What it is.
    pub device: Device,
    /// Its largest packet.
    pub mtu: Mtu,
    /// Its addresses and routes.
    pub addressing: Addressing,
}

/// What a link is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// Hardware: it is there or not.
    #[default]
    Hardware,
    /// A VLAN.
    Vlan {
        /// Name of the link below.
        parent: String,
        /// 1 to 4094.
        id: u16,
    },
    /// A bond.
    Bond {
        /// Its settings.
        settings: Bond,
        /// Names of its ports. The first that is there gives it its hardware address.
        ports: Vec<String>,
    },
    /// A bridge.
    Bridge {
        /// Its settings.
        settings: Bridge,
        /// Names of its ports.
        ports: Vec<String>,
    },
    /// A dummy.
    Dummy,
}

/// The largest packet of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mtu {
    /// As configured, in bytes.
    Configured(u32),
    /// As a server on the link says, in bytes, as far as the driver takes it.
    Offered(u32),
    /// Whatever it is now.
    Kept,
    /// Hardware: what it had before we set another. A VLAN: its parent's. A bridge: the least of its ports'. Others: 1500.
    Default,
}

/// The addresses and routes of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// Not known yet: what we configured before stays.
    Undecided,
    /// These and no others of ours.
    Exactly {
        /// Addresses.
        addresses: Vec<Prefix>,
        /// Routes.
        routes: Vec<NewRoute>,
    },
}

/// A route that a link should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRoute {
    /// Where it leads.
    pub destination: Prefix,
    /// Next hop; none when the destination is on the link itself.
    pub gateway: Option<IpAddr>,
    /// Our address as the other side sees it; IPv4 only, since the kernel refuses an IPv6 address that it still probes.
    pub source: Option<IpAddr>,
    /// The least is preferred.
    pub metric: u32,
    /// Routing table.
    pub table: u32,
    /// Whether a server named it: what is configured goes before it.
    pub learned: bool,
}

impl Addressing {
    /// No address, no route.
    #[must_use]
    pub const fn nothing() -> Self {
        Self::Exactly { addresses: Vec::new(), routes: Vec::new() }
    }

    /// The addresses.
    #[must_use]
    pub fn addresses(&self) -> &[Prefix] {
        match self {
            Self::Undecided => &[],
            Self::Exactly { addresses, .. } => addresses,
        }
    }

    /// The routes.
    #[must_use]
    pub fn routes(&self) -> &[NewRoute] {
        match self {
            Self::Undecided => &[],
            Self::Exactly { routes, .. } => routes,
        }
    }
}

impl Device {
    /// What we make, if we make it.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Hardware => None,
            Self::Vlan { id, .. } => Some(Kind::Vlan { id: *id }),
            Self::Bond { settings, .. } => Some(Kind::Bond(*settings)),
            Self::Bridge { settings, .. } => Some(Kind::Bridge(*settings)),
            Self::Dummy => Some(Kind::Dummy),
        }
    }

    /// Name of the link below.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        match self {
            Self::Vlan { parent, .. } => Some(parent),
            Self::Hardware | Self::Bond { .. } | Self::Bridge { .. } | Self::Dummy => None,
        }
    }

    /// Names of its ports.
    #[must_use]
    pub fn ports(&self) -> &[String] {
        match self {
            Self::Bond { ports, .. } | Self::Bridge { ports, .. } => ports,
            Self::Hardware | Self::Vlan { .. } | Self::Dummy => &[],
        }
    }
}
